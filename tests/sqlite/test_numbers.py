"""Integer ids: given once, kept with their source ids, and never those of a row of the portal's own."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from msgspec.structs import replace

from bulkmig import Report, Selection, Settings, migrate, rollback, schemas, verify
from bulkmig.generate import FleetSpec
from bulkmig.ledger import schema
from bulkmig.postgres.session import Connection
from bulkmig.sqlite.address import parse
from bulkmig.sqlite.opening import connect
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval
from tests.oracle.file import path_of, write_file
from tests.support.files import SCHEMA, portal, stored
from tests.support.fleets import Fleets, Origin

SPEC = FleetSpec(vessels=3, equipment=6, companies=2, users_per_company=3, cross_references=4, seed=2)
ALL = Selection(all=True)
# What the portal adds by its own means: the next number that the table has free.
ADDED = {
    "equipment": "INSERT INTO equipment (vessel_id, qr_code, name, status)"
    " SELECT min(id), 'own', 'of the portal', 'operational' FROM vessels",
    "critical_parts": "INSERT INTO critical_parts (equipment_id, description, causes_failure)"
    " SELECT min(id), 'of the portal', 0 FROM equipment",
    "equipment_documents": "INSERT INTO equipment_documents"
    " (equipment_id, document_type, file_name, file_path)"
    " SELECT min(id), 'other', 'of the portal', 'https://portal.example/x' FROM equipment",
    "quality_scores": "INSERT INTO quality_scores (vessel_id, category, score, assessed_at)"
    " SELECT min(id), 'of the portal', 5, '2025-01-01T00:00:00.000Z' FROM vessels",
    "users": "INSERT INTO users (company_id, email, role)"
    " SELECT min(id), 'own@portal.example', 'technician' FROM companies",
}


def settings(origin: Origin, target: str, **others: Any) -> Settings:
    """How these tests migrate."""
    given = {"on_error": "quarantine", "continue_on_error": True, **others}
    return Settings(source=origin.url, target=target, **given)


def ask(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Runs statements as the portal does; returns the rows of the last."""
    connection = sqlite3.connect(path_of(url), isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    found = [connection.execute(statement).fetchall() for statement in statements]
    connection.close()
    return found[-1]


def clean(report: Report) -> None:
    """Sees that a run went well."""
    assert (report.status, report.failures, report.verified.differences) == ("completed", [], [])


@pytest.mark.parametrize("table", ADDED)
async def test_a_row_that_the_portal_adds_under_the_number_of_one_that_it_deleted_is_its_own(
    fleets: Fleets, tmp_path: Path, table: str
) -> None:
    origin = await fleets.changing(SPEC)
    target = portal(tmp_path / "portal.db")
    config = settings(origin, target)
    clean(await fleets.migrate(origin, config))
    if table == "users":
        ask(target, "UPDATE quality_scores SET assessed_by = NULL")
    ((number, source),) = ask(
        target,
        f"SELECT id, source_id FROM bulkmig_ids WHERE tbl = '{table}' AND id = (SELECT max(id) FROM {table})",
    )
    ask(target, f"DELETE FROM {table} WHERE id = {number}", ADDED[table])
    own = ask(target, f"SELECT * FROM {table} WHERE id = {number}")
    assert len(own) == 1
    report = await verify(config, ALL)
    clean(report)
    assert not [one for one in report.verified.drifted if one.field and one.table == table]
    of = {"equipment_documents": "documents"}.get(table, table)
    await execute(origin.url, f"UPDATE {of} SET updated_at = now() + interval '1 hour' WHERE id = '{source}'")
    clean(await sync(replace(config, conflict="source_wins"), ALL))
    # The source has changed the row that the portal deleted: it comes back, under a number of its own.
    assert ask(target, f"SELECT * FROM {table} WHERE id = {number}") == own
    ((back,),) = ask(
        target,
        f"SELECT t.id FROM bulkmig_ids i JOIN {table} t ON t.id = i.id"
        f" WHERE i.tbl = '{table}' AND i.source_id = '{source}'",
    )
    assert back > number
    await execute(origin.url, f"DELETE FROM {of} WHERE id = '{source}'")
    clean(await sync(config, ALL))
    assert ask(target, f"SELECT id FROM {table} WHERE id IN ({number}, {back})") == [(number,)]
    assert ask(target, f"SELECT * FROM {table} WHERE id = {number}") == own


async def test_a_number_that_waits_for_a_row_in_quarantine_is_the_portals_once_it_has_taken_it(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets.changing(SPEC)
    last = await fetchval(
        origin.url, "SELECT id::text FROM equipment ORDER BY vessel_id DESC, id DESC LIMIT 1"
    )
    name = await fetchval(origin.url, "SELECT name FROM equipment WHERE id = $1::text::uuid", last)
    await execute(origin.url, "UPDATE equipment SET name = '' WHERE id = $1::text::uuid", last)
    target = portal(tmp_path / "portal.db")
    config = settings(origin, target)
    clean(await migrate(config, ALL))
    ((kept,),) = ask(target, f"SELECT id FROM bulkmig_ids WHERE source_id = '{last}'")
    ask(target, ADDED["equipment"])
    own = ask(target, "SELECT * FROM equipment WHERE qr_code = 'own'")
    assert own[0][0] == kept
    clean(await verify(config, ALL))
    for said in ("", name):
        await execute(
            origin.url,
            "UPDATE equipment SET name = $2, updated_at = now() WHERE id = $1::text::uuid",
            last,
            said,
        )
        clean(await sync(config, ALL))
        assert ask(target, "SELECT * FROM equipment WHERE qr_code = 'own'") == own
    ((number,),) = ask(target, f"SELECT equipment_id FROM equipment_metadata WHERE original_id = '{last}'")
    assert number == kept + 1


async def test_where_the_portal_has_taken_the_last_number_rows_get_those_of_a_gap(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets.changing(SPEC)
    target = portal(tmp_path / "portal.db")
    config = settings(origin, target)
    last = 2**63 - 1
    own = [-(2**63), -1, 0, 2, last - 4, last]
    ask(
        target,
        "INSERT INTO companies (id, name, slug) VALUES (7, 'Own', 'own')",
        *(f"INSERT INTO vessels (id, company_id, name) VALUES ({n}, 7, 'Own')" for n in own),
    )
    clean(await migrate(config, ALL))
    ids = [number for (number,) in ask(target, "SELECT id FROM vessels ORDER BY id")]
    assert ids == sorted([*own, *range(3, 3 + len(origin.approved))])
    clean(await sync(config, ALL))  # which has no row to number
    # Then one by one, as rows return whose numbers the portal has taken, or as it adds them.
    vessel = origin.approved[0]
    ask(target, f"INSERT INTO vessels (id, company_id, name) VALUES (1, 7, 'Own'), ({last - 1}, 7, 'Own')")
    done = await rollback(config, vessel=vessel)
    ((number,),) = ask(target, f"SELECT id FROM bulkmig_ids WHERE source_id = '{vessel}'")
    ask(target, f"INSERT INTO vessels (id, company_id, name) VALUES ({number}, 7, 'Own')")
    back = await rollback(config, run=done.run_id)
    assert (back.status, back.failures) == ("completed", [])
    ((now,),) = ask(
        target, f"SELECT v.id FROM bulkmig_ids i JOIN vessels v ON v.id = i.id WHERE source_id = '{vessel}'"
    )
    assert now not in (number, *own)
    clean(await verify(config, ALL))


async def test_numbers_that_an_autoincrement_table_has_given_are_not_given_again(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets.changing(SPEC)
    given_once = schemas.read(SCHEMA).replace("INTEGER PRIMARY KEY,", "INTEGER PRIMARY KEY AUTOINCREMENT,")
    target = write_file(tmp_path / "portal.db", given_once, {})
    ask(
        target,
        "INSERT INTO companies (id, name, slug) VALUES (40, 'Gone', 'gone')",
        "DELETE FROM companies",
        "INSERT INTO companies (id, name, slug) VALUES (41, 'Own', 'own')",
        f"INSERT INTO users (id, company_id, email, role) VALUES ({2**63 - 1}, 41, 'gone', 'admin')",
        "DELETE FROM users",
    )
    clean(await migrate(settings(origin, target), ALL))
    assert ask(target, "SELECT min(id) FROM companies WHERE id <> 41") == [(42,)]
    assert ask(target, "SELECT min(id) FROM users") == [(1,)]  # its sequence is at its end


async def test_rows_that_a_sync_finds_are_numbered_in_order_of_their_source_ids_and_known_by_them(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets.changing(SPEC)
    target = portal(tmp_path / "portal.db")
    config = settings(origin, target)
    clean(await fleets.migrate(origin, config))
    ((before,),) = ask(target, "SELECT max(id) FROM bulkmig_ids WHERE tbl = 'equipment'")
    await execute(
        origin.url,
        "INSERT INTO equipment (id, vessel_id, name, status) SELECT gen_random_uuid(), id, 'new', 'ACTIVE'"
        " FROM vessels, generate_series(1, 5) WHERE onboarding_status = 'APPROVED'",
    )
    clean(await sync(config, ALL))
    new = ask(
        target,
        "SELECT v.source_id, i.source_id FROM bulkmig_ids i JOIN equipment e ON e.id = i.id"
        " JOIN bulkmig_ids v ON v.tbl = 'vessels' AND v.id = e.vessel_id"
        f" WHERE i.tbl = 'equipment' AND i.id > {before} ORDER BY i.id",
    )
    assert len(new) == 5 * len(origin.approved)
    assert new == sorted(new)


async def test_what_was_rolled_back_returns_under_the_same_numbers(fleets: Fleets, tmp_path: Path) -> None:
    origin = await fleets(SPEC)
    target = portal(tmp_path / "portal.db")
    config = settings(origin, target)
    first = await fleets.migrate(origin, config)
    before = stored(target)
    assert (await rollback(config, run=first.run_id)).status == "completed"
    clean(await migrate(config, ALL))
    assert stored(target) == before


async def test_of_two_migrations_at_once_each_row_has_one_number_as_of_one(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    target, plain = portal(tmp_path / "portal.db"), portal(tmp_path / "plain.db")
    clean(await fleets.migrate(origin, settings(origin, plain)))
    reports: list[Report] = []

    async def run() -> None:
        reports.append(await migrate(settings(origin, target), ALL))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        group.start_soon(run)
    for report in reports:
        clean(report)
    assert sum(report.done for report in reports) == len(origin.approved)
    assert stored(target) == stored(plain)


async def test_a_session_that_began_before_another_run_made_the_ledger_has_the_ledgers_numbers(
    fleets: Fleets, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    target = portal(tmp_path / "portal.db")
    session = await connect(parse(target), durable=False)
    try:
        clean(await migrate(settings(origin, target), ALL))
        assert await schema.version(cast(Connection, session)) == schema.newest(cast(Connection, session))
        seen = {str(row[0]) for row in await session.fetch("SELECT id FROM users")}
        written = await session.fetch("SELECT target_id FROM bulkmig.identities WHERE entity = 'user'")
        assert seen == {str(row[0]) for row in written} != set()
    finally:
        await session.close()
