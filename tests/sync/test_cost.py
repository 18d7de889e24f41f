"""What a sync without changes costs doesn't depend on how many vessels there are."""

from __future__ import annotations

import re

import asyncpg
import pytest
from msgspec.structs import replace

from bulkmig import Selection, Settings, migrate
from bulkmig.generate import FleetSpec
from bulkmig.ledger.base import HOLDING
from bulkmig.sync import changes
from bulkmig.sync.run import sync
from bulkmig.target import statistics
from tests.checkpoint.support import execute, settings
from tests.support.fleets import Fleets
from tests.support.servers import Databases
from tests.sync.statements import Statements, counted

# Statements of one sync, verified, with those that look at both ends before it; and, where it isn't verified,
# those among them that go through rows of a fleet, portals' or ledger's.
MOST = {"source": 15, "target": 52}
MOST_OF_SETS = {"source": 15, "target": 15}
OF_ONE_ROW = r"runs|audit_head|audit_chain|audit|migrations|keys|access"
OF_SETS = re.compile(
    rf"\b(FROM|JOIN|INTO|UPDATE) (?!bulkmig\.({OF_ONE_ROW})\b|pg_|unnest|begun|ended|made_of|LATERAL)\w+"
)
ALL = Selection(all=True)


CHANGE = "UPDATE equipment SET model = 'changed', updated_at = now()"


async def _statements(
    fleets: Fleets, databases: Databases, vessels: int, change: str = "", *, verify: bool = True
) -> Statements:
    spec = FleetSpec(seed=3, vessels=vessels, companies=2, equipment=4, parts=1, documents=1)
    origin = await fleets.changing(spec)
    config = settings(origin, databases("maintenance"), verify=verify)
    await fleets.migrate(origin, config)
    if change:
        await execute(origin.url, change)
    with counted() as sent:
        report = await sync(config, ALL)
    assert (report.status, report.done) == ("completed", len(origin.approved))
    return sent


@pytest.mark.files_too
async def test_a_sync_without_changes_sends_the_same_statements_for_any_number_of_vessels(
    fleets: Fleets, databases: Databases
) -> None:
    few, many = await _statements(fleets, databases, 5), await _statements(fleets, databases, 40)
    for end, most in MOST.items():
        assert sorted(few[end]) == sorted(many[end])
        assert len(many[end]) <= most


@pytest.mark.only_postgresql("what is sent to a file isn't counted")
async def test_a_sync_without_changes_goes_through_sets_of_rows_at_most_fifteen_times_on_either_end(
    fleets: Fleets, databases: Databases
) -> None:
    sent = await _statements(fleets, databases, 5, verify=False)
    for end, most in MOST_OF_SETS.items():
        sets = [statement for statement in sent[end] if OF_SETS.search(statement)]
        assert 5 < len(sets) <= most, "\n".join(sets)


async def test_small_vessels_that_change_are_taken_together_so_that_more_of_them_send_no_more_statements(
    fleets: Fleets, databases: Databases
) -> None:
    few = await _statements(fleets, databases, 3, CHANGE, verify=False)
    many = await _statements(fleets, databases, 12, CHANGE, verify=False)
    for end in MOST:
        assert len(few[end]) == len(many[end])


@pytest.mark.only_postgresql("what is sent to a file isn't counted")
async def test_what_was_last_written_is_read_once_and_not_of_what_hangs_on_equipment_that_changed(
    fleets: Fleets, databases: Databases
) -> None:
    sent = await _statements(fleets, databases, 3, CHANGE, verify=False)
    read = [statement for statement in sent["target"] if "payload FROM bulkmig.base" in statement]
    # Companies and users before and under their lock; vessels, equipment, scores and references.
    assert len(read) == 2 + 4
    assert not [statement for statement in sent["source"] if re.search(r"\.file_path\b", statement)]


