"""A portal that was lifted is what a direct migration with the same edits would have become; sync goes on."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace as replace_settings

from bulkmig import BulkmigError, PreflightError, Selection, Settings, migrate, rollback, sync, verify
from bulkmig._core.ids import derive_one
from bulkmig.config import FkCheck
from bulkmig.entities import DIGITS
from bulkmig.generate import FleetSpec
from bulkmig.lift.run import lift
from tests.checkpoint.support import execute
from tests.oracle.contract import KEYS, TABLES
from tests.oracle.file import path_of
from tests.oracle.target import TargetRow, read_rows
from tests.support.dumps import apart, dump
from tests.support.files import portal, stored, with_rows
from tests.support.fleets import Fleets
from tests.support.servers import Databases

SPEC = FleetSpec(
    vessels=4, equipment=15, parts=1, documents=1, nasty=0.3, least=1, unknown_enums=True, seed=5
)
WITH_THE_PORTALS = replace(SPEC, least=0, seed=6)
ALL = Selection(all=True)
LOGS = (
    "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description, created_at, updated_at)"
    " SELECT {id}, m.equipment_id, '2025-03-01T10:00:00.250000Z', 'Greased', {now}, {now}"
    " FROM equipment_metadata m WHERE m.original_id = {of}"
)
EDIT = "UPDATE equipment SET status = 'fault', name = 'Renamed by the crew', updated_at = {now} WHERE id ="
NOW = "'2030-01-01T00:00:00.000000Z'"


def settings(source: str, target: str) -> Settings:
    """How these tests migrate."""
    return Settings(source=source, target=target, on_error="quarantine", continue_on_error=True)


def on_file(url: str, *statements: str) -> None:
    """What the portal does meanwhile."""
    connection = sqlite3.connect(path_of(url))
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def edits(of: str, *, id_: str, now: str) -> list[str]:
    """A log and a changed equipment, by the source id of the equipment."""
    its = f"(SELECT equipment_id FROM equipment_metadata WHERE original_id = '{of}')"
    return [LOGS.format(id=id_, now=now, of=f"'{of}'"), f"{EDIT.format(now=now)} {its}"]


def without_logs(tables: dict[str, list[TargetRow]]) -> dict[str, list[tuple[str | None, ...]]]:
    """The tables, rows in order of their keys; of logs, which have ids of their own, all but the id."""
    return {
        table: sorted(
            (
                tuple(row[c] for c in columns if (table, c) != ("maintenance_logs", "id"))
                for row in tables[table]
            ),
            key=repr,
        )
        for table, columns in TABLES.items()
    }


async def test_lift_and_sync_end_as_a_direct_migration_with_the_same_edits_and_a_sync(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    origin = await fleets(SPEC, fresh=True)
    file, lifted, direct = portal(tmp_path / "portal.db"), databases("maintenance"), databases("maintenance")
    await migrate(settings(origin.url, file), ALL)
    await migrate(settings(origin.url, direct), ALL)
    machines = sorted(str(row["original_id"]) for row in (await read_rows(direct))["equipment_metadata"])[:3]
    for machine in machines:
        on_file(file, *edits(machine, id_="NULL", now=NOW))
        connection = await asyncpg.connect(direct)
        for statement in edits(machine, id_="gen_random_uuid()", now=NOW):
            await connection.execute(statement)
        await connection.close()
    before = stored(file)
    report = await lift(Settings(), file, lifted)
    assert (report.status, report.verified.difference_count) == ("completed", 0)
    assert stored(file) == before
    await change_source(origin.url, machines)
    for target in (direct, lifted):
        done = await sync(settings(origin.url, target), ALL)
        assert (done.status, done.verified.differences) == ("completed", [])
    one, other = [without_logs(await read_rows(target)) for target in (direct, lifted)]
    assert {table: rows for table, rows in one.items() if other[table] != rows} == {}
    again = await sync(settings(origin.url, lifted), ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0


async def change_source(url: str, machines: Collection[str]) -> None:
    """Changes, adds and deletes rows of the source."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "UPDATE equipment SET manufacturer = 'Another', updated_at = now() WHERE id = ANY ($1::uuid[])",
        list(machines),
    )
    await connection.execute(
        "INSERT INTO critical_parts (id, equipment_id, name, created_at, updated_at)"
        " SELECT md5(id::text)::uuid, id, 'New part', now(), now() FROM equipment"
    )
    await connection.execute(
        "DELETE FROM quality_scores WHERE id IN (SELECT min(id::text)::uuid FROM quality_scores)"
    )
    await connection.close()


