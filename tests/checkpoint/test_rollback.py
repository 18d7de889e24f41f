"""Whatever a run changed, rolling it back leaves every cell as it was before."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from bulkmig import Selection, migrate, rollback, verify
from bulkmig.generate import FleetSpec, generate_portal
from tests.checkpoint.support import (
    EQUIPMENT_OF,
    a_vessel_with_equipment,
    execute,
    fetchval,
    rows,
    settings,
    state,
    undone,
)
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets, Origin
from tests.support.servers import Databases

SPEC = FleetSpec(seed=1, vessels=5, equipment=10, nasty=0.3, least=0)
EVERY_TRAP = replace(SPEC, equipment=20, least=1)  # another twenty vessels
SEEDS, LONG_SEEDS = 3, 60


def of_the_portal(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: rows for name, rows in found.items() if not name.startswith("bulkmig.")}


async def go_there_and_back(origin: Origin, target: str, seed: int) -> None:
    """Migrates in two runs, undoes each, undoes that and undoes it again; then does it all once more."""
    config, rng = settings(origin, target), Random(seed)
    if seed % 2:
        await generate_portal(target, origin.url, origin.spec)
    some = tuple(vessel for vessel in origin.approved if rng.random() < 0.5)
    selections = [*([Selection(vessels=some)] if some else []), Selection(all=True)]
    states = [await state(target)]
    reports = []
    for selection in selections:
        reports.append(await migrate(config, selection))
        states.append(await state(target))
    for before, after, report in zip(states[-2::-1], states[:0:-1], reports[::-1], strict=True):
        back = await undone(config, report)
        same = apart if any(name.startswith("bulkmig.") for name in before) else apart_in_the_portal
        assert same(before, await state(target)) == []
        again = await undone(config, back)
        assert apart(after, await state(target)) == []
        await undone(config, again)
    for selection in selections:
        assert (await migrate(config, selection)).verified.difference_count == 0
    assert apart_in_the_portal(states[-1], await state(target)) == []


def apart_in_the_portal(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return apart(of_the_portal(one), of_the_portal(other))


@pytest.mark.files_too
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(1, SEEDS))])
async def test_a_run_rolled_back_leaves_the_target_as_it_was_and_again_as_it_became(
    fleets: Fleets, maintenance_url: str, seed: int
) -> None:
    await go_there_and_back(await fleets(replace(SPEC, seed=seed)), maintenance_url, seed)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_so_it_does_over_many_seeds(fleets: Fleets, databases: Databases) -> None:
    for seed in range(SEEDS, LONG_SEEDS):
        await go_there_and_back(await fleets(replace(EVERY_TRAP, seed=seed)), databases("maintenance"), seed)


async def test_a_vessel_rolled_back_alone_leaves_the_others_but_for_references_to_its_equipment(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url)
    await fleets.migrate(origin, config)
    complete = await dump(maintenance_url, schema="public")
    for vessel in origin.approved:
        await undone(config, vessel=vessel)
        report = await verify(config, Selection(vessels=tuple(v for v in origin.approved if v != vessel)))
        assert report.verified.difference_count == 0
        again = await migrate(config, Selection(vessels=(vessel,)))
        assert (again.done, again.failures) == (1, [])
        assert apart(complete, await dump(maintenance_url, schema="public")) == []


async def add_logs(target: str) -> None:
    await execute(
        target,
        "INSERT INTO maintenance_logs (id, equipment_id, performed_by, performed_at, description)"
        " SELECT gen_random_uuid(), e.id, (SELECT id FROM users LIMIT 1), now(), 'oil changed'"
        " FROM equipment e",
    )


@pytest.mark.files_too
async def test_with_maintenance_logs_added_since_it_refuses_and_lists_them(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url)
    await fleets.migrate(origin, config)
    await add_logs(maintenance_url)
    before = await state(maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    refused = await rollback(config, vessel=vessel)
    document = refused.document()
    assert (document["status"], refused.exit_status) == ("refused", 1)
    logs = await rows(
        maintenance_url,
        "SELECT l.id::text FROM maintenance_logs l JOIN equipment e ON e.id = l.equipment_id"
        " JOIN bulkmig.identities i ON i.target_id = e.vessel_id WHERE i.source_id = $1::text::uuid",
        vessel,
    )
    assert sorted(row["id"] for row in document["drift"]) == sorted(logs)
    assert {(row["table"], row["change"]) for row in document["drift"]} == {("maintenance_logs", "added")}
    assert apart(before, await state(maintenance_url)) == []
    forced = await rollback(config, vessel=vessel, force=True)
    assert forced.status == "completed"
    assert (
        await fetchval(
            maintenance_url, "SELECT state FROM bulkmig.vessels WHERE vessel_id = $1::text::uuid", vessel
        )
        is None
    )
    await undone(config, forced)
    assert apart(before, await state(maintenance_url)) == []


@pytest.mark.files_too
async def test_companies_and_users_of_a_run_wait_until_the_last_of_its_vessels_has_gone_back(
    fleets: Fleets, maintenance_url: str
) -> None:
    """Then all of the run is undone, in however many goes."""
    origin = await fleets(replace(SPEC, nasty=0.0))
    config = settings(origin, maintenance_url)
    before = of_the_portal(await state(maintenance_url))
    report = await fleets.migrate(origin, config)
    named = await a_vessel_with_equipment(maintenance_url)
    await add_logs(maintenance_url)
    await execute(
        maintenance_url,
        f"DELETE FROM maintenance_logs WHERE NOT equipment_id IN (SELECT e.id {EQUIPMENT_OF})",
        named,
    )
    query = "SELECT id FROM companies UNION ALL SELECT id FROM users ORDER BY id"
    shared = await rows(maintenance_url, query)
    refused = await rollback(config, run=report.run_id)
    assert (refused.status, refused.done, refused.failed) == ("refused", len(origin.approved) - 1, 1)
    assert [failure.vessel_id for failure in refused.failures] == [named, ""]
    assert "run the same command again" in refused.failures[1].error
    assert await rows(maintenance_url, query) == shared
    forced = await rollback(config, run=report.run_id, force=True)
    assert (forced.status, forced.failures) == ("completed", [])
    assert apart(before, of_the_portal(await state(maintenance_url))) == []
