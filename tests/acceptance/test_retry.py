"""`quarantine retry` adds rows that were in quarantine, and leaves to `sync` what else has changed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bulkmig import Report, Selection, Settings, migrate, sync, verify
from bulkmig.generate import FleetSpec
from bulkmig.retry.run import retry
from tests.checkpoint.support import execute, fetchval, settings, state, undone
from tests.support.dumps import apart
from tests.support.fleets import Fleets, Origin

SPEC = FleetSpec(
    seed=5, vessels=2, equipment=6, companies=1, documents=2, parts=2, cross_references=2, least=0
)
ALL = Selection(all=True)
# One with documents and parts.
BREAK = """
UPDATE equipment SET name = ' ', updated_at = now()
 WHERE id = (SELECT equipment_id FROM documents JOIN critical_parts USING (equipment_id) ORDER BY 1 LIMIT 1)
RETURNING id::text
"""
MEND = "UPDATE equipment SET name = 'mended', updated_at = now() WHERE id = $1::text::uuid"
RENAME = "UPDATE documents SET name = 'Rev 2.pdf', updated_at = now() WHERE equipment_id = $1::text::uuid"
PART = "INSERT INTO critical_parts (id, equipment_id, name) VALUES (gen_random_uuid(), $1::text::uuid, 'new')"
WRONG_SCORE = """
INSERT INTO quality_scores (id, vessel_id, equipment_id, category, score, assessed_at)
SELECT gen_random_uuid(), e.vessel_id, e.id, 'hull', 500, now()
  FROM equipment e JOIN equipment broken ON broken.vessel_id = e.vessel_id
 WHERE broken.id = $1::text::uuid AND e.id <> broken.id ORDER BY e.id LIMIT 1
RETURNING equipment_id::text
"""
DELETE = """
DELETE FROM equipment
 WHERE id IN (SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid)
"""
LISTED = "SELECT count(*) FROM bulkmig.quarantine"
MENDED = "SELECT count(*) FROM equipment WHERE name = 'mended'"
RENAMED = "SELECT count(*) FROM equipment_documents WHERE file_name = 'Rev 2.pdf'"


async def retried(config: Settings) -> Report:
    report = await retry(config)
    assert (report.status, report.failures) == ("completed", [])
    return report


async def flows(config: Settings) -> None:
    """The next sync leaves nothing to be told."""
    done = await sync(config, ALL)
    assert (done.status, done.failures, done.verified.differences) == ("completed", [], [])
    left = (await verify(config, ALL)).verified
    assert (left.difference_count, left.drift, left.stale) == (0, 0, 0)
    assert await fetchval(config.target, LISTED) == 0


@pytest.mark.files_too
async def test_what_else_became_of_documents_that_go_back_to_their_equipment_comes_with_the_next_sync(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin: Origin = await fleets.changing(SPEC)
    config = settings(origin, maintenance_url)
    machine = await fetchval(origin.url, BREAK)
    await migrate(config, ALL)
    await execute(origin.url, MEND, machine)
    await execute(origin.url, RENAME, machine)
    before = await state(maintenance_url)
    report = await retried(config)
    documents = report.updated["equipment_documents"]
    assert (report.inserted["equipment"], documents > 0) == (1, True)
    assert await fetchval(maintenance_url, RENAMED) == 0
    seen = (await verify(config, ALL)).verified
    assert (seen.difference_count, seen.drift, seen.stale) == (0, 0, 2 * documents)  # name and updated_at
    back = await undone(config, report)
    assert apart(before, await state(maintenance_url)) == []
    await undone(config, back)
    await flows(config)
    assert await fetchval(maintenance_url, RENAMED) == documents


@pytest.mark.files_too
async def test_a_row_that_was_loaded_before_it_was_listed_is_left_to_the_next_sync_and_new_ones_of_it_come(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin: Origin = await fleets.changing(SPEC)
    config = settings(origin, maintenance_url)
    await fleets.migrate(origin, config)
    machine = await fetchval(origin.url, BREAK)
    await execute(origin.url, PART, machine)
    await sync(config, ALL)
    assert await fetchval(maintenance_url, LISTED) > 1
    await execute(origin.url, MEND, machine)
    report = await retried(config)
    assert (report.inserted["equipment"], report.inserted["critical_parts"]) == (0, 1)
    assert await fetchval(maintenance_url, MENDED) == 0
    await flows(config)
    assert await fetchval(maintenance_url, MENDED) == 1


@pytest.mark.files_too
async def test_so_is_one_that_the_portal_has_deleted_meanwhile(fleets: Fleets, maintenance_url: str) -> None:
    """What becomes of it the strategy says, which only a sync has."""
    origin: Origin = await fleets.changing(SPEC)
    config = settings(origin, maintenance_url)
    await fleets.migrate(origin, config)
    machine = await fetchval(origin.url, BREAK)
    await sync(config, ALL)
    await execute(maintenance_url, DELETE, machine)
    await execute(origin.url, MEND, machine)
    assert (await retried(config)).inserted.total() == 0
    kept = await sync(replace(config, conflict="target_wins"), ALL)
    assert (kept.status, kept.conflicts["target_wins"]) == ("completed", 1)
    assert await fetchval(maintenance_url, MENDED) == 0


@pytest.mark.files_too
async def test_rows_of_equipment_that_the_portal_has_deleted_stay_listed_and_hold_up_no_others(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin: Origin = await fleets.changing(SPEC)
    config = settings(origin, maintenance_url)
    machine = await fetchval(origin.url, BREAK)
    other = await fetchval(origin.url, WRONG_SCORE, machine)
    await migrate(config, ALL)
    await execute(maintenance_url, DELETE, other)
    await execute(origin.url, MEND, machine)
    await execute(origin.url, "UPDATE quality_scores SET score = 50, updated_at = now() WHERE score > 100")
    report = await retried(config)
    assert report.inserted["equipment"] == 1
    assert report.inserted["quality_scores"] == 0
    assert await fetchval(maintenance_url, f"{LISTED} WHERE entity = 'quality_score'") == 1
    done = await sync(config, ALL)
    assert (done.status, done.verified.differences) == ("completed", [])


@pytest.mark.files_too
async def test_a_document_that_the_portal_has_changed_goes_back_to_its_equipment_with_a_sync(
    fleets: Fleets, maintenance_url: str
) -> None:
    """Which knows what becomes of rows that both sides have changed."""
    origin: Origin = await fleets.changing(SPEC)
    config = settings(origin, maintenance_url)
    machine = await fetchval(origin.url, BREAK)
    await migrate(config, ALL)
    await execute(maintenance_url, "UPDATE equipment_documents SET file_name = 'of the crew'")
    await execute(origin.url, MEND, machine)
    assert (await retried(config)).updated["equipment_documents"] == 0
    done = await sync(config, ALL)
    assert (done.status, done.conflicts["source_wins"] > 0) == ("completed", True)


@pytest.mark.files_too
async def test_in_a_portal_that_nothing_was_migrated_into_there_is_nothing_to_retry(
    fleets: Fleets, maintenance_url: str
) -> None:
    """The ledger is created, as by every command that writes."""
    report = await retried(settings(await fleets(SPEC), maintenance_url))
    assert (report.selected, report.inserted.total()) == (0, 0)
    assert await fetchval(maintenance_url, "SELECT command FROM bulkmig.runs") == "quarantine retry"
