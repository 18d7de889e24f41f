"""Rows that the source moves, between two migrations, from a vessel that is loaded to one that isn't: they
are never in the target twice."""

from __future__ import annotations

import pytest

from bulkmig import Selection, migrate, verify
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, settings
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=8, vessels=2, companies=1, users_per_company=3, equipment=12)
ALL = Selection(all=True)

_FIRST, _SECOND = (f"(SELECT id FROM vessels ORDER BY id {how} LIMIT 1)" for how in ("ASC", "DESC"))
MOVES = {
    "equipment": f"""
WITH e AS (
    UPDATE equipment SET location_id = NULL, vessel_id = {_SECOND} WHERE id = (
        SELECT equipment_id FROM documents WHERE vessel_id = {_FIRST} AND equipment_id IS NOT NULL LIMIT 1)
    RETURNING id, vessel_id
) UPDATE documents d SET vessel_id = e.vessel_id FROM e WHERE d.equipment_id = e.id
""",
    "critical_part": f"""
UPDATE critical_parts SET equipment_id = (SELECT id FROM equipment WHERE vessel_id = {_SECOND} LIMIT 1)
 WHERE id = (SELECT p.id FROM critical_parts p JOIN equipment e ON e.id = p.equipment_id
              WHERE e.vessel_id = {_FIRST} LIMIT 1)
""",
    "document": f"""
UPDATE documents SET equipment_id = NULL, vessel_id = {_SECOND}
 WHERE id = (SELECT id FROM documents WHERE vessel_id = {_FIRST} LIMIT 1)
""",
}


@pytest.mark.files_too
@pytest.mark.parametrize("entity", MOVES)
async def test_the_vessel_that_has_them_now_fails_until_a_sync_has_moved_them(
    entity: str, fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, maintenance_url)
    first, second = [await fetchval(origin.url, f"SELECT {vessel}::text") for vessel in (_FIRST, _SECOND)]
    await migrate(config, Selection(vessels=(first,)))
    await execute(origin.url, MOVES[entity])
    report = await migrate(config, ALL)
    assert [failure.vessel_id for failure in report.failures] == [second]
    assert report.failures[0].error.startswith(f"{entity} ")
    assert "`bulkmig sync`" in report.failures[0].error
    assert (await sync(config, ALL)).failures == []
    found = (await verify(config, ALL)).verified
    assert (found.difference_count, found.stale, found.drift) == (0, 0, 0)
    assert (await migrate(config, ALL)).skipped == 2


@pytest.mark.files_too
async def test_what_is_written_anew_on_its_own_vessel_is_no_reason(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, maintenance_url)
    first = await fetchval(origin.url, f"SELECT {_FIRST}::text")
    await migrate(config, Selection(vessels=(first,)))
    for table in ("equipment", "critical_parts", "documents", "quality_scores", "cross_references"):
        await execute(origin.url, f"UPDATE {table} SET updated_at = now()")
    assert (await migrate(config, ALL)).failures == []
