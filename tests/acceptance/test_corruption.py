"""Whatever is changed in a target, in whichever column: `verify` names exactly that, and weighs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
import pytest

from bulkmig import Deviation, Report, Selection, Settings, verify
from bulkmig.encode import base, read_base
from bulkmig.entities import ENTITIES, critical_part
from bulkmig.generate import FleetSpec
from tests.oracle.contract import JSON_COLUMNS, KEYS
from tests.oracle.jsontext import canonical_text
from tests.support.fleets import Fleets, Origin

SPEC = FleetSpec(seed=7, vessels=4, equipment=30, nasty=0.2, least=1)
ALL = Selection(all=True)
TABLES = [table for entity in ENTITIES for table in entity.tables]
OWN_KEY = {table.name: table.own_key for table in TABLES}
ENTITY = {table.name: entity for entity in ENTITIES for table in entity.tables}
# Cells whose values reports show only masked.
PERSONAL = {
    ("company_settings", "contact_email"),
    ("company_settings", "contact_phone"),
    ("users", "email"),
    ("users", "password_hash"),
    ("users", "first_name"),
    ("users", "last_name"),
    ("user_metadata", "phone"),
    ("user_metadata", "settings"),
    ("users", "avatar_url"),
}
# Where a constraint leaves only certain values.
CHOSEN = {
    ("users", "role"): "CASE role WHEN 'admin' THEN 'manager' ELSE 'admin' END",
    ("vessels", "status"): "CASE status WHEN 'inactive' THEN 'operational' ELSE 'inactive' END",
    ("equipment", "status"): "'fault'",
    ("equipment_documents", "document_type"): "CASE document_type WHEN 'other' THEN 'image' ELSE 'other' END",
    ("quality_scores", "score"): "abs(score - 1)",
}
REFERRED = {
    "company_id": "companies",
    "vessel_id": "vessels",
    "equipment_id": "equipment",
    "source_equipment_id": "equipment",
    "target_equipment_id": "equipment",
    "assessed_by": "users",
}
COARSE = {
    "text": "'corrupted ' || md5(random()::text)",
    "varchar": "left(md5(random()::text), 8)",
    "bool": "NOT {}",
    "int4": "CASE WHEN {0} > 0 THEN {0} - 1 ELSE coalesce({0}, 0) + 1 END",
    "numeric": "CASE {} WHEN 1.25 THEN 2.5 ELSE 1.25 END",
    "date": "CASE {} WHEN '2001-02-03' THEN '2002-03-04' ELSE '2001-02-03' END::date",
    "timestamptz": "CASE WHEN {} = '2001-02-03 04:05:06+00' THEN 'epoch' ELSE '2001-02-03 04:05:06+00' END"
    "::timestamptz",
    "jsonb": """'{{"corrupted": 1}}'""",
    "uuid": "gen_random_uuid()",
}
# What a sloppy comparison would pass over: NULL and '', a blank at the end, a number's scale, a microsecond.
SUBTLE = {
    **COARSE,
    "text": "CASE WHEN {0} IS NULL THEN '' ELSE {0} || ' ' END",
    "varchar": "CASE WHEN {0} IS NULL THEN '' ELSE overlay({0} placing chr(160) from 1 for 1) END",
    "bool": "NOT {}",
    "numeric": "CASE WHEN {} IS NULL THEN 'NaN'::numeric END",
    "date": "CASE WHEN isfinite({0}) AND {0} < '9000-01-01' THEN {0} + 1 ELSE '2001-02-03' END::date",
    "timestamptz": "CASE WHEN isfinite({0}) THEN {0} + interval '1 microsecond' ELSE 'epoch' END",
    "jsonb": """CASE jsonb_typeof({0}) WHEN 'object' THEN {0} || '{{"": 1.50}}'
                WHEN 'array' THEN {0} || '[1e0]' ELSE '""' END""",
}


class Change(NamedTuple):
    """A cell that was changed, its values as PostgreSQL's text before and after."""

    table: str
    id: str
    field: str
    before: str | None
    after: str | None


@dataclass
class Scene:
    """A source and a target that was migrated from it."""

    origin: Origin
    target: str
    db: asyncpg.Connection

    async def verify(self) -> Report:
        return await verify(Settings(source=self.origin.url, target=self.target), ALL)

    async def keys(self) -> set[tuple[str, str]]:
        """Every row there is: its table, and the id that it was given."""
        return {
            (table, row[0])
            for table, key in OWN_KEY.items()
            for row in await self.db.fetch(f"SELECT {key}::text FROM {table}")
        }


