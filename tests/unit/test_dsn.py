"""Addresses: the standard variables count, and nothing of them gets round the transport rule."""

from __future__ import annotations

import pytest

from bulkmig.errors import BulkmigError, PreflightError, UsageError
from bulkmig.postgres.dsn import parse

REMOTE = "postgresql://db.example.org/x"


@pytest.mark.parametrize(
    ("url", "variables", "mode", "local"),
    [
        (REMOTE, {}, "verify-full", False),
        ("postgresql:///x?host=/tmp", {}, "prefer", True),
        ("postgresql://LOCALHOST/x", {"PGSSLMODE": "disable"}, "disable", True),
        ("postgresql://localhost/x?sslmode=require", {"PGSSLMODE": "disable"}, "require", True),
        ("postgresql:///x", {"PGHOST": "db.example.org"}, "verify-full", False),
    ],
)
def test_the_mode_is_the_urls_or_the_variables_or_the_safe_one(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str], mode: str, local: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    address = parse(url)
    assert (address.sslmode, address.local) == (mode, local)


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"PGSSLMODE": "require"}, PreflightError),
        ({"PGSERVICE": "elsewhere"}, UsageError),  # it could name any host
        ({"PGCONNECT_TIMEOUT": "soon"}, UsageError),
    ],
)
def test_a_variable_that_weakens_or_can_not_be_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], error: type[BulkmigError]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(error):
        parse(REMOTE)


def test_a_weaker_mode_of_the_environment_holds_where_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "7")
    address = parse(REMOTE, allow_insecure=True)
    assert "sslmode=require" in address.url
    assert address.connect_timeout == 7


@pytest.mark.parametrize(
    "url",
    ["postgresql:////db.example.org/x", "postgresql://localhost,/x", "postgresql:///x?host=localhost,"],
)
def test_an_address_that_the_driver_reads_otherwise_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        parse(url)
