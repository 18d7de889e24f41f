"""Sentences of mapping.md § Sync about others at work: rollbacks, a second sync, people at the portal."""

from __future__ import annotations

from dataclasses import replace

import anyio
import anyio.lowlevel
import asyncpg
import pytest

from bulkmig import Report, Selection, Settings, migrate
from bulkmig.errors import PreflightError
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, migrated, rows, state, undone
from tests.support.dumps import apart
from tests.support.fleets import Fleets, Origin
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=5, vessels=2, companies=1, users_per_company=3, equipment=14)


async def test_a_vessel_that_was_rolled_back_is_left_alone_until_it_is_migrated_again(
    origin: Origin, config: Settings
) -> None:
    vessel = await fetchval(origin.url, "SELECT min(id::text) FROM vessels")
    await undone(config, vessel=vessel)
    report = await sync(config, ALL)
    assert (report.selected, report.inserted["vessels"]) == (1, 0)
    assert (await migrate(config, Selection(vessels=(vessel,)))).done == 1
    assert (await sync(config, ALL)).selected == 2


async def test_a_vessel_whose_rollback_was_rolled_back_is_synchronised(
    origin: Origin, config: Settings
) -> None:
    vessel = await fetchval(origin.url, "SELECT min(id::text) FROM vessels")
    back = await undone(config, vessel=vessel)
    again = await undone(config, back)
    assert (await sync(config, ALL)).selected == 2
    await undone(config, again)
    assert (await sync(config, ALL)).selected == 1


async def test_of_two_syncs_at_once_one_works_and_the_other_says_so(config: Settings) -> None:
    holder = await asyncpg.connect(config.target)
    try:
        await holder.execute("SELECT pg_advisory_lock($1)", 0x62756C6B73796E63)
        with pytest.raises(PreflightError, match="another sync"):
            await sync(config, ALL)
    finally:
        await holder.close()
    assert (await sync(config, ALL)).status == "completed"


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(
            "portal", marks=pytest.mark.only_postgresql("a file has one writer: nobody waits for a row")
        ),
        "sync",
    ],
)
async def test_a_portal_user_who_saves_while_the_row_is_synced_keeps_the_change_or_it_is_a_conflict(
    origin: Origin, config: Settings, first: str
) -> None:
    source_id = await fetchval(origin.url, "SELECT min(id::text) FROM equipment")
    row = "(SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid)"
    await execute(origin.url, f"UPDATE equipment SET name = 'of the source' WHERE id = '{source_id}'")
    portal = await asyncpg.connect(config.target)
    try:
        save = f"UPDATE equipment SET location = 'of the portal', updated_at = now() WHERE id = {row}"
        if first == "portal":
            # The save isn't committed when the sync comes to the row, which waits for it.
            saving = portal.transaction()
            await saving.start()
            await portal.execute(save, source_id)
            async with anyio.create_task_group() as group:
                reports: list[Report] = []

                async def run() -> None:
                    reports.append(await sync(config, ALL))

                group.start_soon(run)
                watcher = await asyncpg.connect(config.target)
                try:
                    while not await watcher.fetchval(
                        "SELECT EXISTS (SELECT FROM pg_locks"
                        " WHERE NOT granted AND locktype = 'transactionid')"
                    ):
                        await anyio.lowlevel.checkpoint()
                finally:
                    await watcher.close()
                await saving.commit()
            assert reports[0].conflicts["source_wins"] == 1
        else:
            assert (await sync(config, ALL)).updated["equipment"] == 1
            await portal.execute(save, source_id)
            assert await portal.fetchval(f"SELECT location FROM equipment WHERE id = {row}", source_id)
            assert (await sync(config, ALL)).updated.total() == 0
            location = await portal.fetchval(f"SELECT location FROM equipment WHERE id = {row}", source_id)
            assert location == "of the portal"
    finally:
        await portal.close()


async def test_one_checkpoint_has_all_companies_that_a_run_changes_one_after_the_other(
    fleets: Fleets, maintenance_url: str
) -> None:
    """Those with new users, those whose users have changed, and those whose users go."""
    several = replace(SPEC, vessels=3, companies=3)
    origin, config, _ = await migrated(fleets, several, maintenance_url, fresh=True)
    before = await state(maintenance_url)
    first, second, third = await rows(origin.url, "SELECT id::text FROM companies ORDER BY id")
    await execute(
        origin.url,
        "INSERT INTO users (id, company_id, email, first_name, role, is_active, created_at, updated_at)"
        f" VALUES (gen_random_uuid(), '{first}', 'new@example.org', 'New', 'VIEWER', true, now(), now())",
    )
    await execute(origin.url, f"UPDATE users SET first_name = 'Changed' WHERE company_id = '{second}'")
    await execute(origin.url, f"DELETE FROM users WHERE company_id = '{third}'")
    report = await sync(config, ALL)
    assert (report.exit_status, report.inserted["users"], report.deleted["users"] > 0) == (0, 1, True)
    assert report.updated["users"] > 0
    await undone(config, report)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []
