"""The whole way over databases, and that the comparison sees whatever is wrong in a target."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import NamedTuple

import asyncpg
import pytest

from tests.oracle.compare import compare, compare_tables
from tests.oracle.contract import JSON_COLUMNS, TABLES, THINGS
from tests.oracle.draft import Ref
from tests.oracle.expect import Expectation, expect
from tests.oracle.plant import connect, fill, plant
from tests.oracle.rules import ERRORS, FIELDS, LOSSY, QUARANTINING
from tests.oracle.sample import YEAR, Sample
from tests.oracle.source import read_source
from tests.oracle.target import read_rows, read_target
from tests.support.servers import Databases, EmbeddedServers

JSON = r'{"b": {"x": 1E+2, "y": 1.50}, "a": ["\u0000", 12345678901234567890.123456789], "b2": "\\u0000 😀"}'


def fleet() -> Sample:
    """Two rows in every table, rows of the portal's own, adoptions, vessels alike but for their rows."""
    sample = Sample()
    own_company = sample.own("companies", name="Before", slug="acme")
    sample.own("company_settings", company_id=own_company, is_active="false", original_settings="[1.0]")
    own_user = sample.own("users", company_id=own_company, email="A@X.ORG", role="admin", is_active="true")
    sample.own("user_metadata", user_id=own_user, original_role="ADMIN", flags="{}")
    own_vessel = sample.own(
        "vessels", company_id=own_company, name="Old", imo_number="9074729", status="inactive"
    )
    pump = {"vessel_id": own_vessel, "name": "Old pump", "status": "fault", "specifications": '{"n": 1.20}'}
    own_equipment = sample.own("equipment", qr_code="own-1", **pump)
    log = {"equipment_id": own_equipment, "performed_by": own_user, "performed_at": "2024-01-01 00:00:00+00"}
    for text in ("oiled", "cleaned"):
        sample.own("maintenance_logs", description=text, **log)

    companies = [sample.add("companies", code=code, settings=JSON) for code in ("ACME", "acme")]
    for company, emails in zip(companies, (["a@x.org", "b@x.org"], ["c@x.org"]), strict=True):
        for email in emails:
            user = sample.add("users", company_id=company, email=email, role="VIEWER", settings=JSON)
    for number, imo in enumerate(("9074729", "", None, None)):
        vessel = sample.vessel(
            company_id=companies[min(number, 1)],
            imo_number=imo,
            metadata=JSON,
            gross_tonnage="12.50",
            created_at="0044-03-15 10:00:00.000001+00 BC",
        )
        _load(sample, vessel, user, str(number))
    for number in range(2):
        vessel = sample.vessel(company_id=companies[0], imo_number=None, name="Alike")
        sample.add("documents", vessel_id=vessel, name=f"only {number}.pdf")
    _refer(sample)
    return sample


def _load(sample: Sample, vessel: str, user: str, mark: str) -> None:
    """Rows on one vessel."""
    deck = sample.add("locations", vessel_id=vessel)
    for number in range(2):
        equipment = sample.add(
            "equipment",
            vessel_id=vessel,
            location_id=deck,
            name=f"Pump {mark}.{number}\r\n\\.",
            installation_date="2020-01-01",
            metadata='{"last_maintenance_date": "2021-01-01"}',
            specifications=JSON,
            maintenance_interval_days=30,
            warranty_expiry="infinity",
        )
        sample.add("critical_parts", equipment_id=equipment, current_stock=1, part_number="x" * 120)
        sample.add("documents", vessel_id=vessel, equipment_id=equipment, file_size=3 * 10**9)
    sample.add("documents", vessel_id=vessel, name=f"{mark}.pdf", file_size=1)
    for category in ("labels", "photos"):
        sample.add(
            "quality_scores", vessel_id=vessel, equipment_id=equipment, assessed_by=user, category=category
        )


def _refer(sample: Sample) -> None:
    """Cross references within vessels and between them."""
    machines = sample.source.equipment
    for one, other in zip(machines, machines[1:] + machines[:1], strict=True):
        sample.add(
            "cross_references",
            vessel_id=one["vessel_id"],
            source_equipment_id=one["id"],
            target_equipment_id=other["id"],
        )


