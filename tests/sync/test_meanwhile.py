"""A vessel that is rolled back when a sync has chosen it already, and its turn hasn't come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from bulkmig import Report, Selection, Settings, verify
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import EQUIPMENT_OF, execute, fetchval, migrated, rows, state, undone
from tests.support.dumps import apart
from tests.support.fleets import Fleets
from tests.support.proxy import Proxy
from tests.sync.scene import ALL, gone_vessel

pytestmark = pytest.mark.only_postgresql("a file has one writer: nobody comes between")

SPEC = FleetSpec(seed=12, vessels=3, companies=1, users_per_company=3, equipment=6, cross_references=0)
OF_A_UNIT = "AS locked (key)"
CHANGE = "UPDATE equipment SET model = 'changed', updated_at = now()"
MOVE = """
WITH one AS (UPDATE equipment SET vessel_id = $2::text::uuid, location_id = NULL, updated_at = now()
              WHERE id = (SELECT id FROM equipment WHERE vessel_id = $1::text::uuid ORDER BY id LIMIT 1)
             RETURNING id),
     d AS (UPDATE documents SET vessel_id = $2::text::uuid WHERE equipment_id IN (SELECT id FROM one))
UPDATE quality_scores SET vessel_id = $2::text::uuid WHERE equipment_id IN (SELECT id FROM one)
"""
CHANGED = (
    "SELECT DISTINCT i.source_id::text FROM equipment e"
    " JOIN bulkmig.identities i ON i.target_id = e.vessel_id"
    " WHERE e.model = 'changed' ORDER BY 1"
)
MARKED = "SELECT state FROM bulkmig.vessels WHERE vessel_id = $1::text::uuid"


@asynccontextmanager
async def about_to_lock(
    config: Settings, selection: Selection, lock: str
) -> AsyncIterator[asyncio.Future[Report]]:
    """A sync that stands before a statement with this text during the block, and goes on after it."""
    async with Proxy(config.target) as proxy:
        hold = proxy.hold(
            lambda moment: (
                moment.sender == "program"
                and moment.statement is not None
                and lock in moment.statement.text
                and moment.kind in "QE"
            )
        )
        going = asyncio.ensure_future(sync(msgspec.structs.replace(config, target=proxy.url), selection))
        await hold.reached()
        yield going
        hold.release()
        await going


async def test_it_is_left_alone_and_the_others_of_its_unit_are_synced(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    vessel, *others = sorted(origin.approved)
    await execute(origin.url, CHANGE)
    async with about_to_lock(config, ALL, OF_A_UNIT) as going:
        await undone(config, vessel=vessel)
    report = going.result()
    assert (report.status, report.failures) == ("completed", [])
    assert (report.done, report.skipped, report.remaining) == (len(others), 1, 0)
    assert await rows(maintenance_url, CHANGED) == others
    assert await fetchval(maintenance_url, MARKED, vessel) is None
    assert (await sync(config, ALL)).selected == len(others)


async def test_so_it_is_where_it_went_back_to_an_earlier_sync(fleets: Fleets, maintenance_url: str) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    vessel = sorted(origin.approved)[0]
    names = f"SELECT e.name {EQUIPMENT_OF} ORDER BY e.id"
    before = await rows(maintenance_url, names, vessel)
    await execute(origin.url, "UPDATE equipment SET name = name || '!', updated_at = now()")
    await sync(config, Selection(vessels=(vessel,)))
    await execute(origin.url, CHANGE)
    async with about_to_lock(config, ALL, OF_A_UNIT) as going:
        await undone(config, vessel=vessel)
    assert (going.result().status, going.result().skipped) == ("completed", 1)
    assert await rows(maintenance_url, names, vessel) == before


async def test_a_vessel_that_changes_in_one_commit_with_it_fails_and_is_synced_by_the_same_command_again(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    vessel, other, _ = sorted(origin.approved)
    await execute(origin.url, MOVE, vessel, other)
    async with about_to_lock(config, ALL, OF_A_UNIT) as going:
        await undone(config, vessel=vessel)
        after = await state(maintenance_url)
    report = going.result()
    assert (report.exit_status, report.skipped) == (1, 1)
    assert [failure.vessel_id for failure in report.failures] == [other]
    assert "rolled back meanwhile" in report.failures[0].error
    assert apart(after, await state(maintenance_url)) == []
    again = await sync(config, ALL)
    assert (again.failures, again.inserted["equipment"]) == ([], 1)
    assert (await verify(config, Selection(vessels=(other,)))).verified.difference_count == 0


async def test_one_that_was_named_fails_and_the_same_command_again_migrates_it(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    vessel = sorted(origin.approved)[0]
    await execute(origin.url, CHANGE)
    named = Selection(vessels=(vessel,))
    async with about_to_lock(config, named, OF_A_UNIT) as going:
        await undone(config, vessel=vessel)
    (failure,) = going.result().failures
    assert (failure.vessel_id, "run the command again" in failure.error) == (vessel, True)
    assert await rows(maintenance_url, CHANGED) == []
    assert (await sync(config, named)).inserted["vessels"] == 1
    assert await rows(maintenance_url, CHANGED) == [vessel]
    assert (await verify(config, named)).verified.difference_count == 0


async def test_one_that_the_source_has_no_more_is_not_deleted_and_not_marked(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    vessel = await gone_vessel(origin)
    allowed = msgspec.structs.replace(config, allow_deletions=True)
    async with about_to_lock(allowed, ALL, OF_A_UNIT) as going:
        await undone(config, vessel=vessel)
    report = going.result()
    assert (report.status, report.failures, report.skipped) == ("completed", [], 1)
    assert report.deleted.total() == 0
    assert await fetchval(maintenance_url, MARKED, vessel) is None
