"""Fixtures that all tests share: PostgreSQL servers, started once a session, and fresh databases in them.

A test runs on the newest PostgreSQL there is; with `@pytest.mark.all_versions` once on every major version.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulkmig.embedded import Server
from tests.support import cores, lane, warm
from tests.support.fleets import Fleets
from tests.support.servers import Databases, EmbeddedServers, by_major

cores.stay_on_one()
ON_SQLITE = os.environ.get("BULKMIG_TARGET") == "sqlite"
if ON_SQLITE:
    lane.begin()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("files_too") is not None and not ON_SQLITE:
        metafunc.parametrize("on_files", [False, True], indirect=True, ids=["postgresql", "sqlite"])
    if metafunc.definition.get_closest_marker("all_versions") is None:
        return
    if "pg_major" not in metafunc.fixturenames:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: all_versions, but no fixture of a server")
    majors = list(by_major())
    metafunc.parametrize("pg_major", majors, indirect=True, ids=[f"pg{major}" for major in majors])


def pytest_collection_finish() -> None:
    # What is there by now stays: to look through it for garbage again and again takes a twentieth of the CPU.
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    mark = item.get_closest_marker("only_postgresql")
    if mark is not None and ON_SQLITE:
        pytest.skip(str(mark.args[0]))


def pytest_unconfigure() -> None:
    warm.close()


@pytest.fixture(scope="session")
def embedded_servers() -> Iterator[EmbeddedServers]:
    """The session's servers, by major version."""
    with EmbeddedServers() as servers:
        yield servers


@pytest.fixture(scope="session")
def fleets(embedded_servers: EmbeddedServers) -> Fleets:
    """Sources with a generated fleet, shared by the session: `await fleets(spec)`."""
    return Fleets(embedded_servers)


@pytest.fixture
def pg_major(request: pytest.FixtureRequest, embedded_servers: EmbeddedServers) -> int:
    """The major version of PostgreSQL that this test runs on."""
    major: int = getattr(request, "param", embedded_servers.newest)
    return major


@pytest.fixture
def pg(embedded_servers: EmbeddedServers, pg_major: int) -> Server:
    """A running server, shared by the session. Databases and roles in it need names of their own."""
    return embedded_servers.get(pg_major)


@pytest.fixture
def on_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether targets are on SQLite."""
    found: bool = getattr(request, "param", ON_SQLITE)
    if found and not ON_SQLITE:
        lane.begin(monkeypatch.setattr)
    return found


@pytest.fixture
def databases(
    embedded_servers: EmbeddedServers, pg_major: int, on_files: bool, tmp_path: Path
) -> Iterator[Databases]:
    """Makes fresh databases, dropped after the test: `databases("onboarding")` returns a URL."""
    made = Databases(embedded_servers, pg_major, files=tmp_path if on_files else None)
    try:
        yield made
    finally:
        made.drop()


@pytest.fixture(scope="module")
def lasting(embedded_servers: EmbeddedServers) -> Iterator[Databases]:
    """Databases for what several tests of a module begin with: made once, and copied for each."""
    made = Databases(embedded_servers, embedded_servers.newest)
    try:
        yield made
    finally:
        made.drop()


@pytest.fixture
def onboarding_url(databases: Databases) -> str:
    """A fresh source: the contract's schema, no rows."""
    return databases("onboarding")


@pytest.fixture
def maintenance_url(databases: Databases) -> str:
    """A fresh PostgreSQL target: the contract's schema, no rows."""
    return databases("maintenance")
