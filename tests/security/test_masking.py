"""Every personal or secret value is a marker, and no marker is in what failures and errors say. What commands
say otherwise is in `test_canaries.py`; `tests/support/programs.py` looks at what programs say until they
end or are killed."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest

from bulkmig._core import discreet
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.postgres.errors import describe
from tests.security.heard import Heard, execute, with_password
from tests.support.canaries import CANARY, SECRET, in_files, in_ledger, plant
from tests.support.servers import Databases

SPEC = FleetSpec(seed=34, vessels=2, companies=1, equipment=5, nasty=0.3, least=0)
# Rows of which nothing may show where something fails.
ROWS = """
UPDATE equipment SET serial_number = 'kanarie-serial-' || substr(id::text, 1, 8), notes = 'kanarie-note',
  specifications = '{"k": "kanarie"}', manufacturer = 'kanarie-maker';
UPDATE users SET first_name = 'Kanarie';
"""
# Columns of the ledger that hold what rows held, where there is no key.
IN_THE_CLEAR = {"quarantine.row", "base.payload", "checkpoint_parts.payload"}
QUOTES = """
CREATE FUNCTION quotes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'row %', NEW USING ERRCODE = '{state}', DETAIL = NEW::text, HINT = NEW::text;
END $$;
CREATE TRIGGER quotes BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION quotes();
"""
# What makes the target refuse rows, and quote them.
REFUSES = {
    "a check": "ALTER TABLE equipment ADD CHECK (serial_number IS NULL)",
    "a check of users": "ALTER TABLE users ADD CHECK (email NOT LIKE 'kanarie%')",
    "not null": "ALTER TABLE users ADD COLUMN more text NOT NULL",
    "unique": "CREATE UNIQUE INDEX ON equipment (manufacturer)",
    "unique users": "CREATE UNIQUE INDEX ON users (first_name)",
    "a number": "ALTER TABLE user_metadata ALTER phone TYPE integer USING NULL",
    "a date": "ALTER TABLE equipment ALTER serial_number TYPE date USING NULL",
    "an enumeration": "CREATE TYPE few AS ENUM ('a');"
    "ALTER TABLE equipment ALTER serial_number TYPE few USING NULL",
    "a cast in a trigger": """
