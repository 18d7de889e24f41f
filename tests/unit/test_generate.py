"""Generated fleets are what they claim to be: repeatable, valid when clean, full of traps when not."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from hashlib import sha256

import asyncpg
import pytest

from bulkmig.errors import UsageError
from bulkmig.generate import (
    ENUM_TRAPS,
    ERROR_TRAPS,
    JSON_ONLY_TRAPS,
    ONCE_TRAPS,
    PORTAL_TRAPS,
    TRAPS,
    VARIATIONS,
    FleetSpec,
    generate_fleet,
    generate_portal,
    vary_schema,
)
from bulkmig.generate.fleet import Fleet
from bulkmig.generate.ids import imo_check_digit
from tests.oracle.expect import FIELDS, expect
from tests.oracle.source import read_source
from tests.oracle.target import read_target
from tests.support.fleets import Fleets

NASTY = FleetSpec(vessels=6, equipment=40, nasty=0.3, unknown_enums=True)
TWICE = replace(NASTY, least=2)  # each trap, in what several tests look at
SEEDS = 12

Query = Callable[[str, str], Awaitable[list[asyncpg.Record]]]


@pytest.fixture
async def query() -> AsyncIterator[Query]:
    """Runs a statement on the database at a URL."""
    connections: dict[str, asyncpg.Connection] = {}

    async def run(url: str, statement: str) -> list[asyncpg.Record]:
        if url not in connections:
            connections[url] = await asyncpg.connect(url)
        return await connections[url].fetch(statement)

    yield run
    for connection in connections.values():
        await connection.close()


def rows_of(spec: FleetSpec) -> dict[str, bytes]:
    """All rows of a fleet by table, as they would be sent."""
    rows: dict[str, bytes] = {}
    for frame in Fleet(spec).frames():
        rows[frame.table] = rows.get(frame.table, b"") + frame.encode()
    return rows


async def contents(query: Query, url: str) -> dict[str, list[str]]:
    """All rows of a database by table, in the order in which they lie there."""
    tables = await query(
        url, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return {
        table: [row[0] for row in await query(url, f'SELECT t::text FROM "{table}" t ORDER BY ctid')]
        for table in sorted(row[0] for row in tables)
    }


@pytest.mark.parametrize("spec", [FleetSpec(vessels=3, equipment=50), NASTY], ids=["clean", "nasty"])
def test_the_same_spec_gives_the_same_bytes_and_another_seed_others(spec: FleetSpec) -> None:
    rows, other = rows_of(spec), rows_of(replace(spec, seed=1))
    assert rows_of(spec) == rows
    assert all(other[table] != rows[table] for table in rows)


async def test_the_same_spec_gives_the_same_databases(databases: Callable[[str], str], query: Query) -> None:
    first, second = databases("onboarding"), databases("onboarding")
    for url in (first, second):
        await generate_fleet(url, replace(NASTY, least=1))
    assert await contents(query, first) == await contents(query, second)


async def test_the_summary_counts_the_rows_of_every_table(onboarding_url: str, query: Query) -> None:
    summary = await generate_fleet(onboarding_url, replace(NASTY, least=1))
    for table, rows in (await contents(query, onboarding_url)).items():
        assert summary.rows[table] == len(rows), table


def test_an_exact_fleet_has_the_counts_of_its_spec() -> None:
    spec = FleetSpec(
        vessels=3, equipment=5000, exact=True, scores=7, cross_references=11, locations=20, companies=2
    )
    fleet, vessels = Fleet(spec), Counter[str]()
    for frame in fleet.frames():
        if frame.table == "equipment":
            vessels.update(frame.columns["vessel_id"])
    assert set(vessels.values()) == {5000}
    rows = fleet.summary().rows
    assert rows["critical_parts"] == 45_000
    assert rows["documents"] == 30_000
    assert rows["quality_scores"] == 21
    assert rows["cross_references"] == 33
    assert rows["locations"] == 60
    assert rows["companies"] == 2
    assert rows["users"] == 16


def test_a_list_gives_each_vessel_its_own_number_of_equipment() -> None:
    vessels: Counter[str] = Counter()
    for frame in Fleet(FleetSpec(vessels=4, equipment=[0, 7, 4097, 1])).frames():
        if frame.table == "equipment":
            vessels.update(frame.columns["vessel_id"])
    assert sorted(vessels.values()) == [1, 7, 4097]


def test_a_vessel_of_any_size_comes_in_frames_of_bounded_size() -> None:
    sizes = [len(frame.encode()) for frame in Fleet(FleetSpec(vessels=1, equipment=[30_000])).frames()]
    assert sum(sizes) > 40_000_000
    assert max(sizes) < 8_000_000


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_approved_vessels_is_met(share: float) -> None:
    statuses: Counter[str] = Counter()
    for frame in Fleet(FleetSpec(vessels=20, equipment=1, approved=share)).frames():
        if frame.table == "vessels":
            statuses.update(frame.columns["onboarding_status"])
    assert statuses["APPROVED"] == 20 * share
    assert len(statuses) == (1 if share == 1 else 5 if share else 4)


@pytest.mark.parametrize("wrong", [{"nasty": 1.5}, {"vessels": -1}, {"equipment": [1]}, {"companies": 0}])
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        FleetSpec(**wrong)  # type: ignore[arg-type]


async def test_a_clean_fleet_has_no_dangling_reference(onboarding_url: str, query: Query) -> None:
    await generate_fleet(onboarding_url, FleetSpec(vessels=8, equipment=60, approved=0.7))
    for table, column, target, condition in (
        ("locations", "parent_id", "locations", "t.vessel_id = s.vessel_id"),
        ("equipment", "location_id", "locations", "t.vessel_id = s.vessel_id"),
        ("equipment", "verified_by", "users", "true"),
        ("critical_parts", "equipment_id", "equipment", "true"),
        ("documents", "equipment_id", "equipment", "t.vessel_id = s.vessel_id"),
        ("quality_scores", "equipment_id", "equipment", "t.vessel_id = s.vessel_id"),
        ("quality_scores", "assessed_by", "users", "true"),
        ("cross_references", "source_equipment_id", "equipment", "true"),
        ("cross_references", "target_equipment_id", "equipment", "true"),
    ):
        ((dangling, all_rows),) = await query(
            onboarding_url,
            f"""SELECT count(*) FILTER (WHERE t.id IS NULL), count(*) FROM {table} s
                LEFT JOIN {target} t ON t.id = s.{column} AND {condition} WHERE s.{column} IS NOT NULL""",
        )
        assert all_rows > 0, (table, column)
        assert dangling == 0, (table, column)
    ((between,),) = await query(
        onboarding_url,
        """SELECT count(*) FROM cross_references r JOIN equipment s ON s.id = r.source_equipment_id
           JOIN equipment t ON t.id = r.target_equipment_id WHERE s.vessel_id <> t.vessel_id""",
    )
    assert between > 0


async def test_a_clean_fleet_gives_no_finding(onboarding_url: str, maintenance_url: str) -> None:
    await generate_fleet(onboarding_url, FleetSpec(vessels=8, equipment=60))
    outcome = expect(await read_source(onboarding_url), await read_target(maintenance_url))
    assert outcome.findings == set()
    assert len(outcome.done_vessels) == 8


@pytest.mark.slow
async def test_a_nasty_fleet_and_its_portal_give_every_finding(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(TWICE)
    await generate_portal(maintenance_url, origin.url, TWICE)
    source, target = origin.rows, await read_target(maintenance_url)
    outcome = expect(source, target, {row["id"] or "" for row in source.vessels}, "quarantine")
    # The one that is missing needs a target whose columns are narrower than the contract's.
    assert set(FIELDS) - set(outcome.by_code()) == {"value.unstorable"}
    assert outcome.done_vessels
    assert outcome.quarantined_vessels
    outcome = expect(source, target)
    assert outcome.done_vessels
    assert outcome.failed_vessels
    assert outcome.pending


def test_imo_numbers_are_unique_and_their_check_digits_right() -> None:
    numbers: list[str] = []
    for frame in Fleet(FleetSpec(vessels=2000, equipment=0)).frames():
        if frame.table == "vessels":
            numbers += frame.columns["imo_number"]
    assert len(set(numbers)) == 2000
    assert all(len(number) == 7 and imo_check_digit(number[:6]) == number[6] for number in numbers)
    assert imo_check_digit("907472") == "9"  # 9*7 + 0*6 + 7*5 + 4*4 + 7*3 + 2*2 = 139


async def test_statistics_are_there_after_the_load(onboarding_url: str, query: Query) -> None:
    await generate_fleet(onboarding_url, FleetSpec(vessels=2, equipment=50))
    never = await query(
        onboarding_url,
        """SELECT relname FROM pg_class
           WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples < 0""",
    )
    assert never == []


async def test_a_database_with_a_fleet_is_refused(onboarding_url: str) -> None:
    spec = FleetSpec(vessels=1, equipment=1)
    await generate_fleet(onboarding_url, spec)
    with pytest.raises(UsageError, match="already holds a fleet"):
        await generate_fleet(onboarding_url, spec)


@pytest.mark.slow
def test_every_trap_is_planted_at_least_fifty_times_over_a_dozen_seeds() -> None:
    planted: Counter[str] = Counter()
    for seed in range(SEEDS):
        fleet = Fleet(replace(NASTY, seed=seed, equipment=8, parts=1, documents=1))
        for _ in fleet.frames():
            pass
        planted.update(fleet.summary().traps)
    assert set(planted) == set(TRAPS)
    assert {name: planted[name] for name in TRAPS if planted[name] < 50 and name not in ONCE_TRAPS} == {}
    assert {planted[name] for name in ONCE_TRAPS} == {SEEDS}


def test_without_errors_no_trap_is_one() -> None:
    fleet = Fleet(replace(NASTY, errors=0.0))
    for _ in fleet.frames():
        pass
    assert set(fleet.summary().traps) == set(TRAPS) - set(ERROR_TRAPS)


def test_without_further_vessels_a_nasty_fleet_keeps_to_its_counts() -> None:
    fleet = Fleet(replace(NASTY, least=0, companies=3, exact=True))
    for _ in fleet.frames():
        pass
    summary = fleet.summary()
    assert (summary.rows["vessels"], summary.rows["companies"], summary.rows["equipment"]) == (6, 3, 240)
    assert len(summary.traps) > 200


ALIKE = "a.id < b.id AND " + " = ".join(
    f"left(encode(sha256({end}.id::text::bytea), 'hex'), {{digits}})" for end in ("a", "b")
)
# Tables and a condition on them -> the traps of which each planting meets it; without any, one does.
FOUND = {
    ("equipment a, equipment b", ALIKE.format(digits=6)): (
        "qr_pair_without_code", "qr_pair_same_code", "qr_pair_two_vessels", "qr_pair_not_approved",
        "qr_triple",
    ),
    ("equipment a, equipment b", ALIKE.format(digits=8)): ("qr_pair_eight_digits",),
    ("equipment", "name IS NULL"): ("name_null",),
    ("equipment", "name = E'\\u0085'"): ("name_next_line",),
    ("equipment", "length(notes) >= 70000"): (),
    ("equipment", "length(metadata::text) > 1000000"): (),
    ("equipment", "length(specifications::text) > 1000000"): (),
    ("equipment", "installation_date = '5874897-12-31'"): (),
    ("equipment", "created_at = '-infinity'"): (),
    ("equipment", r"metadata::text ~ '\\u0000'"): (),
    ("equipment", r"specifications::text ~ '\\u[dD]83[dD]'"): (),
    ("equipment", "strpos(metadata::text, repeat('[', 901)) > 0"): (),
    ("equipment", "status::text = 'LOST'"): ("equipment_status_unknown",),
    ("equipment", "location_id IS NOT NULL AND location_id NOT IN (SELECT id FROM locations)"): (
        "equipment_location_unknown",
    ),
    ("locations", "id = parent_id"): (),
    ("locations a JOIN locations b ON a.parent_id = b.id", "b.parent_id = a.id AND a.id <> b.id"): (),
    ("locations a JOIN locations b ON a.parent_id = b.id", "a.vessel_id <> b.vessel_id"): (),
    ("critical_parts", "equipment_id NOT IN (SELECT id FROM equipment)"): ("part_orphan",),
    ("critical_parts", "length(part_number) = 101"): ("part_number_101", "part_number_101_wide"),
    ("documents", "file_size = 2147483648"): ("file_size_beyond_int4",),
    ("documents", "document_type::text = 'VIDEO'"): ("document_type_unknown",),
    ("quality_scores", "score NOT BETWEEN 0 AND 100"): ("score_negative", "score_largest"),
    ("cross_references", "source_equipment_id = target_equipment_id"): ("reference_to_itself",),
    ("vessels", "gross_tonnage = 'NaN'"): ("tonnage_nan",),
    ("vessels", "id NOT IN (SELECT vessel_id FROM equipment)"): ("vessel_empty",),
    ("vessels", "onboarding_status::text = 'ARCHIVED'"): ("vessel_status_unknown",),
    ("users a, users b", "a.id < b.id AND lower(a.email) = lower(b.email)"): ("email_same",),
    ("users", "role::text = 'AUDITOR'"): ("role_unknown",),
    ("companies", "json_typeof(settings) <> 'object'"): (),
}  # fmt: skip


async def test_what_the_summary_counts_is_in_the_database(fleets: Fleets, query: Query) -> None:
    origin = await fleets(TWICE)
    for (tables, condition), names in FOUND.items():
        ((found,),) = await query(origin.url, f"SELECT count(*) FROM {tables} WHERE {condition}")
        assert found >= max(1, sum(origin.traps[name] for name in names)), (condition, names)


async def test_a_nasty_fleet_has_vessels_without_errors(fleets: Fleets, query: Query) -> None:
    ((bad, approved),) = await query(
        (await fleets(TWICE)).url,
        """SELECT count(*) FILTER (WHERE EXISTS (
               SELECT FROM equipment e WHERE e.vessel_id = v.id AND (
                   coalesce(e.name, '') = '' OR e.location_id IS NOT NULL AND NOT EXISTS (
                       SELECT FROM locations l WHERE l.id = e.location_id AND l.vessel_id = v.id)))),
               count(*) FROM vessels v WHERE onboarding_status::text = 'APPROVED'""",
    )
    assert 0.1 * approved < bad < 0.6 * approved


@pytest.mark.parametrize("variation", VARIATIONS)
async def test_a_fleet_fits_every_variation_of_the_schema(
    onboarding_url: str, query: Query, variation: str
) -> None:
    await vary_schema(onboarding_url, variation)
    summary = await generate_fleet(onboarding_url, replace(NASTY, least=1))
    missing = set(TRAPS) - set(summary.traps)
    assert missing == (set(JSON_ONLY_TRAPS) if variation == "jsonb" else set())
    ((equipment,),) = await query(onboarding_url, "SELECT count(*) FROM equipment")
    assert equipment == summary.rows["equipment"]


async def test_variations_follow_one_another(onboarding_url: str, query: Query) -> None:
    for variation in VARIATIONS:
        await vary_schema(onboarding_url, variation)
    await generate_fleet(onboarding_url, FleetSpec(vessels=2, equipment=20))
    columns = await query(
        onboarding_url,
        """SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute
           WHERE attrelid = 'vessels'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
    )
    types = {row["attname"]: row["type"] for row in columns}
    names = list(types)
    assert names.index("updated_at") < names.index("name") < names.index("id")
    assert types["metadata"] == "jsonb"
    assert types["onboarding_status"] == "text"
    ((keys,),) = await query(
        onboarding_url,
        """SELECT count(*) FROM pg_constraint
           WHERE contype IN ('p', 'u', 'f') AND connamespace = 'public'::regnamespace""",
    )
    assert keys == 10 + 2 + 7