class Planted(NamedTuple):
    """A target that holds what is expected."""

    expectation: Expectation
    url: str
    ids: dict[Ref, str]


@pytest.fixture(scope="module")
def made() -> dict[int, Planted]:
    """By major version, once one was."""
    return {}


@pytest.fixture
async def planted(
    made: dict[int, Planted], embedded_servers: EmbeddedServers, pg_major: int, databases: Databases
) -> Planted:
    """The fleet's expectation, and a target with it, for a test to change."""
    if pg_major not in made:
        made[pg_major] = await whole(Databases(embedded_servers, pg_major))
    expectation, url, ids = made[pg_major]
    return Planted(deepcopy(expectation), databases.copy(url), ids)


async def whole(databases: Databases) -> Planted:
    """The fleet, written to and read from databases, and its expectation in a target of its own."""
    sample = fleet()
    source_url, before_url, url = databases("onboarding"), databases("maintenance"), databases("maintenance")
    await fill(source_url, vars(sample.source))
    main = {thing.table for thing in THINGS}
    tables = sample.target.tables
    await fill(before_url, {name: tables[name] for name in sorted(tables, key=lambda name: name not in main)})
    source, before = await read_source(source_url), await read_target(before_url)
    assert vars(source) == vars(sample.source)
    for place, column in sample.target.columns.items():
        real = before.columns[place]
        assert (column.length, column.precision, column.scale) == (real.length, real.precision, real.scale)
        assert (column.type == "integer") == (real.type == "integer")
    expectation = expect(source, before, year=YEAR)
    assert len(expectation.done_vessels) == 6
    assert all(len(rows) >= 2 for rows in expectation.tables.values())
    return Planted(expectation, url, await plant(expectation, url))


@pytest.mark.all_versions
async def test_a_target_that_holds_what_is_expected_has_no_difference(planted: Planted) -> None:
    assert await compare(planted.expectation, planted.url) == []
    actual = await read_rows(planted.url)
    assert compare_tables(planted.expectation.tables, actual).ids == planted.ids


ALLOWED = {
    ("users", "role"): ("admin", "manager"),
    ("vessels", "status"): ("inactive", "operational"),
    ("equipment", "status"): ("fault", "operational"),
    ("equipment_documents", "document_type"): ("manual", "other"),
}


def other_value(column: asyncpg.Record, value: str | None) -> str:
    """Another value that the column takes."""
    for choice in ALLOWED.get((column["table"], column["name"]), ()):
        if choice != value:
            return choice
    match column["type"]:
        case "bool":
            return "true" if value == "false" else "false"
        case "int4":
            return str(int(value or 0) + 1)
        case "numeric":
            return "0.01" if value != "0.01" else "0.02"
        case "date" | "timestamptz":
            return "2030-01-01"
        case "jsonb":
            return "[]" if value != "[]" else "{}"
        case "uuid":
            return "11111111-1111-4111-8111-111111111111"
    return "!" + (value or "")[1:]


def others(column: asyncpg.Record, value: str | None, values: list[str | None]) -> list[str | None]:
    """What a corruption makes of a cell: another value, another row's reference, NULL."""
    found: list[str | None] = [other_value(column, value)]
    if column["type"] == "uuid":
        found += [other for other in values if other not in {None, value}][:1]
    if column["nullable"] and value is not None:
        found.append(None)
    return found


COLUMNS = """
SELECT table_name::text AS "table", column_name::text AS name, udt_name::text AS type,
       is_nullable = 'YES' AS nullable
FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1
"""