async def test_the_portals_own_rows_and_those_it_adopted_move_too_and_go_back_with_a_rollback(
    fleets: Fleets, databases: Databases, tmp_path: Path, maintenance_url: str
) -> None:
    origin = await fleets(WITH_THE_PORTALS)
    file = await with_rows(tmp_path / "portal.db", maintenance_url, origin, origin.spec)
    before = stored(file)
    done = await migrate(settings(origin.url, file), ALL)
    lifted = databases("maintenance")
    await lift(Settings(), file, lifted)
    config = settings(origin.url, lifted)
    checked = await verify(config, ALL)
    assert (checked.verified.difference_count, checked.verified.drift) == (0, 0)
    full = await sync(replace_settings(config, full=True), ALL)
    assert (full.inserted + full.updated + full.deleted).total() == 0
    rows = await read_rows(lifted)
    assert {table: len(found) for table, found in rows.items()} == {
        t: len(r) for t, r in stored(file).items()
    }
    for row in rows["equipment_metadata"]:
        vessel = next(e["vessel_id"] for e in rows["equipment"] if e["id"] == row["equipment_id"])
        assert row["equipment_id"] in {
            derive_one(of, str(row["original_id"]), DIGITS["equipment"]) for of in origin.approved
        }, vessel
    back = await rollback(config, run=done.run_id)
    assert (back.status, back.failures) == ("completed", [])
    left = await read_rows(lifted)
    assert {table: len(found) for table, found in left.items()} == {t: len(r) for t, r in before.items()}


async def test_what_postgresql_cannot_hold_is_repaired_or_null_and_counted(
    databases: Databases, tmp_path: Path
) -> None:
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(
        file,
        "INSERT INTO companies (id, name, slug) VALUES (7, 'Nul' || char(0) || 'l', 'nul')",
        "INSERT INTO company_settings (company_id, timezone) VALUES (7, '" + "x" * 60 + "')",
        "INSERT INTO vessels (id, company_id, name) VALUES (9007199254740993, 7, CAST(x'4d53' AS BLOB))",
        "INSERT INTO vessel_details (vessel_id, gross_tonnage, year_built, original_status, metadata)"
        " VALUES (9007199254740993, '123456789012.5', 3000000000, '007', 'no json')",
        "INSERT INTO equipment (id, vessel_id, qr_code, name, status, specifications)"
        f" VALUES (1, 9007199254740993, 'Q', 'Deep', 'fault', '{'[' * 901 + ']' * 901}')",
    )
    report = await lift(Settings(), file, target)
    assert report.status == "completed"
    assert dict(report.lossiness) == {
        "text.unstorable_character": 1,
        "value.truncated": 1,
        "value.out_of_range": 3,
    }
    rows = await read_rows(target)
    assert [row["name"] for row in rows["companies"]] == ["Nul\ufffdl"]
    assert [row["name"] for row in rows["vessels"]] == ["MS"]
    (details,) = rows["vessel_details"]
    assert [details[c] for c in ("gross_tonnage", "year_built", "original_status", "metadata")] == [
        None,
        None,
        "007",
        None,
    ]


