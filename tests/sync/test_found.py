"""What a sync finds to write: nothing is missed, and what comes out identical is left alone."""

from __future__ import annotations

import asyncpg
import msgspec
import pytest

from bulkmig import Settings
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import remigrate, sync
from tests.checkpoint.support import execute, fetchval, state, undone
from tests.support.dumps import apart
from tests.support.fleets import Origin
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=5, vessels=2, companies=1, users_per_company=3, equipment=14)


async def test_a_sync_without_changes_looks_at_no_vessel(config: Settings) -> None:
    report = await sync(config, ALL)
    assert report.done == 2
    assert report.unchanged["equipment"] == 0  # not even read
    assert (report.inserted + report.updated + report.deleted).total() == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE equipment SET name = 'late', updated_at = '2020-01-01'"
        " WHERE id = (SELECT min(id::text)::uuid FROM equipment)",
        "DELETE FROM critical_parts WHERE id = (SELECT min(id::text)::uuid FROM critical_parts)",
        "INSERT INTO equipment (id, vessel_id, name, status, created_at, updated_at)"
        " SELECT gen_random_uuid(), min(id::text)::uuid, 'late', 'ACTIVE', '2020-01-01', '2020-01-01'"
        " FROM vessels",
    ],
    ids=["update", "delete", "insert"],
)
async def test_a_transaction_that_was_open_during_a_sync_is_there_after_the_next(
    origin: Origin, config: Settings, change: str
) -> None:
    late = await asyncpg.connect(origin.url)
    try:
        open_ = late.transaction()
        await open_.start()
        await late.execute("SAVEPOINT s")  # its rows bear the number of a part of the transaction
        await late.execute(change)
        await execute(origin.url, "UPDATE vessels SET flag = 'XX'")
        assert (await sync(config, ALL)).updated["vessel_details"] == 2
        await open_.commit()
    finally:
        await late.close()
    report = await sync(config, ALL)
    assert (report.inserted + report.updated + report.deleted)["equipment"] + report.deleted[
        "critical_parts"
    ] == 1


_FAR = "5b1c0000-0000-4000-8000-000000000001"  # a place on a vessel that is not migrated
_FARTHER = "5b1c0000-0000-4000-8000-000000000002"


async def test_places_on_a_vessel_that_is_not_migrated_change_the_equipment_below_them(
    origin: Origin, config: Settings
) -> None:
    async def places() -> set[str]:
        report = await sync(config, ALL)
        assert report.inserted.total() == report.deleted.total() == 0
        query = "SELECT string_agg(DISTINCT split_part(location, ' > ', 1), ' ') FROM equipment"
        return set((await fetchval(config.target, query)).split())

    place = (
        "INSERT INTO locations (id, vessel_id, parent_id, name)"
        " SELECT '{}', min(id::text)::uuid, {}, '{}' FROM vessels WHERE onboarding_status = 'SUBMITTED'"
    )
    await execute(
        origin.url,
        "INSERT INTO vessels (id, company_id, name, onboarding_status)"
        " SELECT gen_random_uuid(), min(id::text)::uuid, 'far', 'SUBMITTED' FROM companies;"
        + place.format(_FAR, "NULL", "far")
        + f"; UPDATE locations SET parent_id = '{_FAR}' WHERE parent_id IS NULL AND id <> '{_FAR}'",
    )
    assert await places() == {"far"}
    await execute(origin.url, f"UPDATE locations SET name = 'renamed' WHERE id = '{_FAR}'")
    assert await places() == {"renamed"}
    await execute(origin.url, f"UPDATE locations SET parent_id = '{_FARTHER}' WHERE id = '{_FAR}'")
    await execute(origin.url, place.format(_FARTHER, f"'{_FAR}'", "farther"))  # a circle
    assert await places() == {"farther"}
    await execute(origin.url, f"UPDATE locations SET name = 'farthest' WHERE id = '{_FARTHER}'")
    assert await places() == {"farthest"}
    await execute(origin.url, f"DELETE FROM locations WHERE id = '{_FARTHER}'")
    assert await places() == {"renamed"}
    assert (await sync(config, ALL)).unchanged["equipment"] == 0  # not even read


async def test_rows_whose_updated_at_never_moves_are_found(origin: Origin, config: Settings) -> None:
    await execute(origin.url, "UPDATE equipment SET notes = 'silent'")
    report = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert report.updated["equipment_metadata"] == await fetchval(
        origin.url, "SELECT count(*) FROM equipment"
    )


async def test_a_remigration_writes_every_row_anew_that_differs(origin: Origin, config: Settings) -> None:
    await execute(origin.url, "UPDATE equipment SET name = name || ' anew'")
    before = await state(config.target)
    report = await remigrate(config, ALL)
    assert (report.command, report.status) == ("migrate", "completed")
    assert report.updated["equipment"] == await fetchval(origin.url, "SELECT count(*) FROM equipment")
    await undone(config, report)
    assert apart(lasting(before), lasting(await state(config.target))) == []


async def test_a_detail_row_that_comes_out_identical_is_not_counted_as_an_update(
    origin: Origin, config: Settings
) -> None:
    equipment = await fetchval(origin.url, "SELECT min(id::text) FROM equipment")
    await execute(origin.url, f"UPDATE equipment SET model = 'other' WHERE id = '{equipment}'")
    report = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (report.updated["equipment"], report.updated["equipment_metadata"]) == (1, 0)
    assert report.unchanged["equipment_metadata"] == report.unchanged["equipment"] + 1
    await execute(origin.url, f"UPDATE equipment SET notes = 'other' WHERE id = '{equipment}'")
    report = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (report.updated["equipment"], report.updated["equipment_metadata"]) == (0, 1)


async def test_a_row_that_came_in_a_sync_which_was_cut_off_and_is_gone_by_the_next_is_deleted(
    origin: Origin, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is seen of its vessel then is what was seen before the row came."""
    await execute(
        origin.url,
        "INSERT INTO quality_scores (id, vessel_id, category, score, assessed_at)"
        " SELECT gen_random_uuid(), min(id::text)::uuid, 'short', 1, now() FROM vessels",
    )

    async def cut_off(run: object) -> None:
        raise ArithmeticError("cut off")

    with monkeypatch.context() as at_the_end:
        at_the_end.setattr("bulkmig.fleet.waiting._remember", cut_off)
        with pytest.raises(ArithmeticError, match="cut off"):
            await sync(config, ALL)
    there = "SELECT count(*) FROM quality_scores WHERE category = 'short'"
    assert await fetchval(config.target, there) == 1
    await execute(origin.url, "DELETE FROM quality_scores WHERE category = 'short'")
    assert (await sync(config, ALL)).deleted["quality_scores"] == 1
    assert await fetchval(config.target, there) == 0