@pytest.mark.only_postgresql("a file's session knows its types")
async def test_no_session_asks_the_server_what_a_type_is(
    fleets: Fleets, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which the driver does where an array isn't of texts, and the server goes through its types for it."""
    asked: list[object] = []
    ask = asyncpg.Connection._introspect_types  # type: ignore[attr-defined]

    async def asks(*given: object) -> object:
        asked.append(given[1])
        return await ask(*given)

    monkeypatch.setattr(asyncpg.Connection, "_introspect_types", asks)
    origin = await fleets.changing(FleetSpec(seed=3, vessels=2, companies=1, equipment=4))
    config = settings(origin, databases("maintenance"))
    assert (await migrate(config, ALL)).done == 2
    await execute(origin.url, CHANGE)
    assert (await sync(config, ALL)).done == 2
    assert asked == []


@pytest.mark.only_postgresql("a file has no planner that would choose otherwise")
async def test_what_was_last_written_of_a_vessel_is_found_without_going_through_that_of_all_others(
    fleets: Fleets, databases: Databases
) -> None:
    origin = await fleets(FleetSpec(seed=3, vessels=1, companies=1, equipment=4))
    config = settings(origin, databases("maintenance"))
    await migrate(config, ALL)
    await execute(
        config.target,
        "INSERT INTO bulkmig.base (vessel_id, entity, run_id, rows, payload)"
        " SELECT md5((n % 50)::text)::uuid, 'equipment', gen_random_uuid(), 1, ''"
        " FROM generate_series(1, 5000) n;"
        " ANALYZE bulkmig.base",
    )
    connection = await asyncpg.connect(config.target)
    try:
        every = await connection.fetch("SELECT DISTINCT vessel_id::text AS id FROM bulkmig.base")
        some = [row["id"] for row in every[:10]]
        await connection.execute("SET enable_seqscan = off")  # it is small, all the same
        plan = str(await connection.fetch(f"EXPLAIN {HOLDING}", some, ["equipment"], 0, 20))
    finally:
        await connection.close()
    assert "base_vessel" in plan
    assert "base_pkey" not in plan


GROWN = """
ALTER TABLE equipment SET (autovacuum_enabled = false);
ANALYZE equipment;
INSERT INTO equipment (id, vessel_id, qr_code, name, status)
SELECT gen_random_uuid(), (SELECT min(id::text)::uuid FROM vessels), 'own ' || n, 'own', 'operational'
  FROM generate_series(1, 100) n;
SELECT pg_stat_force_next_flush()
"""


SLOW = """
CREATE OR REPLACE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
CREATE INDEX IF NOT EXISTS slowly ON equipment (slow(name));
"""


async def _grown(fleets: Fleets, databases: Databases) -> tuple[Settings, str]:
    """A portal of which a table has grown since anybody looked at it, and its source."""
    origin = await fleets(FleetSpec(seed=3, vessels=3, companies=1, equipment=4), fresh=True)
    config = settings(origin, databases("maintenance"), verify=False)
    await migrate(config, ALL)
    await execute(config.target, GROWN)
    return config, origin.url


@pytest.mark.only_postgresql("a file's planner counts for itself")
async def test_tables_that_have_grown_are_analysed_once_by_those_who_may(
    fleets: Fleets, databases: Databases
) -> None:
    config, _ = await _grown(fleets, databases)
    target = await asyncpg.connect(config.target)
    try:
        await target.execute("SET ROLE pg_monitor")
        assert await statistics.refresh(target) == []
        await target.execute("RESET ROLE")
        assert "equipment" in await statistics.refresh(target)
        assert "equipment" not in await statistics.refresh(target)
        await execute(config.target, SLOW + GROWN.replace("ANALYZE equipment;", "").replace("own ", "more "))
        await execute(config.target, SLOW.replace("SELECT $1", "SELECT $1 FROM pg_sleep(1)"))
        await target.execute("SET statement_timeout = '300ms'")
        assert await statistics.refresh(target) == []
    finally:
        await target.close()


@pytest.mark.only_postgresql("a file's planner counts for itself")
async def test_a_sync_of_many_vessels_does_so_and_one_of_a_few_or_a_dry_run_does_not(
    fleets: Fleets, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, source = await _grown(fleets, databases)
    await execute(source, CHANGE)
    for many, dry, wanted in ((4, False, 0), (3, True, 0), (3, False, 1)):
        monkeypatch.setattr(changes, "MANY", many)
        await execute(source, CHANGE.replace("'changed'", f"'changed {many} {dry}'"))
        with counted() as sent:
            await sync(replace(config, dry_run=dry), ALL)
        assert sum(one.startswith("ANALYZE") for one in sent["target"]) == wanted
