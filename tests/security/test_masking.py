"""Canaries: every personal or secret value is a marker, and no marker is in anything that is written outside
of the two databases, whatever is asked for and whatever fails; nor in the clear in what a key encrypts."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bulkmig import Settings
from bulkmig._core import discreet
from bulkmig.cli import app
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.monitor import serve
from bulkmig.postgres.errors import describe

SPEC = FleetSpec(seed=34, vessels=2, companies=1, equipment=5, nasty=0.3, least=0)
CANARY = re.compile("kanarie", re.IGNORECASE)
SECRET = "kanarie-dsn-password"
PERSONAL = """
UPDATE users SET email = 'kanarie-' || id || '@example.org', password_hash = 'kanarie-hash-' || id,
  first_name = 'Kanarie', last_name = 'Kanarie''s "' || substr(id::text, 1, 4),
  phone = '+kanarie-' || substr(id::text, 1, 8),
  avatar_url = 'https://example.org/kanarie', settings = '{"token": "kanarie-token"}';
UPDATE companies SET contact_email = 'kanarie@example.org', contact_phone = '+kanarie';
"""
# Rows of which nothing may show where something fails.
ROWS = """
UPDATE equipment SET serial_number = 'kanarie-serial-' || substr(id::text, 1, 8), notes = 'kanarie-note',
  specifications = '{"k": "kanarie"}', manufacturer = 'kanarie-maker';
"""
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


def execute(url: str, *statements: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(work())


class Heard:
    """What the program says, all of it."""

    def __init__(self, capfd: pytest.CaptureFixture[str], source: str, target: str) -> None:
        self.capfd, self.source, self.target = capfd, source, target

    def __call__(self, *words: str, clean: bool = True) -> tuple[int, str]:
        """Runs a command; its exit status and its whole output, in which there is no canary."""
        arguments = [*words, "--log-level", "debug", "--source", self.source, "--target", self.target]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["bulkmig", *arguments])
            with pytest.raises(SystemExit) as ended:
                app.main()
        said = "\n".join(self.capfd.readouterr())
        assert not clean or not CANARY.search(said), (words, said)
        status = ended.value.code
        assert isinstance(status, int)
        return status, said


def with_password(url: str) -> str:
    return url.replace("postgres@", f"postgres:{SECRET}@")


@pytest.fixture
def heard(
    onboarding_url: str,
    maintenance_url: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Heard:
    monkeypatch.setenv("BULKMIG_KEY", "")
    asyncio.run(generate_fleet(onboarding_url, SPEC))
    execute(onboarding_url, PERSONAL, ROWS)
    return Heard(capfd, with_password(onboarding_url), with_password(maintenance_url))


async def _texts(url: str) -> dict[str, list[str]]:
    """Every column of text of the ledger."""
    connection = await asyncpg.connect(url)
    try:
        columns = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'bulkmig'"
            " AND data_type = 'text'"
        )
        return {
            f"{t}.{c}": [r[0] or "" for r in await connection.fetch(f'SELECT "{c}" FROM bulkmig.{t}')]
            for t, c in columns
        }
    finally:
        await connection.close()


def ledger(url: str) -> set[str]:
    """The ledger's columns with a canary."""
    found = asyncio.run(_texts(url))
    return {name for name, texts in found.items() if any(CANARY.search(text) for text in texts)}


ALWAYS = ("--all", "--on-error", "quarantine", "--continue-on-error")


def test_no_command_shows_a_personal_value(
    heard: Heard, maintenance_url: str, onboarding_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKMIG_KEY", "0b" * 32)
    twice = "INSERT INTO users (id, company_id, email, password_hash, first_name, last_name, role, is_active,"
    twice += (
        " created_at, updated_at) SELECT gen_random_uuid(), company_id, email, password_hash, first_name,"
    )
    twice += " last_name, role, is_active, now(), now() FROM users ORDER BY id LIMIT 2"
    execute(onboarding_url, twice)
    for form in ((), ("--json",)):
        heard("plan", *ALWAYS, *form)
    assert heard("migrate", *ALWAYS, "--json", "--log-format", "json")[0] == 0
    for change in ("email = 'kanarie-portal-' || id", "first_name = 'kanarie-portal'"):
        execute(maintenance_url, f"UPDATE users SET {change}, updated_at = now()")
    execute(
        onboarding_url,
        "UPDATE users SET last_name = 'Kanarie-new', email = 'kanarie-new-' || id, updated_at = now()",
    )
    execute(maintenance_url, "UPDATE user_metadata SET phone = 'kanarie-portal'")
    for words in (
        ("verify", "--all"), ("sync", "--all", "--conflict", "manual"), ("verify", "--all"),
        ("conflicts", "list"),
        ("quarantine", "list"), ("status",), ("audit", "list"), ("audit", "verify"), ("audit", "export"),
        ("checkpoints", "list"), ("operators", "list"), ("doctor",), ("config", "--show"), ("keys", "rotate"),
        ("quarantine", "retry"), ("validate", *ALWAYS),
    ):  # fmt: skip
        heard(*words, "--json")
        heard(*words, "--log-format", "json")
    revealed = heard("conflicts", "list", "--json", "--reveal", clean=False)[1]
    assert CANARY.search(revealed)  # the canaries are where this test looks
    shown = json.loads(revealed[: revealed.rindex("}") + 1])["conflicts"]
    assert heard("conflicts", "show", shown[0]["id"])[0] == 0
    quarantined = json.loads(heard("quarantine", "list", "--json")[1].partition("\nwarning")[0].strip())
    for entry in quarantined["quarantine"]:
        heard("quarantine", "show", entry["id"])
    run = json.loads(heard("status", "--json")[1].partition("\nwarning")[0].strip())["runs"][0]["id"]
    page = tmp_path / "page.html"
    assert heard("report", run, "--html", str(page))[0] == 0
    assert not CANARY.search(page.read_text())
    settings = Settings(source=heard.source, target=heard.target)
    with serve.serving(serve.place("127.0.0.1:0"), settings) as url:
        for path in ("api/state", "api/runs", f"api/runs/{run}", "metrics"):
            with urllib.request.urlopen(f"{url}{path}") as answer:
                assert not CANARY.search(answer.read().decode()), path
    assert ledger(maintenance_url) == set()


@pytest.mark.parametrize("refuses", list(REFUSES))
def test_no_failure_quotes_a_row(heard: Heard, maintenance_url: str, refuses: str) -> None:
    execute(maintenance_url, REFUSES[refuses])
    status, said = heard(
        "migrate", *ALWAYS, "--json", "--log-format", "json", "--attempts", "1", "--no-verify"
    )
    assert status in (0, 1, 3), said
    if status != 3:
        assert ledger(maintenance_url) <= {"quarantine.row"}  # no key here


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
