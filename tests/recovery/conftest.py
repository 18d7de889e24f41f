"""Workloads are made once a session and copied for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.servers import EmbeddedServers
from tests.support.workloads import Workloads


@pytest.fixture(scope="session")
def workloads(embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory) -> Workloads:
    """`await workloads("plain")`: a command with its databases and what it ends in."""
    return Workloads(embedded_servers, tmp_path_factory.mktemp("workloads"))


# Commits that don't wait for the disk stay in memory for long: a crash undoes them for sure.
LAZY = {"wal_writer_delay": "10s", "wal_writer_flush_after": "512MB"}


@pytest.fixture(scope="module")
def own_workloads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workloads]:
    """The same on servers of this module's own, that its tests may stop."""
    with EmbeddedServers() as servers:
        for name, value in LAZY.items():
            servers.get(servers.newest).execute(f"ALTER SYSTEM SET {name} = '{value}'")
        servers.get(servers.newest).execute("SELECT pg_reload_conf()")
        yield Workloads(servers, tmp_path_factory.mktemp("workloads"))
