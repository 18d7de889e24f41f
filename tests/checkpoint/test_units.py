"""Small vessels that have nothing to do with each other go back in one transaction, as if each went alone."""

from __future__ import annotations

from itertools import permutations

import pytest

from bulkmig import Report, Selection, rollback
from bulkmig.checkpoint import unit
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, migrated, rows, state, table, undone
from tests.support.dumps import apart
from tests.support.fleets import Fleets

pytestmark = pytest.mark.only_postgresql("in a file each vessel goes back alone")

SPEC = FleetSpec(seed=41, vessels=4, equipment=8, companies=2, cross_references=40)
ALL = Selection(all=True)
COMMITS = (
    "SELECT count(DISTINCT xmin::text) FROM bulkmig.checkpoints"
    " WHERE run_id = $1::text::uuid AND vessel_id IS NOT NULL"
)
CHECKPOINT_OF = "SELECT vessel_id::text, id::text FROM bulkmig.checkpoints WHERE run_id = $1::text::uuid"
ROWS_OF_THE_LARGEST = (
    "SELECT sum(b.rows) FROM bulkmig.base b JOIN bulkmig.vessels USING (vessel_id)"
    " WHERE kind = 'rows' GROUP BY vessel_id ORDER BY 1 DESC LIMIT 1"
)
BETWEEN_VESSELS = (
    "SELECT count(*) FROM cross_references r JOIN equipment e ON e.id = r.target_equipment_id"
    " WHERE e.vessel_id <> r.vessel_id"
)


async def commits(target: str, report: Report) -> int:
    found: int = await fetchval(target, COMMITS, report.run_id)
    return found


async def test_they_go_back_and_come_again_in_one_transaction(fleets: Fleets, maintenance_url: str) -> None:
    _, config, report = await migrated(fleets, SPEC, maintenance_url)
    before = await state(maintenance_url)
    back = await undone(config, report)
    assert (await commits(maintenance_url, back), back.done) == (1, SPEC.vessels)
    assert await fetchval(maintenance_url, "SELECT count(*) FROM equipment") == 0
    again = await undone(config, back)
    assert (await commits(maintenance_url, again), again.done) == (1, SPEC.vessels)
    assert apart(before, await state(maintenance_url)) == []


async def test_so_do_vessels_that_a_sync_has_changed(fleets: Fleets, maintenance_url: str) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True, conflict="target_wins")
    await execute(maintenance_url, "UPDATE equipment SET model = 'of the portal' WHERE id::text < '8'")
    before = await state(maintenance_url)
    await execute(origin.url, "UPDATE equipment SET model = 'changed', updated_at = now()")
    await execute(origin.url, "DELETE FROM documents")
    synced = await sync(config, ALL)
    after = await state(maintenance_url)
    assert apart(before, after) != []
    back = await undone(config, synced)
    assert await commits(maintenance_url, back) == 1
    assert apart(before, await state(maintenance_url)) == []
    await undone(config, back)
    assert apart(after, await state(maintenance_url)) == []


async def test_each_comes_again_by_itself_with_the_references_between_them(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, report = await migrated(fleets, SPEC, maintenance_url)
    before = await state(maintenance_url)
    assert await fetchval(maintenance_url, BETWEEN_VESSELS) > 4
    back = await undone(config, report)
    orders = [*permutations(range(SPEC.vessels))]
    for order in (orders[0], orders[-1]):
        checkpoints = dict(await table(maintenance_url, CHECKPOINT_OF, back.run_id))
        await undone(config, checkpoint=checkpoints.pop(None))
        vessels = sorted(checkpoints)
        for place in order:
            await undone(config, checkpoint=checkpoints[vessels[place]])
        assert apart(before, await state(maintenance_url)) == []
        back = await undone(config, report)


async def test_where_the_portal_has_changed_one_of_them_the_others_go_back_one_by_one_and_come_again_together(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, report = await migrated(fleets, SPEC, maintenance_url)
    (changed,) = await rows(
        maintenance_url, "UPDATE vessels SET name = 'of the portal' WHERE id = (SELECT min(id::text)::uuid"
        " FROM vessels) RETURNING (SELECT source_id::text FROM bulkmig.identities WHERE target_id = id)"
    )  # fmt: skip
    before = await state(maintenance_url)
    back = await rollback(config, run=report.run_id)
    assert [failure.vessel_id for failure in back.failures] == [changed, ""]  # and the companies
    assert (back.exit_status, back.done, back.failed) == (1, SPEC.vessels - 1, 1)
    assert await commits(maintenance_url, back) == SPEC.vessels - 1
    assert await rows(maintenance_url, "SELECT DISTINCT name FROM vessels") == ["of the portal"]
    again = await undone(config, back)
    assert await commits(maintenance_url, again) == 1
    assert apart(before, await state(maintenance_url)) == []


async def test_so_many_are_in_one_as_have_few_enough_rows_together(
    fleets: Fleets, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, config, report = await migrated(fleets, SPEC, maintenance_url)
    most = await fetchval(maintenance_url, ROWS_OF_THE_LARGEST)
    monkeypatch.setattr(unit, "MANY", 2 * 2 * most)
    back = await undone(config, report)
    assert 1 < await commits(maintenance_url, back) < SPEC.vessels
    monkeypatch.setattr(unit, "MANY", 1)
    again = await undone(config, back)
    assert await commits(maintenance_url, again) == SPEC.vessels