async def test_a_text_that_is_no_utf_8_is_repaired_and_all_others_are_as_they_were(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkmig.sqlite.session._ROWS", 2)
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(
        file,
        "INSERT INTO companies (id, name, slug) VALUES (1, 'One', 'one')",
        *(f"INSERT INTO vessels (id, company_id, name) VALUES ({n}, 1, 'Vessel {n}')" for n in range(1, 6)),
        "UPDATE vessels SET name = CAST(x'4dfc6e6368656e' AS TEXT) WHERE id = 4",
    )
    report = await lift(Settings(), file, target)
    assert (report.status, dict(report.lossiness)) == ("completed", {"text.unstorable_character": 1})
    names = [
        row["name"] for row in sorted((await read_rows(target))["vessels"], key=lambda row: row["id"] or "")
    ]
    assert names == ["Vessel 1", "Vessel 2", "Vessel 3", "M\ufffdnchen", "Vessel 5"]


async def test_documents_that_several_vessels_list_move_with_each_of_their_lists(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkmig.sqlite.session._ROWS", 2)  # so that a document's vessels lie on both sides
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(
        file,
        "INSERT INTO companies (id, name, slug) VALUES (1, 'One', 'one')",
        *(f"INSERT INTO vessels (id, company_id, name) VALUES ({n}, 1, 'Vessel {n}')" for n in range(1, 4)),
        "INSERT INTO equipment_documents (id, document_type, file_name, file_path)"
        " VALUES (1, 'other', 'one', 'one'), (2, 'other', 'two', 'two'), (3, 'other', 'three', 'three')",
        "INSERT INTO vessel_documents SELECT v.id, d.id FROM equipment_documents d, vessels v"
        " ORDER BY d.id, v.id % 3",
    )
    report = await lift(Settings(), file, target)
    assert (report.status, report.verified.difference_count) == ("completed", 0)
    rows = await read_rows(target)
    lists = {(row["vessel_id"], row["document_id"]) for row in rows["vessel_documents"]}
    assert lists == {(v["id"], d["id"]) for v in rows["vessels"] for d in rows["equipment_documents"]}


async def test_what_only_this_portal_knows_is_named_whatever_it_is_called(
    databases: Databases, tmp_path: Path
) -> None:
    file = portal(tmp_path / "portal.db")
    on_file(
        file,
        "INSERT INTO companies (id, name, slug) VALUES (1, 'One', 'one'), (2, 'Two', 'two')",
        'ALTER TABLE companies ADD COLUMN "12"" of it" TEXT',
        """UPDATE companies SET "12"" of it" = 'x' WHERE id = 1""",
        'CREATE TABLE "spare parts" (id INTEGER PRIMARY KEY)',
        'INSERT INTO "spare parts" VALUES (1), (2), (3)',
        "CREATE TABLE inspections (equipment_id INTEGER REFERENCES equipment)",
        "INSERT INTO inspections VALUES (NULL)",
        'CREATE TABLE "without rows" (id INTEGER PRIMARY KEY)',
    )
    report = await lift(Settings(), file, databases("maintenance"))
    assert report.status == "completed"
    assert report.notes["left_behind"] == {'companies.12" of it': 1, "inspections": 1, "spare parts": 3}


async def test_rows_under_the_first_and_the_last_numbers_that_there_are_move_too(
    databases: Databases, tmp_path: Path
) -> None:
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(
        file,
        "INSERT INTO companies (id, name, slug) VALUES (-5, 'One', 'one')",
        *(
            f"INSERT INTO vessels (id, company_id, name) VALUES ({number}, -5, 'Vessel')"
            for number in (-(2**63), -1, 0, 2**53 + 1, 2**63 - 1)
        ),
    )
    report = await lift(Settings(), file, target)
    assert (report.status, report.verified.difference_count) == ("completed", 0)
    assert len((await read_rows(target))["vessels"]) == 5


async def test_a_value_that_fits_nowhere_ends_the_lift_and_nothing_is_there(
    databases: Databases, tmp_path: Path
) -> None:
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(file, "INSERT INTO companies (id, name, slug, created_at) VALUES (1, 'One', 'one', 'yesterday')")
    with pytest.raises(Exception, match=r"companies\.created_at of row 1 can't"):
        await lift(Settings(), file, target)
    assert not any((await read_rows(target)).values())


# Two rows that SQLite tells apart, and PostgreSQL no more once they are as its columns hold them.
BASE = (
    "INSERT INTO companies (id, name, slug) VALUES (1, 'One', 'one')",
    "INSERT INTO vessels (id, company_id, name) VALUES (1, 1, 'First')",
)
LONG = "x" * 50
TWINS = {
    "cut": (
        "INSERT INTO companies (id, name, slug)"
        f" VALUES (40, 'A' || char(10), '{LONG}a'), (5, 'B' || char(10) || char(10), '{LONG}b')",
        r"companies\.slug of rows (5 and 40|40 and 5) would",
    ),
    "no character": (
        "INSERT INTO users (id, company_id, email, role)"
        " VALUES (3, 1, 'a' || char(0), 'admin'), (70, 1, 'a' || char(65533), 'admin')",
        r"users\.email of rows (3 and 70|70 and 3) would",
    ),
    "no UTF-8": (
        "INSERT INTO vessels (id, company_id, name, imo_number)"
        " VALUES (8, 1, 'A', CAST(x'ff' AS TEXT)), (9, 1, 'B', CAST(x'fe' AS TEXT))",
        r"vessels\.imo_number of rows (8 and 9|9 and 8) would",
    ),
    "bytes": (
        "INSERT INTO equipment (id, vessel_id, qr_code, name, status)"
        " VALUES (2, 1, 'Q', 'A', 'fault'), (4, 1, CAST('Q' AS BLOB), 'B', 'fault')",
        r"equipment\.qr_code of rows (2 and 4|4 and 2) would",
    ),
}


async def test_a_value_that_fits_nowhere_and_is_gone_from_the_portal_is_named_with_the_checkpoint_that_has_it(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    origin = await fleets(replace(SPEC, vessels=1, nasty=0, least=0), fresh=True)
    config = settings(origin.url, portal(tmp_path / "portal.db"))
    await migrate(config, ALL)
    on_file(config.target, "UPDATE equipment SET specifications = ''")
    await execute(origin.url, "UPDATE equipment SET name = 'source', updated_at = now()")
    report = await sync(config, ALL)
    assert (report.exit_status, report.verified.difference_count) == (0, 0)
    with pytest.raises(BulkmigError, match=r"equipment\.specifications .* checkpoint \S{36} has") as raised:
        await lift(config, config.target, databases("maintenance"))
    assert "checkpoints prune" in raised.value.hint


@pytest.mark.parametrize("kind", TWINS)
async def test_values_that_become_equal_where_they_must_differ_end_the_lift_and_name_both_rows(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("bulkmig.sqlite.session._ROWS", 1)
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    rows, says = TWINS[kind]
    on_file(file, *BASE, rows)
    with pytest.raises(BulkmigError, match=says) as raised:
        await lift(Settings(), file, target)
    assert raised.value.exit_status == 1
    assert not any((await read_rows(target)).values())


async def test_a_row_that_the_target_does_not_take_is_named(databases: Databases, tmp_path: Path) -> None:
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(
        file,
        *BASE,
        "INSERT INTO vessels (id, company_id, name) VALUES (12, 1, 'Kanarie')",
        "INSERT INTO vessels (id, company_id, name) VALUES (11, 1, 'A' || char(10))",
    )
    await execute(target, "ALTER TABLE vessels ADD CHECK (name <> 'Kanarie')")
    with pytest.raises(BulkmigError, match=r"refuses row 12 of vessels: .*vessels_name_check") as raised:
        await lift(Settings(), file, target)
    assert "Kanarie" not in str(raised.value)
    assert not any((await read_rows(target)).values())


async def test_a_lift_that_breaks_off_has_changed_nothing_and_can_be_repeated(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(file, "INSERT INTO companies (id, name, slug) VALUES (1, 'One', 'one')")

    async def broken(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr("bulkmig.lift.run.chain.seal", broken)  # the last step before the commit
        with pytest.raises(ConnectionError):
            await lift(Settings(), file, target)
    assert not any((await read_rows(target)).values())
    assert (await lift(Settings(), file, target)).status == "completed"


async def test_a_password_program_is_asked_as_for_any_other_target(
    databases: Databases, tmp_path: Path
) -> None:
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    program, told = tmp_path / "password of.py", tmp_path / "told"
    says = f"pathlib.Path({str(told)!r}).write_text(os.environ['BULKMIG_END'])"
    program.write_text(f"import os, pathlib; {says}; print('secret')")
    asks = Settings(password_command=f"{sys.executable} '{program}'")
    assert (await lift(asks, file, target)).status == "completed"
    assert told.read_text() == "target"


async def test_a_target_that_holds_anything_is_refused(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(file, "INSERT INTO companies (id, name, slug) VALUES (1, 'One', 'one')")
    await lift(Settings(), file, target)
    there = await dump(target, schema="public")
    with pytest.raises(PreflightError, match="not empty: companies"):
        await lift(Settings(), file, target)
    assert apart(there, await dump(target, schema="public")) == []
    assert KEYS["companies"] == ("id",)


@pytest.mark.parametrize(
    ("fired", "change", "differs"),
    [
        ("companies", "NEW.name := 'Two'", ("companies", "name", "One", "Two")),
        ("vessels", "UPDATE companies SET name = 'Two'", ("companies", "name", "One", "Two")),
        (
            "equipment",
            """NEW.specifications := '{"a": 1.0}'""",
            ("equipment", "specifications", '{"bb":2, "a": 1.00}', '{"a": 1.0}'),
        ),
    ],
)
async def test_a_target_whose_triggers_change_what_is_written_gets_nothing(
    databases: Databases, tmp_path: Path, fired: str, change: str, differs: tuple[str, ...]
) -> None:
    file, target = portal(tmp_path / "portal.db"), databases("maintenance")
    on_file(
        file,
        "INSERT INTO companies (id, name, slug) VALUES (1, 'One', 'one')",
        "INSERT INTO vessels (id, company_id, name) VALUES (1, 1, 'First')",
        "INSERT INTO equipment (id, vessel_id, qr_code, name, status, specifications)"
        """ VALUES (1, 1, 'Q', 'Pump', 'fault', '{"bb":2, "a": 1.00}')""",
    )
    await execute(
        target,
        f"CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {change};"
        f" RETURN NEW; END $$; CREATE TRIGGER changes BEFORE INSERT ON {fired} FOR EACH ROW"
        " EXECUTE FUNCTION change()",
    )
    report = await lift(Settings(), file, target)
    assert [(d.table, d.field, d.expected, d.actual) for d in report.verified.differences] == [differs]
    assert report.exit_status != 0
    assert not any((await read_rows(target)).values())
    assert (await lift(Settings(fk_check="set"), file, target)).exit_status == 0  # triggers are off


@pytest.mark.parametrize("fk_check", ["row", "set"])
async def test_a_portal_with_references_that_lead_nowhere_is_not_moved(
    fleets: Fleets, databases: Databases, tmp_path: Path, fk_check: FkCheck
) -> None:
    config = Settings(fk_check=fk_check)
    # SQLite refuses neither, unless a connection asks it to.
    never = portal(tmp_path / "never.db")
    on_file(never, "INSERT INTO vessels (id, company_id, name) VALUES (1, 7, 'Of no company')")
    target = databases("maintenance")
    with pytest.raises(BulkmigError, match="rows of vessels refer to rows that aren't there: 1"):
        await lift(config, never, target)
    assert not any((await read_rows(target)).values())
    origin = await fleets(SPEC)
    gone = portal(tmp_path / "gone.db")
    await migrate(settings(origin.url, gone), ALL)
    on_file(gone, "DELETE FROM equipment WHERE id IN (SELECT min(equipment_id) FROM critical_parts)")
    with pytest.raises(BulkmigError, match=r"rows of \w+ refer to rows that aren't there: "):
        await lift(config, gone, target)
    assert not any((await read_rows(target)).values())