NewScene = Callable[..., Awaitable[Scene]]


@pytest.fixture
async def scene(fleets: Fleets, maintenance_url: str) -> AsyncIterator[NewScene]:
    """Migrates the fleet of SPEC: `await scene()`; `fresh`: from a source that may be changed."""
    connections = []

    async def make(*, fresh: bool = False) -> Scene:
        origin = await (fleets.changing(SPEC) if fresh else fleets(SPEC))
        config = Settings(source=origin.url, target=maintenance_url, on_error="quarantine", verify=False)
        report = await fleets.migrate(origin, config)
        assert report.status == "completed"
        connections.append(await asyncpg.connect(maintenance_url, server_settings={"TimeZone": "UTC"}))
        return Scene(origin, maintenance_url, connections[-1])

    yield make
    for connection in connections:
        await connection.close()


async def columns(db: asyncpg.Connection, table: str) -> dict[str, str]:
    """The columns of a table that are no part of its key, and their types."""
    rows = await db.fetch(
        "SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        table,
    )
    return {row[0]: row[1] for row in rows if row[0] not in KEYS[table]}


async def change_a_cell(
    db: asyncpg.Connection, table: str, column: str, expression: str, number: int
) -> Change:
    """Changes one cell, in the row of this number."""
    key = OWN_KEY[table]
    count = await db.fetchval(f"SELECT count(*) FROM {table}")
    rows = await db.fetch(
        f"SELECT {key}::text, {column}::text FROM {table} ORDER BY {key} OFFSET $1 LIMIT 1", number % count
    )
    id_, before = rows[0]
    after = await db.fetchval(
        f"UPDATE {table} SET {column} = {expression} WHERE {key} = $1 RETURNING {column}::text", id_
    )
    assert before != after, (table, column)
    return Change(table, id_, column, before, after)


async def change_every_column(db: asyncpg.Connection, kinds: dict[str, str], first: int) -> set[Change]:
    """Changes one cell of every column of every table, each in another row where there are enough."""
    changes: set[Change] = set()
    for table in OWN_KEY:
        for number, (column, kind) in enumerate((await columns(db, table)).items(), first):
            expression = CHOSEN.get((table, column), kinds[kind].format(column))
            if column in REFERRED:
                expression = (
                    f"(SELECT id FROM {REFERRED[column]} r WHERE r.id IS DISTINCT FROM {table}.{column}"
                    " ORDER BY id LIMIT 1)"
                )
            changes.add(await change_a_cell(db, table, column, expression, number))
    return changes


def cell(table: str, column: str, text: str | None) -> str | None:
    """A value as reports show it, JSON in one spelling."""
    if text is not None and (table, column) in PERSONAL:
        return "(masked)"
    if text is None:
        return None
    return canonical_text(text) if (table, column) in JSON_COLUMNS else text


def told(deviations: list[Deviation]) -> set[Change]:
    return {
        Change(d.table, d.id, d.field, cell(d.table, d.field, d.expected), cell(d.table, d.field, d.actual))
        for d in deviations
    }


def shown(change: Change) -> Change:
    """What a report is to say of a change."""
    spelled = {"true": "t", "false": "f"} if change.field in ("is_active", "causes_failure") else {}
    before, after = (
        cell(change.table, change.field, spelled.get(text or "", text))
        for text in (change.before, change.after)
    )
    return Change(change.table, change.id, change.field, before, after)


@pytest.mark.parametrize(("kinds", "first"), [(COARSE, 0), (SUBTLE, 20)], ids=["coarse", "subtle"])
async def test_a_changed_cell_of_any_column_is_drift_and_without_its_base_a_difference(
    scene: NewScene, kinds: dict[str, str], first: int
) -> None:
    here = await scene()
    changes = await change_every_column(here.db, kinds, first)
    assert len(changes) == sum(len(table.cells) - len(table.key) for table in TABLES)
    wanted = {shown(change) for change in changes}

    report = await here.verify()
    assert told(report.verified.drifted) == wanted
    assert (report.verified.drift, report.verified.difference_count) == (len(wanted), 0)
    assert (report.status, report.verified.stale) == ("completed", 0)

    await here.db.execute("DELETE FROM bulkmig.base")
    report = await here.verify()
    assert told(report.verified.differences) == wanted
    assert (report.verified.drift, report.verified.difference_count) == (0, len(wanted))
    assert (report.status, report.exit_status) == ("completed_with_failures", 1)


