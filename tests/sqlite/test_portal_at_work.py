"""The portal writes and reads its file while bulkmig does, and bulkmig is killed."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from msgspec.structs import asdict
from msgspec.structs import replace as replace_settings

from bulkmig import PreflightError, Selection, Settings, migrate, rollback, validate
from bulkmig.events import VesselReached
from bulkmig.generate import FleetSpec
from bulkmig.sqlite import opening, session
from bulkmig.sqlite.address import FileAddress
from bulkmig.sync.run import sync
from tests.oracle.file import path_of
from tests.support.files import portal, stored, with_rows
from tests.support.fleets import Fleets
from tests.support.programs import program

SPEC = FleetSpec(
    vessels=8, equipment=20, parts=2, documents=2, nasty=0.2, least=0, unknown_enums=True, seed=9
)
FEW = FleetSpec(vessels=2, companies=1, equipment=5)
ALL = Selection(all=True)


def settings(source: str, target: str) -> Settings:
    """How these tests migrate."""
    return Settings(source=source, target=target, on_error="quarantine", continue_on_error=True)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
async def test_a_write_of_the_portal_is_waited_for_and_the_journal_mode_stays(
    fleets: Fleets, tmp_path: Path, journal: str
) -> None:
    origin = await fleets(SPEC)
    target = portal(tmp_path / "portal.db")
    connection = sqlite3.connect(path_of(target), isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO companies (name, slug) VALUES ('Own', 'own-fleet')")
    release = threading.Timer(0.5, lambda: connection.execute("COMMIT"))
    release.start()
    report = await migrate(settings(origin.url, target), ALL)
    release.join()
    assert (report.status, report.verified.difference_count) == ("completed", 0)
    assert connection.execute("PRAGMA journal_mode").fetchone() == (journal.lower(),)
    assert connection.execute("SELECT count(*) FROM companies WHERE slug = 'own-fleet'").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize("when", ["from the start", "amid the run"])
async def test_a_file_that_stays_busy_is_waited_for_with_a_limit_and_nothing_is_half(
    fleets: Fleets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.05)
    origin = await fleets(FEW)  # each vessel waits
    target = portal(tmp_path / "portal.db")
    connection = sqlite3.connect(path_of(target), isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    config = replace_settings(settings(origin.url, target), attempts=2)

    def listen(event: object) -> None:
        if isinstance(event, VesselReached) and event.phase == "load" and not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")

    if when == "from the start":
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(PreflightError, match="locked"):
            await migrate(config, ALL)
    else:
        report = await migrate(config, ALL, listen=listen)
        assert (report.exit_status, report.done) == (1, 0)
        assert all("locked" in failure.error for failure in report.failures)
    assert connection.execute("SELECT count(*) FROM vessels").fetchone() == (0,)
    connection.execute("ROLLBACK")
    connection.close()
    assert (await migrate(config, ALL)).verified.difference_count == 0


async def test_a_file_that_another_program_has_for_itself_is_no_wrong_path(
    fleets: Fleets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BUSY_SECONDS", 0.05)
    origin = await fleets(FEW)
    target = portal(tmp_path / "portal.db")
    connection = sqlite3.connect(path_of(target), isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(PreflightError, match="locked") as caught:
            await validate(settings(origin.url, target), ALL)
    finally:
        connection.close()
    assert "path" not in caught.value.hint
    assert "program" in caught.value.hint


async def test_who_waits_for_a_file_that_another_program_has_for_itself_can_be_stopped(
    fleets: Fleets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = await fleets(FEW)
    target = portal(tmp_path / "portal.db")
    connection = sqlite3.connect(path_of(target), isolation_level=None)
    opens = opening._open
    with anyio.CancelScope() as scope, closing(connection):
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")

        def stopped(address: FileAddress, durable: bool) -> session.Session:
            anyio.from_thread.run_sync(scope.cancel)
            return opens(address, durable)

        monkeypatch.setattr(opening, "_open", stopped)
        await validate(settings(origin.url, target), ALL)
    assert scope.cancelled_caught


async def test_a_number_that_the_portal_has_taken_is_left_to_it(fleets: Fleets, tmp_path: Path) -> None:
    origin = await fleets(SPEC)
    target, plain = portal(tmp_path / "portal.db"), portal(tmp_path / "plain.db")
    await fleets.migrate(origin, settings(origin.url, plain))
    first = await fleets.migrate(origin, settings(origin.url, target))
    back = await rollback(settings(origin.url, target), run=first.run_id)
    assert back.status == "completed"
    connection = sqlite3.connect(path_of(target))
    with connection:
        connection.execute("INSERT INTO companies (id, name, slug) VALUES (1, 'Own', 'own-fleet')")
        connection.execute("INSERT INTO vessels (id, company_id, name) VALUES (1, 1, 'Tug')")
    report = await migrate(settings(origin.url, target), ALL)
    assert (report.status, report.verified.difference_count) == ("completed", 0)
    assert connection.execute("SELECT slug FROM companies WHERE id = 1").fetchone() == ("own-fleet",)
    assert connection.execute("SELECT name FROM vessels WHERE id = 1").fetchone() == ("Tug",)
    connection.close()
    ids, wanted = ({row[0] for row in stored(url)["equipment"]} for url in (target, plain))
    assert ids == wanted  # all others have the numbers that they had


async def test_a_rollback_restores_every_cell_as_it_was_stored_and_can_be_taken_back(
    fleets: Fleets, tmp_path: Path, maintenance_url: str
) -> None:
    origin = await fleets(replace(SPEC, seed=1))
    target = await with_rows(tmp_path / "portal.db", maintenance_url, origin, origin.spec)
    connection = sqlite3.connect(path_of(target))
    with connection:  # values whose types aren't their columns', and times in the portal's own form
        connection.execute("UPDATE companies SET logo_url = x'00ff', updated_at = '2025-01-01T00:00:00.123Z'")
        connection.execute("UPDATE vessels SET vessel_type = 'a' || char(0) || 'b'")
        connection.execute("UPDATE vessel_details SET year_built = 1e300, gross_tonnage = '007.10'")
    connection.close()
    before = stored(target)
    config = settings(origin.url, target)
    done = await migrate(config, ALL)
    after = stored(target)
    back = await rollback(config, run=done.run_id)
    assert (back.status, back.failures) == ("completed", [])
    assert stored(target) == before
    again = await rollback(config, run=back.run_id)
    assert (again.status, again.failures) == ("completed", [])
    assert stored(target) == after


async def test_a_dry_run_changes_no_byte_of_the_file(fleets: Fleets, tmp_path: Path) -> None:
    origin = await fleets(SPEC)
    target = portal(tmp_path / "portal.db")
    before = _content(target)
    dry = replace_settings(settings(origin.url, target), dry_run=True)
    for report in (await migrate(dry, ALL), await sync(dry, ALL)):
        assert report.status == "completed"
        assert report.inserted["vessels"] > 0
    assert _content(target) == before


def _content(url: str) -> bytes:
    return Path(path_of(url)).read_bytes()


OWN = """
ALTER TABLE equipment ADD COLUMN spare INTEGER REFERENCES equipment;
CREATE TABLE work_orders (id INTEGER PRIMARY KEY, equipment_id INTEGER NOT NULL REFERENCES equipment
    ON DELETE CASCADE, title TEXT NOT NULL DEFAULT 'x');