@pytest.mark.parametrize("table", TABLES)
async def test_a_corruption_of_any_one_column_is_reported(planted: Planted, table: str) -> None:
    connection = await connect(planted.url)
    unseen: list[tuple[str, str | None]] = []
    try:
        await connection.execute("SET session_replication_role = replica")  # references may dangle
        for column in await connection.fetch(COLUMNS, table):
            name, kind = column["name"], column["type"]
            places = await connection.fetch(f'SELECT ctid::text, {name}::text FROM "{table}" ORDER BY 1')
            here, value = places[len(places) // 2]
            change = f'UPDATE "{table}" SET {name} = $1::text::{kind} WHERE ctid = $2::text::tid'
            for wrong in others(column, value, [place[1] for place in places]):
                try:
                    moved = await connection.fetchval(f"{change} RETURNING ctid::text", wrong, here)
                except asyncpg.UniqueViolationError:
                    continue
                if await compare(planted.expectation, planted.url) == []:
                    unseen.append((name, wrong))
                here = await connection.fetchval(f"{change} RETURNING ctid::text", value, moved)
        assert unseen == []
        assert await compare(planted.expectation, planted.url) == []
    finally:
        await connection.close()


@pytest.mark.parametrize("table", TABLES)
async def test_a_row_that_is_gone_is_reported(planted: Planted, table: str) -> None:
    connection = await connect(planted.url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(f'DELETE FROM "{table}" WHERE ctid = (SELECT max(ctid) FROM "{table}")')
    finally:
        await connection.close()
    differences = await compare(planted.expectation, planted.url)
    assert any("missing" in difference for difference in differences)


@pytest.mark.parametrize(("table", "column"), sorted(JSON_COLUMNS))
async def test_the_scale_of_a_number_in_json_is_compared(planted: Planted, table: str, column: str) -> None:
    connection = await connect(planted.url)
    try:
        key = TABLES[table][0]
        [place] = await connection.fetch(f'SELECT {key} AS key FROM "{table}" ORDER BY 1 LIMIT 1')
        change = f'UPDATE "{table}" SET {column} = $1::text::jsonb WHERE {key} = $2'
        await connection.execute(change, '{"scale": 1.5}', place["key"])
        expectation = planted.expectation
        wanted = next(
            row for row in expectation.tables[table] if resolved(planted, row[key]) == str(place["key"])
        )
        wanted[column] = '{"scale": 1.5}'
        assert await compare(expectation, planted.url) == []
        await connection.execute(change, '{"scale": 1.50}', place["key"])
        [difference] = await compare(expectation, planted.url)
        assert f"{table}.{column}: expected" in difference
    finally:
        await connection.close()


def resolved(planted: Planted, cell: object) -> object:
    """The id that a row was given."""
    return planted.ids[cell] if isinstance(cell, Ref) else cell


async def test_what_is_wrong_is_named(planted: Planted) -> None:
    connection = await connect(planted.url)
    try:
        part = await connection.fetchval("SELECT id FROM critical_parts ORDER BY id LIMIT 1")
        await connection.execute("UPDATE critical_parts SET description = 'Oring' WHERE id = $1", part)
    finally:
        await connection.close()
    [difference] = await compare(planted.expectation, planted.url)
    pattern = r"critical_parts critical_part [0-9a-f-]{36} \([0-9a-f-]{36}\): critical_parts.description: "
    assert re.fullmatch(pattern + "expected 'Seal', found 'Oring'", difference)


async def test_ids_of_two_vessels_in_each_others_range_are_reported(planted: Planted) -> None:
    actual = await read_rows(planted.url)
    scores = actual["quality_scores"]
    scores[0]["id"] = "ffffffff-0000-8000-8000-000000000001"
    differences = compare_tables(planted.expectation.tables, actual).differences
    assert any("lie between" in difference for difference in differences)


async def test_an_id_of_two_tables_is_reported(planted: Planted) -> None:
    actual = await read_rows(planted.url)
    actual["quality_scores"][0]["id"] = actual["cross_references"][0]["id"]
    differences = compare_tables(planted.expectation.tables, actual).differences
    assert any("is one of" in difference for difference in differences)


def test_every_code_that_is_an_error_quarantines_or_loses_is_one_of_the_codes() -> None:
    assert FIELDS.keys() >= ERRORS | QUARANTINING | LOSSY
    assert not ERRORS & QUARANTINING
