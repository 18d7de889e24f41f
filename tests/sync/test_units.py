"""Vessels that change side by side in one commit have nothing to do with each other for all that."""

from __future__ import annotations

from collections import defaultdict

import asyncpg
import msgspec
import pytest
import zstandard

from bulkmig import Settings
from bulkmig.generate import FleetSpec
from bulkmig.sqlite.address import is_file
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, rows, settings, state, undone
from tests.support.dumps import apart
from tests.support.files import tamper
from tests.support.fleets import Fleets, Origin
from tests.support.servers import Databases
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=12, vessels=5, companies=2, users_per_company=3, equipment=6)
# Values that end and begin as rows do.
CHANGE = """
UPDATE equipment SET model = E'a \\"changed\\"\\n\\"one\\"\\n\\"', manufacturer = E'\\n\\"\\"\\"a',
       updated_at = now()
"""
CHANGED = (
    "SELECT i.source_id::text FROM equipment e JOIN bulkmig.identities i ON i.target_id = e.vessel_id"
    " WHERE e.model LIKE 'a %' GROUP BY 1 ORDER BY 1"
)
TOGETHER = (
    "SELECT count(*) FROM bulkmig.checkpoints WHERE run_id = $1::text::uuid AND cardinality(together) > 0"
)
WROTE = "SELECT count(DISTINCT xmin::text) FROM bulkmig.checkpoints WHERE run_id = $1::text::uuid"
PARTS = """
SELECT c.vessel_id::text AS vessel, p.role, p.table_name, p.payload FROM bulkmig.checkpoints c
  JOIN bulkmig.checkpoint_parts p ON p.checkpoint_id = c.id
 WHERE c.run_id = $1::text::uuid AND p.role IN ('state', 'context')
"""
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON equipment FOR EACH ROW WHEN (new.vessel_id = '{vessel}')
    EXECUTE FUNCTION refuse()
"""
REFUSE_ON_FILE = """
CREATE TRIGGER refuse BEFORE UPDATE ON equipment
 WHEN new.vessel_id = (SELECT id FROM bulkmig_ids WHERE uuid = '{vessel}')
BEGIN SELECT RAISE(ABORT, 'no'); END
"""


async def _migrated(fleets: Fleets, origin: Origin, target: str) -> Settings:
    config = settings(origin, target, parallel_vessels=1)
    await fleets.migrate(origin, config)
    return config


async def test_each_is_rolled_back_alone_and_all_of_them_with_the_run(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets.changing(SPEC)
    config = await _migrated(fleets, origin, maintenance_url)
    before = await state(maintenance_url)
    await execute(origin.url, CHANGE)
    report = await sync(config, ALL)
    changed = await rows(maintenance_url, CHANGED)
    assert (report.status, len(changed)) == ("completed", len(origin.approved))
    assert await fetchval(maintenance_url, TOGETHER, report.run_id) == 0
    if not is_file(maintenance_url):  # which doesn't tell what one transaction wrote
        assert await fetchval(maintenance_url, WROTE, report.run_id) == 1
    await undone(config, vessel=changed[0])
    assert await rows(maintenance_url, CHANGED) == changed[1:]
    await undone(config, report)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []


async def test_a_checkpoint_that_is_taken_with_others_holds_what_one_that_is_taken_alone_holds(
    fleets: Fleets, databases: Databases
) -> None:
    origin = await fleets.changing(SPEC)
    targets = databases("maintenance"), databases("maintenance")
    configs = [await _migrated(fleets, origin, target) for target in targets]
    await execute(origin.url, CHANGE)
    held = []
    # Within a window each vessel is started, and so written, alone.
    for target, config, window in zip(targets, configs, (None, 3600.0), strict=True):
        report = await sync(msgspec.structs.replace(config, window=window), ALL)
        held.append(await _parts(target, report.run_id))
    assert len({vessel for vessel, _, _ in held[0]}) == len(origin.approved)
    assert held[0] == held[1]


async def _parts(target: str, run_id: str) -> dict[tuple[str, str, str], list[bytes]]:
    """(vessel, role, table) -> rows of a run's checkpoints, as far as values hold no line's end."""
    found: defaultdict[tuple[str, str, str], list[bytes]] = defaultdict(list)
    connection = await asyncpg.connect(target)
    try:
        for vessel, role, table, payload in await connection.fetch(PARTS, run_id):
            found[vessel, role, table] += zstandard.ZstdDecompressor().decompress(payload).split(b"\n")
    finally:
        await connection.close()
    return {place: sorted(lines) for place, lines in found.items()}


@pytest.mark.files_too
async def test_one_that_the_target_refuses_fails_alone(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets.changing(SPEC)
    config = await _migrated(fleets, origin, maintenance_url)
    await execute(origin.url, CHANGE)
    refused = sorted(origin.approved)[2]
    own = await fetchval(
        maintenance_url,
        "SELECT target_id::text FROM bulkmig.identities WHERE source_id = $1::text::uuid",
        refused,
    )
    if is_file(maintenance_url):
        tamper(maintenance_url, REFUSE_ON_FILE.format(vessel=own))
    else:
        await execute(maintenance_url, REFUSE.format(vessel=own))
    report = await sync(config, ALL)
    assert [failure.vessel_id for failure in report.failures] == [refused]
    assert await rows(maintenance_url, CHANGED) == sorted(set(origin.approved) - {refused})


async def test_one_with_an_error_fails_alone(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets.changing(SPEC)
    config = msgspec.structs.replace(await _migrated(fleets, origin, maintenance_url), on_error="fail")
    await execute(origin.url, CHANGE)
    wrong = sorted(origin.approved)[1]
    await execute(
        origin.url,
        "UPDATE equipment SET name = '', updated_at = now() WHERE vessel_id = $1::text::uuid",
        wrong,
    )
    report = await sync(config, ALL)
    assert [failure.vessel_id for failure in report.failures] == [wrong]
    assert await rows(maintenance_url, CHANGED) == sorted(set(origin.approved) - {wrong})
