"""What changes in the source is in the target after a sync, as if it had been migrated afresh."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from bulkmig import migrate, verify
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import migrated, settings, state, undone
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets
from tests.support.servers import Databases
from tests.sync.changes import CHANGES, change
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=7, vessels=3, companies=2, users_per_company=4, equipment=15)


async def synced(fleets: Fleets, databases: Databases, names: list[str], seed: int) -> None:
    """Makes these changes, syncs, and compares with a fresh migration; then takes the sync back."""
    target = databases("maintenance")
    origin, config, _ = await migrated(fleets, SPEC, target, fresh=True)
    before = await state(target)
    touched = [await change(origin.url, name, seed + n) for n, name in enumerate(names)]
    report = await sync(config, ALL)
    assert (report.status, report.failures, report.verified.differences) == ("completed", [], [])
    fresh = databases("maintenance")
    await migrate(settings(origin, fresh), ALL)
    assert apart(await dump(fresh, schema="public"), await dump(target, schema="public")) == [], touched
    after = await state(target)
    again = await sync(config, ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0
    assert apart(lasting(after), lasting(await state(target))) == []
    assert (await verify(config, ALL)).verified.difference_count == 0
    if (report.inserted + report.updated + report.deleted).total():
        await undone(config, report)
    assert apart(lasting(before), lasting(await state(target))) == []


async def test_rows_that_are_as_they_were_are_counted_table_by_table(
    fleets: Fleets, databases: Databases
) -> None:
    origin, target = await fleets(SPEC), databases("maintenance")
    config = settings(origin, target)
    written = await migrate(config, ALL)
    report = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert report.unchanged == written.inserted
    assert not (report.inserted + report.updated + report.deleted).total()


@pytest.mark.long
@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_is_in_the_target_after_a_sync(
    fleets: Fleets, databases: Databases, name: str
) -> None:
    await synced(fleets, databases, [name], 1)


@pytest.mark.files_too
@pytest.mark.parametrize("seed", range(3))
async def test_so_are_many_at_once(fleets: Fleets, databases: Databases, seed: int) -> None:
    names = Random(1).sample(sorted(CHANGES), len(CHANGES))  # between them, all
    await synced(fleets, databases, names[seed::3], 100 * seed)