CREATE TABLE tags (id INTEGER PRIMARY KEY, word TEXT);
CREATE TABLE tagged (equipment_id INTEGER REFERENCES equipment ON DELETE CASCADE,
    tag_id INTEGER REFERENCES tags ON DELETE CASCADE, PRIMARY KEY (equipment_id, tag_id));
CREATE TABLE notes (k TEXT PRIMARY KEY, vessel_id INTEGER REFERENCES vessels ON DELETE CASCADE, at TIMESTAMP)
    WITHOUT ROWID;
"""
FILLED = """
UPDATE equipment SET spare = (SELECT max(id) FROM equipment);
INSERT INTO work_orders (equipment_id) SELECT id FROM equipment;
INSERT INTO tags VALUES (1, 'hot');
INSERT INTO tagged SELECT id, 1 FROM equipment;
INSERT INTO notes SELECT 'n' || id, id, '2024-01-01 00:00:00' FROM vessels;
"""


async def test_what_hangs_on_a_vessel_in_tables_of_the_portal_s_own_goes_and_returns_with_it(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    target = portal(tmp_path / "portal.db")
    connection = sqlite3.connect(path_of(target), isolation_level=None)
    connection.executescript(OWN)
    config = settings(origin.url, target)
    await migrate(config, ALL)
    connection.executescript(FILLED)

    def own() -> list[list[tuple[object, ...]]]:
        tables = ("equipment", "work_orders", "tags", "tagged", "notes")
        return [connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall() for name in tables]

    before = own()
    (vessel,) = connection.execute(
        "SELECT source_id FROM bulkmig_ids i JOIN equipment e ON e.vessel_id = i.id WHERE tbl = 'vessels'"
    ).fetchone()
    refused = await rollback(config, vessel=vessel)
    assert {row.table for row in refused.refused} >= {"work_orders", "tagged", "notes"}
    forced = await rollback(config, vessel=vessel, force=True)
    assert (forced.status, forced.failures) == ("completed", [])
    assert forced.document()["discarded"] == [asdict(row) for row in refused.refused]
    assert own() != before
    again = await rollback(config, run=forced.run_id)
    assert (again.status, again.failures) == ("completed", [])
    assert own() == before
    connection.close()


@pytest.mark.parametrize("marks", [0, 2, 5])
async def test_killed_and_started_again_it_ends_as_undisturbed(
    fleets: Fleets, tmp_path: Path, marks: int
) -> None:
    origin = await fleets(SPEC)
    target, plain = portal(tmp_path / "portal.db"), portal(tmp_path / "plain.db")
    await fleets.migrate(origin, settings(origin.url, plain))
    command = ("migrate", "--all", "--on-error", "quarantine", "--continue-on-error", "--memory", "1MB")
    with closing(sqlite3.connect(path_of(target))) as reader:
        async with program(origin.url, target, *command) as started:
            await started.until(lambda: _marks(reader) >= marks)
            await started.kill()
    connection = sqlite3.connect(path_of(target))
    there = connection.execute("SELECT count(*) FROM bulkmig_vessels WHERE state = 'migrated'").fetchone()
    assert connection.execute("SELECT count(*) FROM vessels").fetchone() == there
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    report = await migrate(settings(origin.url, target), ALL)
    assert (report.status, report.verified.difference_count) == ("completed", 0)
    assert stored(target) == stored(plain)


def _marks(reader: sqlite3.Connection) -> int:
    """How many vessels are done; -1 before there is a ledger. Never waits for the writer."""
    tables = reader.execute("SELECT count(*) FROM sqlite_master WHERE name = 'bulkmig_vessels'")
    if tables.fetchone() == (0,):
        return -1
    done: int = reader.execute("SELECT count(*) FROM bulkmig_vessels").fetchone()[0]
    return done


async def test_files_that_are_no_portals_are_refused(fleets: Fleets, tmp_path: Path) -> None:
    origin = await fleets(SPEC)
    (tmp_path / "junk.db").write_text("this is no database, whatever its name says")
    sqlite3.connect(tmp_path / "empty.db").close()
    (tmp_path / "empty.db").touch()
    os.mkfifo(tmp_path / "pipe.db")
    for name, why in (
        ("pipe.db", "no regular file"),
        ("missing.db", "No such file"),
        ("junk.db", "no SQLite database"),
        ("empty.db", "table companies is missing"),
    ):
        with pytest.raises(PreflightError, match=why):
            await migrate(settings(origin.url, f"sqlite:///{tmp_path / name}"), ALL)
