"""A dry run of a sync tells what the sync does, and changes nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, migrated, rows, state
from tests.support.dumps import apart
from tests.support.fleets import Fleets, Origin
from tests.sync.changes import change
from tests.sync.scene import ALL, gone_vessel

SPEC = FleetSpec(seed=7, vessels=4, companies=2, users_per_company=4, equipment=15)
NAMES = (
    "equipment is renamed",
    "equipment is deleted",
    "a reference is new",  # before equipment is, which may be another vessel's: it would wait for that
    "equipment is new",
    "a document is deleted",
    "a company changes",
    "a user changes",
)


async def _changed(origin: Origin) -> None:
    """Vessels change, one gives equipment to another, and one goes with all that belongs to it."""
    for seed, name in enumerate(NAMES):
        await change(origin.url, name, seed)
    gone, one, other, _ = await rows(origin.url, "SELECT id::text FROM vessels ORDER BY id")
    await gone_vessel(origin, gone)
    await execute(
        origin.url,
        f"UPDATE equipment SET vessel_id = '{other}', location_id = NULL, updated_at = now() WHERE id ="
        f" (SELECT min(id::text)::uuid FROM equipment WHERE vessel_id = '{one}')",
    )


@pytest.mark.files_too
async def test_it_does_so_for_rows_that_change_move_and_go(fleets: Fleets, maintenance_url: str) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True, allow_deletions=True)
    await _changed(origin)
    before = await state(maintenance_url)
    dry = await sync(replace(config, dry_run=True), ALL)
    assert (dry.exit_status, dry.failures) == (0, [])
    assert apart(before, await state(maintenance_url)) == []
    report = await sync(config, ALL)
    assert report.deleted["vessels"] == 1
    assert (dry.inserted, dry.updated, dry.deleted) == (report.inserted, report.updated, report.deleted)