async def test_a_row_that_the_portal_deleted_is_drift_and_without_its_base_a_difference(
    scene: NewScene,
) -> None:
    here = await scene()
    before = await here.keys()
    for table in reversed(OWN_KEY):
        if table == "companies":
            continue  # all have vessels, so the portal can't delete them
        key = OWN_KEY[table]
        # Rows that others refer to can't be deleted: the last one that can be.
        for row in await here.db.fetch(f"SELECT {key}::text FROM {table} ORDER BY {key} DESC"):
            try:
                await here.db.execute(f"DELETE FROM {table} WHERE {key} = $1", row[0])
                break
            except asyncpg.ForeignKeyViolationError:
                continue
        else:
            pytest.fail(f"no row of {table} can be deleted")
    gone = before - await here.keys()
    assert {table for table, _ in gone} == set(OWN_KEY) - {"companies"}

    report = await here.verify()
    assert {(d.table, d.id) for d in report.verified.drifted if not d.field} == gone
    assert (report.verified.drift, report.verified.difference_count) == (len(gone), 0)

    await here.db.execute("DELETE FROM bulkmig.base")
    report = await here.verify()
    assert {(d.table, d.id) for d in report.verified.differences} == gone
    assert {(d.field, d.expected, d.actual) for d in report.verified.differences} == {("", "a row", "no row")}
    assert report.verified.difference_count == len(gone)


async def test_a_reference_that_leads_nowhere_is_a_difference(scene: NewScene) -> None:
    here = await scene()
    company, vessel = (
        await here.db.fetch("SELECT company_id::text, id::text FROM vessels ORDER BY company_id, id LIMIT 1")
    )[0]
    await here.db.execute("SET session_replication_role = replica")
    await here.db.execute("DELETE FROM companies WHERE id = $1", company)
    report = await here.verify()
    assert {(d.table, d.id, d.field) for d in report.verified.drifted} == {("companies", company, "")}
    assert [(d.table, d.id, d.field, d.expected, d.actual) for d in report.verified.differences] == [
        ("vessels", vessel, "company_id", "a row of companies", "no row")
    ]


async def test_a_row_that_is_gone_from_target_and_base_is_a_difference(scene: NewScene) -> None:
    here = await scene()
    written = await here.db.fetch(
        "SELECT ctid, payload FROM bulkmig.base WHERE entity = 'critical_part' AND rows > 1 LIMIT 1"
    )
    frame = read_base(written[0]["payload"])
    lost = frame["critical_parts.id"][1]
    await here.db.execute("DELETE FROM critical_parts WHERE id = $1", lost)
    payload = base(critical_part.ENTITY, frame.filter(frame["critical_parts.id"] != lost))
    await here.db.execute("UPDATE bulkmig.base SET payload = $2 WHERE ctid = $1", written[0]["ctid"], payload)
    report = await here.verify()
    assert {(d.table, d.id, d.actual) for d in report.verified.differences} == {
        ("critical_parts", lost, "no row"),
        ("part_details", lost, "no row"),
    }
    assert report.verified.drift == 0


async def test_a_row_with_an_id_of_bulkmigs_that_is_not_due_is_a_difference(scene: NewScene) -> None:
    here = await scene()
    added: set[tuple[str, str]] = set()
    for entity in ENTITIES:
        if entity.scope == "fleet" or entity.name == "vessel" or not entity.tables:
            continue
        table = entity.tables[0]
        names = ", ".join(await columns(here.db, table.name))
        values = names.replace("qr_code", "qr_code || '-copy'")
        # An id as bulkmig would derive it for some row of this vessel.
        id_ = await here.db.fetchval(
            f"INSERT INTO {table.name} (id, {names})"
            f" SELECT overlay(id::text placing 'fffffffff' from 28)::uuid, {values}"
            f" FROM {table.name} ORDER BY id OFFSET 3 LIMIT 1 RETURNING id::text"
        )
        added.add((table.name, id_))
    report = await here.verify()
    assert {(d.table, d.id) for d in report.verified.differences} == added
    assert {(d.expected, d.actual) for d in report.verified.differences} == {("no row", "a row")}
    assert report.verified.difference_count == len(added)
    assert report.verified.drift == 0