CREATE FUNCTION casts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  PERFORM NEW.serial_number::numeric; RETURN NEW; END $$;
CREATE TRIGGER casts BEFORE INSERT ON equipment FOR EACH ROW EXECUTE FUNCTION casts()""",
    **{
        f"raised as {state} for {table}": QUOTES.format(state=state, table=table)
        for state, table in (
            ("P0001", "users"),
            ("22023", "equipment"),
            ("23514", "equipment"),
            ("XX000", "users"),
        )
    },
    "a row that is too wide": "CREATE INDEX ON equipment ((repeat(serial_number || md5(id::text), 600)))",
}


@pytest.fixture(scope="module")
def source(lasting: Databases) -> str:
    """Nobody changes it."""
    url = lasting("onboarding")
    asyncio.run(generate_fleet(url, SPEC))
    asyncio.run(plant(url))
    execute(url, ROWS)
    return url


@pytest.fixture
def heard(
    source: str,
    maintenance_url: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Heard:
    monkeypatch.setenv("BULKMIG_KEY", "")
    return Heard(capfd, with_password(source), with_password(maintenance_url))


ALWAYS = ("--all", "--on-error", "quarantine", "--continue-on-error")


@pytest.mark.parametrize("refuses", list(REFUSES))
def test_no_failure_quotes_a_row(heard: Heard, maintenance_url: str, refuses: str) -> None:
    execute(maintenance_url, REFUSES[refuses])
    status, said = heard(
        "migrate", *ALWAYS, "--json", "--log-format", "json", "--attempts", "1", "--no-verify"
    )
    assert status in (0, 1, 3), said
    if status != 3:
        assert asyncio.run(in_ledger(maintenance_url)) <= IN_THE_CLEAR  # no key here


def test_a_password_in_a_wrong_place_is_not_repeated(heard: Heard) -> None:
    for words in (
        ("migrate", heard.target),
        ("status", heard.target),
        ("migrate", "--all", "--config", heard.target),
        ("migrate", "--company", heard.target),
        ("rollback", heard.target),
        ("verify", "--all", "--on-error", f"password={SECRET}"),
    ):
        status, _ = heard(*words, "--json")
        assert status in (2, 3)
    for bad in (
        "postgresql://u:kanarie@x@localhost/d",
        "postgresql://u:kanarie#1@localhost/d",
        "kanarie://u:p@h/d",
    ):
        heard.target = bad
        assert heard("status", "--json")[0] in (2, 3)


def test_a_trace_holds_no_value(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any, **__: Any) -> Any:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(SECRET) from error

    monkeypatch.setattr("bulkmig.cli.verb_status.read.run_list", breaks)
    heard("init")
    status, said = heard("status", "--json")
    assert status == 5
    (place,) = re.findall(r"(/\S+\.trace)", said.partition("hint")[2])[:1]
    trace = Path(place)
    try:
        assert "ValueError" in trace.read_text()
        assert not CANARY.search(trace.read_text())
        assert trace.stat().st_mode & 0o077 == 0
    finally:
        trace.unlink()


def test_a_trace_that_no_file_takes_is_told_on_standard_error(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> Any:
        raise ValueError(SECRET)

    heard("init")
    with monkeypatch.context() as broken:
        broken.setattr("bulkmig.cli.verb_status.read.run_list", breaks)
        broken.setattr(tempfile, "tempdir", "/nowhere/at-all")
        status, said = heard("status", "--json")
    assert status == 5, said
    assert "in breaks" in said
    assert "the trace stands on standard error" in said
    assert not CANARY.search(said)


@pytest.mark.parametrize(
    ("place", "command"),
    [
        ("bulkmig.ledger.write.identities", "migrate"),  # of companies and users
        ("bulkmig.ledger.write.base_parts", "migrate"),  # of vessels too
        ("bulkmig.transform.quarantine", "validate"),
    ],
)
def test_a_bug_in_mid_run_tells_its_place_and_no_value(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, command: str
) -> None:
    def breaks(*given: Any, **_: Any) -> Any:
        pl.Series([SECRET, repr(given)]).cast(pl.Int64)

    monkeypatch.setattr(place, breaks)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    status, said = heard(command, *ALWAYS, "--json", "--log-format", "json")
    assert status == 5, said
    (trace,) = tmp_path.glob("*.trace")
    assert "InvalidOperationError" in trace.read_text()
    assert in_files(tmp_path) == []


def test_what_nobody_awaited_is_told_by_its_kind(capfd: pytest.CaptureFixture[str]) -> None:
    discreet.install()
    try:
        try:
            raise ValueError("kanarie")
        except ValueError as error:
            logging.getLogger("asyncio").error(
                "Task exception was never retrieved\nfuture: kanarie", exc_info=error
            )
            logging.getLogger("other").warning("of %s", "kanarie")
    finally:
        logging.getLogger().handlers[:] = [
            handler
            for handler in logging.getLogger().handlers
            if type(handler).__module__ != discreet.__name__
        ]
    said = capfd.readouterr().err
    assert "Task exception was never retrieved: ValueError" in said
    assert not CANARY.search(said)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: asyncpg.DataError("invalid input for query argument $1: 'kanarie' (expected str)"),
            "invalid input for query",
        ),
        (
            lambda: asyncpg.InterfaceError("the server expects 1 argument: kanarie"),
            "the server expects 1 argument",
        ),
        (lambda: ValueError("kanarie"), "ValueError"),
        (lambda: OSError(2, "No such file"), "No such file"),
    ],
)
def test_errors_of_this_end_quote_nothing(make: Callable[[], Exception], text: str) -> None:
    assert text in describe(make())
    assert not CANARY.search(describe(make()))
