"""Files that are not as the contract has them: each is refused before anything is touched, and says why."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bulkmig import (
    PreflightError,
    Report,
    Selection,
    Settings,
    migrate,
    plan,
    rollback,
    schemas,
    sync,
    verify,
)
from bulkmig.generate import FleetSpec
from bulkmig.operators import Scope, grant
from tests.oracle.file import write_file
from tests.support.files import SCHEMA, portal, stored, tamper
from tests.support.fleets import Fleets

SPEC = FleetSpec(vessels=3, equipment=6, companies=2, users_per_company=3, cross_references=4, seed=2)
ALL = Selection(all=True)
REFERENCES = r" REFERENCES \w+( ON DELETE CASCADE)?"
# A change of the schema, and what is said of it.
UNLIKE = {
    "ids of another type": ("INTEGER PRIMARY KEY,", "INT PRIMARY KEY,", "companies.id is no INTEGER PRIMARY"),
    "ids without a key": (
        "id +INTEGER PRIMARY KEY",
        "id INTEGER UNIQUE",
        "table companies has no primary key",
    ),
    "no references": (REFERENCES, "", "column vessels.company_id doesn't refer to companies"),
    "another reference": (
        "vessel_id  +INTEGER NOT NULL REFERENCES vessels,",
        "vessel_id INTEGER NOT NULL REFERENCES companies,",
        "column equipment.vessel_id doesn't refer to vessels",
    ),
    "decimals as numbers": ("gross_tonnage +TEXT", "gross_tonnage NUMERIC", "gross_tonnage has type NUMERIC"),
    "integers as texts": ("current_stock +INTEGER", "current_stock TEXT", "current_stock has type TEXT"),
    "a list without a key": (
        r",\s+PRIMARY KEY \(vessel_id, document_id\)",
        "",
        "table vessel_documents has no primary key",
    ),
}


def settings(source: str, target: str) -> Settings:
    """How these tests migrate."""
    return Settings(source=source, target=target, on_error="quarantine", continue_on_error=True)


@pytest.mark.parametrize(
    "own",
    [
        "CREATE TABLE Bulkmig_IDs (x INTEGER)",
        "CREATE VIEW bulkmig_ids AS SELECT 1",
        "CREATE TABLE bulkmig_base (x)",
    ],
)
async def test_a_portals_table_with_a_name_of_the_ledgers_is_refused_untouched(
    fleets: Fleets, tmp_path: Path, own: str
) -> None:
    target = portal(tmp_path / "portal.db")
    tamper(target, own)
    before = (tmp_path / "portal.db").read_bytes()
    commands: tuple[Callable[[Settings, Selection], Awaitable[Report]], ...] = (migrate, plan)
    for command in commands:
        with pytest.raises(PreflightError, match=r"something with names of its tables: bulkmig_(ids|base)"):
            await command(settings((await fleets(SPEC)).url, target), ALL)
        assert (tmp_path / "portal.db").read_bytes() == before


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("DROP TABLE bulkmig_ids", "table ids is missing"),
        ("DROP TABLE bulkmig_base", "table base is missing"),
        (
            "ALTER TABLE bulkmig_vessels DROP COLUMN source_snapshot",
            "column vessels.source_snapshot is missing",
        ),
        ("DROP TABLE bulkmig_migrations", "bulkmig_access, bulkmig_audit"),
    ],
)
async def test_a_ledger_that_has_lost_a_part_is_refused_untouched(
    fleets: Fleets, tmp_path: Path, lost: str, named: str
) -> None:
    target, origin = portal(tmp_path / "portal.db"), await fleets(SPEC)
    await fleets.migrate(origin, settings(origin.url, target))
    tamper(target, lost)
    before = (tmp_path / "portal.db").read_bytes()
    for command in (migrate, sync, verify):
        with pytest.raises(PreflightError, match=named):
            await command(settings(origin.url, target), ALL)
    assert (tmp_path / "portal.db").read_bytes() == before


@pytest.mark.parametrize("kind", UNLIKE)
async def test_a_portal_whose_ids_or_references_are_otherwise_is_refused_untouched(
    fleets: Fleets, tmp_path: Path, kind: str
) -> None:
    origin, (this, other, says) = await fleets(SPEC), UNLIKE[kind]
    schema = re.sub(this, other, schemas.read(SCHEMA))
    assert schema != schemas.read(SCHEMA)
    target = write_file(tmp_path / "portal.db", schema, {})
    before = (tmp_path / "portal.db").read_bytes()
    with pytest.raises(PreflightError, match=re.escape(says)):
        await migrate(settings(origin.url, target), ALL)
    assert (tmp_path / "portal.db").read_bytes() == before


WRITING: tuple[Callable[[Settings, str], Awaitable[object]], ...] = (
    lambda config, _: migrate(config, ALL),
    lambda config, _: verify(config, ALL),
    lambda config, run: rollback(config, run=run),
    lambda config, _: grant(config, "somebody@example.com", ["migrate_vessel"], Scope()),
)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
async def test_a_file_that_may_only_be_read_is_refused_by_what_would_write_to_it(
    fleets: Fleets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    origin, target = await fleets(SPEC), portal(tmp_path / "portal.db")
    done = await fleets.migrate(origin, settings(origin.url, target))
    tamper(target, f"PRAGMA journal_mode = {journal}")
    before = stored(target)
    monkeypatch.setattr("bulkmig.sqlite.opening.sqlite3.connect", partial(_reading, sqlite3.connect))
    for command in WRITING:
        with pytest.raises(PreflightError, match="the target is read-only"):
            await command(settings(origin.url, target), done.run_id)
        assert stored(target) == before


def _reading(connect: Callable[..., sqlite3.Connection], path: str, **others: Any) -> sqlite3.Connection:
    """What SQLite falls back to where the user may not write to the file."""
    return connect(str(path).replace("?mode=rw", "?mode=ro"), **others)