async def test_an_unknown_variation_is_refused(onboarding_url: str) -> None:
    with pytest.raises(ValueError, match="no variation named 'sideways'"):
        await vary_schema(onboarding_url, "sideways")


async def test_the_enums_of_a_fleet_stay_as_they_are_unless_asked_for(
    onboarding_url: str, query: Query
) -> None:
    summary = await generate_fleet(onboarding_url, replace(NASTY, unknown_enums=False, least=1))
    assert not set(ENUM_TRAPS) & set(summary.traps)
    ((values,),) = await query(onboarding_url, "SELECT count(*) FROM pg_enum WHERE enumlabel = 'AUDITOR'")
    assert values == 0


async def test_a_portal_holds_what_stands_in_the_way(
    fleets: Fleets, databases: Callable[[str], str], query: Query
) -> None:
    url = (await fleets(TWICE)).url
    first, second = databases("maintenance"), databases("maintenance")
    summary = await generate_portal(first, url, TWICE)
    assert set(summary.traps) == set(PORTAL_TRAPS)
    assert all(count >= TWICE.least or name == "portal_imo_empty" for name, count in summary.traps.items())
    assert await generate_portal(second, url, TWICE) == summary
    rows = await contents(query, first)
    assert await contents(query, second) == rows
    assert {table: len(found) for table, found in rows.items() if found} == summary.rows

    imo = "SELECT imo_number FROM vessels WHERE imo_number IS NOT NULL"
    shared = {row[0] for row in await query(url, imo)} & {row[0] for row in await query(first, imo)}
    assert "" in shared
    assert len(shared) > 3 * TWICE.least
    source = await query(url, "SELECT id::text, coalesce(nullif(code, ''), 'EQ') AS code FROM equipment")
    codes = {f"{row['code']}-{sha256(row['id'].encode()).hexdigest()[:6]}" for row in source}
    taken = {row[0] for row in await query(first, "SELECT qr_code FROM equipment")}
    assert len(codes & taken) == 2 * TWICE.least


async def test_a_portal_of_a_small_clean_fleet_holds_what_is_possible(
    onboarding_url: str, maintenance_url: str
) -> None:
    spec = FleetSpec(vessels=1, equipment=1)
    await generate_fleet(onboarding_url, spec)
    summary = await generate_portal(maintenance_url, onboarding_url, spec)
    assert summary.traps["portal_own_vessel"] == spec.least + 1