async def test_rows_that_the_portal_added_are_nothing(scene: NewScene) -> None:
    here = await scene()
    for entity in ENTITIES:
        if not entity.tables:
            continue
        table = entity.tables[0]
        names = values = ", ".join(await columns(here.db, table.name))
        for unique in ("qr_code", "email", "slug", "imo_number"):
            values = values.replace(unique, f"{unique} || 'x'")
        await here.db.execute(
            f"INSERT INTO {table.name} (id, {names})"
            f" SELECT gen_random_uuid(), {values} FROM {table.name} LIMIT 1"
        )
    report = await here.verify()
    assert (report.verified.difference_count, report.verified.drift, report.verified.stale) == (0, 0, 0)


async def test_documents_that_the_portal_lists_for_vessels_too_are_no_difference(scene: NewScene) -> None:
    here = await scene()
    link = "INSERT INTO vessel_documents (vessel_id, document_id) SELECT v.id, d.id FROM vessels v"
    await here.db.execute(
        f"{link} JOIN (SELECT document_id AS id, vessel_id FROM vessel_documents) d"
        " ON d.vessel_id <> v.id ORDER BY v.id, d.id LIMIT 1"
    )
    await here.db.execute(
        f"{link} JOIN equipment e ON e.vessel_id = v.id JOIN equipment_documents d ON d.equipment_id = e.id"
        " ORDER BY v.id, d.id LIMIT 1"
    )
    report = await here.verify()
    assert (report.verified.differences, report.verified.drift, report.verified.stale) == ([], 0, 0)


async def test_a_document_whose_equipment_left_the_vessel_in_the_source_is_stale(scene: NewScene) -> None:
    """It is the vessel's now, though nobody has touched it."""
    here = await scene(fresh=True)
    documented = await here.db.fetch(
        "SELECT DISTINCT m.original_id, v.original_id AS vessel FROM equipment_documents d"
        " JOIN equipment_metadata m USING (equipment_id) JOIN equipment e ON e.id = m.equipment_id"
        " JOIN (SELECT source_id AS original_id, target_id FROM bulkmig.identities) v"
        " ON v.target_id = e.vessel_id ORDER BY 1"
    )
    gone, moved, broken = (row["original_id"] for row in documented[:3])
    other = next(row["vessel"] for row in documented if row["vessel"] != documented[1]["vessel"])
    source = await asyncpg.connect(here.origin.url)
    try:
        await source.execute("DELETE FROM equipment WHERE id = $1", gone)
        await source.execute("UPDATE equipment SET vessel_id = $2 WHERE id = $1", moved, other)
        await source.execute("UPDATE equipment SET name = '' WHERE id = $1", broken)
    finally:
        await source.close()
    report = await here.verify()
    assert (report.verified.differences, report.verified.drift) == ([], 0)
    assert (report.verified.stale > 6, report.status) == (True, "completed")


async def test_what_changed_in_the_source_since_is_stale_and_no_difference(scene: NewScene) -> None:
    here = await scene(fresh=True)
    source = await asyncpg.connect(here.origin.url)
    try:
        vessel = await here.db.fetchval(
            "SELECT vessel_id FROM bulkmig.vessels WHERE state = 'migrated' ORDER BY rows DESC LIMIT 1"
        )
        sound = "SELECT original_id FROM equipment_metadata m JOIN equipment e ON e.id = m.equipment_id"
        first, second, third = (
            row[0] for row in await here.db.fetch(f"{sound} WHERE e.status <> 'fault' ORDER BY e.id LIMIT 3")
        )
        await source.execute("UPDATE equipment SET notes = 'changed', model = 'other' WHERE id = $1", first)
        await source.execute("UPDATE vessels SET name = name || ' II' WHERE id = $1", vessel)
        await source.execute(
            "UPDATE companies SET name = 'Renamed' WHERE id = (SELECT min(id::text)::uuid"
            " FROM companies WHERE id IN (SELECT company_id FROM vessels WHERE id = $1))",
            vessel,
        )
        await source.execute("DELETE FROM documents WHERE equipment_id = $1", second)
        await source.execute(
            "INSERT INTO critical_parts (id, equipment_id, name) VALUES (gen_random_uuid(), $1, 'new')", third
        )
    finally:
        await source.close()
    report = await here.verify()
    assert report.verified.differences == []
    assert report.verified.drift == 0
    assert report.verified.stale >= 6
    assert report.status == "completed"
