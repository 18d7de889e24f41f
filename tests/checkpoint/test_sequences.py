"""Ways back that cross each other: twice, over later changes, of a part of what committed together, while
others write. Every cell is compared."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import asyncpg
import msgspec
import pytest

from bulkmig import Report, Selection, migrate, rollback, sync, verify
from bulkmig.generate import FleetSpec, generate_portal
from tests.checkpoint.support import (
    execute,
    fetchval,
    migrated,
    refused,
    rows,
    settings,
    state,
    table,
    undone,
)
from tests.support.aftermath import until
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets, Origin
from tests.support.proxy import PATIENCE, Proxy
from tests.support.servers import Databases

SPEC = FleetSpec(seed=41, vessels=4, equipment=8, companies=2, cross_references=3)
ALL = Selection(all=True)
OF_VESSEL = (
    "SELECT id::text FROM bulkmig.checkpoints WHERE vessel_id = $1::text::uuid AND run_id = $2::text::uuid"
)
# Two vessels exchange their numbers; an equipment of the first one moves to the second.
SWAP = """
CREATE TEMPORARY TABLE two AS SELECT id, imo_number FROM vessels WHERE id IN ('{0}', '{1}');
UPDATE vessels SET imo_number = NULL WHERE id IN (SELECT id FROM two);
UPDATE vessels v SET imo_number = o.imo_number, updated_at = '2031-01-01'
  FROM two m JOIN two o ON o.id <> m.id WHERE v.id = m.id
"""
MOVE = """
SET session_replication_role = replica;
CREATE TEMPORARY TABLE one AS SELECT id FROM equipment WHERE vessel_id = '{0}' ORDER BY id LIMIT 1;
UPDATE equipment SET vessel_id = '{1}', location_id = NULL, updated_at = '2031-01-01'
 WHERE id IN (SELECT id FROM one);
UPDATE documents SET vessel_id = '{1}' WHERE equipment_id IN (SELECT id FROM one);
UPDATE quality_scores SET vessel_id = '{1}' WHERE equipment_id IN (SELECT id FROM one);
UPDATE cross_references SET vessel_id = '{1}' WHERE source_equipment_id IN (SELECT id FROM one)
"""
LOG = """
INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)
VALUES (gen_random_uuid(), $1::text::uuid, '2031-02-01', 'greased') RETURNING id::text
"""
LOG_OF = """
INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)
SELECT gen_random_uuid(), e.id, '2031-02-01', 'oiled' FROM equipment e
  JOIN bulkmig.identities i ON i.entity = 'vessel' AND i.target_id = e.vessel_id WHERE i.source_id = '{}'
"""
USER = """
INSERT INTO users (id, company_id, email, password_hash, first_name, last_name, role, is_active)
SELECT gen_random_uuid(), company_id, 'fitter@example.org', 'x', 'Fay', 'Itter', 'technician', true
  FROM users ORDER BY id LIMIT 1 RETURNING id::text
"""
# The vessel of a reference, and that of its other end.
BETWEEN = """
SELECT i.source_id::text, o.source_id::text FROM cross_references r
  JOIN equipment e ON e.id IN (r.source_equipment_id, r.target_equipment_id) AND e.vessel_id <> r.vessel_id
  JOIN bulkmig.identities i ON i.entity = 'vessel' AND i.target_id = r.vessel_id
  JOIN bulkmig.identities o ON o.entity = 'vessel' AND o.target_id = e.vessel_id
 ORDER BY 1, 2 LIMIT 1
"""
WAITING = "SELECT count(*) FROM bulkmig.pending WHERE vessel_id = $1::text::uuid"
RENAME = "UPDATE equipment SET name = left(name, 200) || '{}', updated_at = '{}-01-01' WHERE vessel_id = '{}'"


async def synced(origin: Origin, target: str) -> Report:
    report = await sync(settings(origin, target, allow_deletions=True), ALL)
    assert report.failures == []
    return report


async def moved_by_the_portal(target: str, vessel: str, to: str) -> str:
    """The portal gives an equipment with parts to another vessel; its target id."""
    of = "SELECT target_id FROM bulkmig.identities WHERE entity = 'vessel' AND source_id = '{}'"
    equipment: str = await fetchval(
        target,
        "SELECT min(p.equipment_id::text) FROM critical_parts p JOIN equipment e ON e.id = p.equipment_id"
        f" WHERE e.vessel_id = ({of.format(vessel)})",
    )
    await execute(
        target,
        f"UPDATE equipment SET vessel_id = ({of.format(to)}) WHERE id = $1::text::uuid",
        equipment,
    )
    return equipment


async def test_what_is_rolled_back_already_is_done_with_nothing_to_do(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, report = await migrated(fleets, SPEC, maintenance_url)
    complete = await state(maintenance_url)
    first = await undone(config, report)
    before = await state(maintenance_url)
    again = await undone(config, report)
    assert (again.done, again.inserted.total(), again.deleted.total()) == (0, 0, 0)
    assert apart(before, await state(maintenance_url)) == []
    vessel = origin.approved[0]
    own = await fetchval(maintenance_url, OF_VESSEL, vessel, report.run_id)
    twice = await undone(config, checkpoint=own)
    assert (twice.done, twice.inserted.total(), twice.deleted.total()) == (1, 0, 0)
    assert apart(before, await state(maintenance_url)) == []
    await undone(config, twice)
    await undone(config, first)
    assert apart(complete, await state(maintenance_url)) == []


@pytest.mark.parametrize("by", ["checkpoint", "run"])
async def test_an_older_change_goes_with_all_that_came_after_it(
    fleets: Fleets, maintenance_url: str, by: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    vessel = origin.approved[1]
    states, runs = [await state(maintenance_url)], []
    for n in (1, 2):
        await execute(origin.url, RENAME.format(n, 2030 + n, vessel))
        runs.append((await synced(origin, maintenance_url)).run_id)
        states.append(await state(maintenance_url))
    older = await fetchval(maintenance_url, OF_VESSEL, vessel, runs[0])
    back = (
        await undone(config, checkpoint=older) if by == "checkpoint" else await rollback(config, run=runs[0])
    )
    assert apart(states[0], await state(maintenance_url)) == []
    assert [one["run_id"] for one in back.notes["undone"]] == runs
    await undone(config, back)
    assert apart(states[2], await state(maintenance_url)) == []
    # The last one alone, then the one before it.
    await undone(config, vessel=vessel)
    assert apart(states[1], await state(maintenance_url)) == []
    await undone(config, vessel=vessel)
    assert apart(states[0], await state(maintenance_url)) == []


async def test_a_reference_waits_where_the_vessel_of_its_other_end_went_back_first_and_returns_with_it(
    fleets: Fleets, maintenance_url: str
) -> None:
    many = replace(SPEC, cross_references=20)  # some to other vessels
    origin, config, _ = await migrated(fleets, many, maintenance_url, fresh=True)
    before = await dump(maintenance_url, schema="public")
    one, other = (await table(maintenance_url, BETWEEN))[0]
    await execute(origin.url, RENAME.format("!", 2031, one))
    await synced(origin, maintenance_url)
    await undone(config, vessel=other)
    waiting = await fetchval(maintenance_url, WAITING, one)
    assert waiting > 0
    await undone(config, vessel=one)
    assert await fetchval(maintenance_url, WAITING, one) == waiting
    report = await migrate(config, Selection(vessels=(other,)))
    assert (report.done, report.pending) == (1, 0)
    assert apart(before, await dump(maintenance_url, schema="public")) == []


@pytest.mark.parametrize("change", [SWAP, MOVE], ids=["swap", "move"])
async def test_vessels_that_changed_in_one_commit_go_back_in_one_whichever_is_named(
    fleets: Fleets, maintenance_url: str, change: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    before = await state(maintenance_url)
    two = origin.approved[:2]
    await execute(origin.url, change.format(*two))
    await synced(origin, maintenance_url)
    after = await state(maintenance_url)
    assert apart(before, after) != []
    for vessel in two:
        back = await undone(config, vessel=vessel)
        assert [sorted(group) for group in back.notes["together"]] == [sorted(two)]
        assert apart(before, await state(maintenance_url)) == []
        await undone(config, back)
        assert apart(after, await state(maintenance_url)) == []


@pytest.mark.parametrize("undo", [False, True], ids=["", "undone"])
@pytest.mark.parametrize("change", [SWAP, MOVE], ids=["swap", "move"])
async def test_a_run_goes_back_on_each_of_its_vessels_though_they_changed_in_one_commit_since(
    fleets: Fleets, maintenance_url: str, change: str, undo: bool
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    before = await state(maintenance_url)
    two = origin.approved[:2]
    for vessel in two:
        await execute(origin.url, RENAME.format(" I", 2030, vessel))
    first = await synced(origin, maintenance_url)
    await execute(origin.url, change.format(*two))
    then = await synced(origin, maintenance_url)
    if undo:
        await undone(config, then)
    after = await state(maintenance_url)
    back = await undone(config, first)
    assert [sorted(group) for group in back.notes["together"]] == [sorted(two)]
    assert apart(before, await state(maintenance_url)) == []
    await undone(config, back)
    assert apart(after, await state(maintenance_url)) == []


async def test_what_the_portal_moved_away_from_one_of_them_comes_back_when_they_are_brought_forth_again(
    fleets: Fleets, maintenance_url: str
) -> None:
    """It is given up with force; the checkpoints of that have it, whichever of them."""
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    one, other, third = origin.approved[:3]
    await execute(origin.url, SWAP.format(one, other))
    await synced(origin, maintenance_url)
    for vessel in (one, other):
        await moved_by_the_portal(maintenance_url, vessel, third)
        await execute(maintenance_url, LOG_OF.format(vessel))
    before = await state(maintenance_url)
    forced = await rollback(config, vessel=one, force=True)
    assert forced.status == "completed"
    assert {row["table"] for row in forced.notes["discarded"]} == {"equipment", "maintenance_logs"}
    await undone(config, forced)
    assert apart(before, await state(maintenance_url)) == []


@pytest.mark.parametrize("change", [SWAP, RENAME.format("!", 2031, "{0}")], ids=["two", "one"])
async def test_what_the_portal_added_to_what_it_moved_away_is_given_up_and_comes_back_with_it(
    fleets: Fleets, maintenance_url: str, change: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    before = await state(maintenance_url)
    one, other, third = origin.approved[:3]
    await execute(origin.url, change.format(one, other))
    await synced(origin, maintenance_url)
    equipment = await moved_by_the_portal(maintenance_url, one, third)
    log = await fetchval(maintenance_url, LOG, equipment)
    after = await state(maintenance_url)
    report = await refused(config, vessel=one)
    assert [msgspec.structs.asdict(row) for row in report.refused] == [
        {"table": "equipment", "id": equipment, "change": "changed"},
        {"table": "maintenance_logs", "id": log, "change": "added"},
    ]
    forced = await rollback(config, vessel=one, force=True)
    assert (forced.status, forced.failures) == ("completed", [])
    assert apart(before, await state(maintenance_url)) == []
    await undone(config, forced)
    assert apart(after, await state(maintenance_url)) == []


async def test_so_does_a_user_of_the_portals_whom_that_needs_and_who_was_deleted_meanwhile(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    one, third = origin.approved[0], origin.approved[2]
    equipment = await moved_by_the_portal(maintenance_url, one, third)
    log = await fetchval(maintenance_url, LOG, equipment)
    user = await fetchval(maintenance_url, USER)
    by = "UPDATE maintenance_logs SET performed_by = $1::text::uuid WHERE id = $2::text::uuid"
    await execute(maintenance_url, by, user, log)
    before = await state(maintenance_url)
    forced = await rollback(config, vessel=one, force=True)
    await execute(maintenance_url, "DELETE FROM users WHERE id = $1::text::uuid", user)
    await undone(config, forced)
    assert apart(before, await state(maintenance_url)) == []


async def test_adopted_rows_are_the_portal_s_own_again_and_its_companies_and_users_stay(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url)
    await generate_portal(maintenance_url, origin.url, origin.spec)
    before = await dump(maintenance_url, schema="public")
    report = await migrate(config, ALL)
    adopted = await rows(
        maintenance_url, "SELECT source_id::text FROM bulkmig.identities WHERE entity = 'vessel' AND adopted"
    )
    assert adopted
    complete = await dump(maintenance_url, schema="public")
    backs = [await undone(config, vessel=vessel) for vessel in origin.approved]
    now = await dump(maintenance_url, schema="public")
    of_fleet = {"companies", "company_settings", "users", "user_metadata"}
    assert apart({t: complete[t] for t in of_fleet}, {t: now[t] for t in of_fleet}) == []
    assert [line for line in apart(before, now) if line.partition(":")[0].split()[0] not in of_fleet] == []
    for back in backs[::-1]:
        await undone(config, back)
    assert apart(complete, await dump(maintenance_url, schema="public")) == []
    await undone(config, report)
    assert apart(before, await dump(maintenance_url, schema="public")) == []


def of_one_company(origin: Origin) -> tuple[Selection, Selection]:
    """A vessel, and the others of its company."""
    of = {row["id"]: row["company_id"] for row in origin.rows.vessels}
    by_company = {of[v]: [o for o in origin.approved if of[o] == of[v]] for v in origin.approved}
    first, *others = next(vessels for vessels in by_company.values() if len(vessels) > 1)
    return Selection(vessels=(first,)), Selection(vessels=tuple(others))


async def test_companies_and_users_that_another_run_s_vessels_use_stay_and_are_listed(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url)
    one, other = of_one_company(origin)
    first = await migrate(config, one)
    await migrate(config, other)
    complete = await state(maintenance_url)
    back = await undone(config, first)
    kept = [row["table"] for row in back.notes["stayed"]]
    assert kept.count("companies") == 1
    assert await fetchval(maintenance_url, "SELECT count(*) FROM vessels") == len(other.vessels)
    # Users whom nobody refers to went, and come with the next run.
    found = (await verify(config, other)).verified
    assert (found.difference_count, found.drift, found.stale) == (0, 0, 2 * back.deleted["users"])
    assert back.deleted["users"] > 0
    await undone(config, back)
    assert apart(complete, await state(maintenance_url)) == []
    again = (await verify(config, other)).verified
    assert (again.difference_count, again.drift, again.stale) == (0, 0, 0)


async def test_those_that_the_portal_had_are_its_own_again_and_no_difference_for_another_run_s_vessels(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url)
    await generate_portal(maintenance_url, origin.url, origin.spec)
    one, other = of_one_company(origin)
    first = await migrate(config, one)
    await migrate(config, other)
    taken_over = "SELECT count(*) FROM bulkmig.identities WHERE adopted AND entity = $1"
    assert await fetchval(maintenance_url, taken_over, "company") > 0
    assert await fetchval(maintenance_url, taken_over, "user") > 0
    await undone(config, first)
    found = (await verify(config, other)).verified
    assert (found.difference_count, found.stale > 0) == (0, True)
    await synced(origin, maintenance_url)
    after = (await verify(config, ALL)).verified
    assert (after.difference_count, after.drift, after.stale) == (0, 0, 0)


async def waits(target: str) -> bool:
    """Whether somebody waits for an advisory lock."""
    query = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
    return bool(await fetchval(target, query))


@pytest.mark.only_postgresql("a file has one writer: nothing is about to commit meanwhile")
async def test_a_change_that_commits_meanwhile_goes_back_with_all_that_it_changed(
    fleets: Fleets, databases: Databases
) -> None:
    """A sync is about to commit that equipment moved to another vessel; the rollback of the first one waits
    for it, and takes the second along. So it ends as if it had come afterwards."""
    origin = await fleets.changing(SPEC)
    raced, calm = databases("maintenance"), databases("maintenance")
    first = {target: await fleets.migrate(origin, settings(origin, target)) for target in (raced, calm)}
    vessel = origin.approved[0]
    await execute(origin.url, MOVE.format(*origin.approved[:2]))
    async with Proxy(raced) as proxy:
        hold = proxy.before("COMMIT after INSERT bulkmig.vessels")
        running = asyncio.ensure_future(synced(origin, proxy.url))
        await hold.reached()
        own = await fetchval(raced, OF_VESSEL, vessel, first[raced].run_id)
        going = asyncio.ensure_future(undone(settings(origin, raced), checkpoint=own))
        assert await until(lambda: waits(raced), PATIENCE)
        hold.release()
        await running
        back = await going
    await synced(origin, calm)
    own = await fetchval(calm, OF_VESSEL, vessel, first[calm].run_id)
    wanted = await undone(settings(origin, calm), checkpoint=own)
    assert back.notes["together"] == wanted.notes["together"]
    assert apart(await dump(calm, schema="public"), await dump(raced, schema="public")) == []
    assert (await verify(settings(origin, raced), ALL)).verified.difference_count == 0


@pytest.mark.only_postgresql("no answer of a file is lost")
@pytest.mark.parametrize("by", ["vessel", "run"])
async def test_a_rollback_whose_answer_is_lost_is_done_and_says_so(
    fleets: Fleets, maintenance_url: str, by: str
) -> None:
    """The connection ends between COMMIT and its answer."""
    origin, _, report = await migrated(fleets, SPEC, maintenance_url)
    async with Proxy(maintenance_url) as proxy:
        hold = proxy.after("COMMIT after INSERT bulkmig.audit")
        which = {"vessel": origin.approved[0]} if by == "vessel" else {"run": report.run_id}
        going = asyncio.ensure_future(rollback(settings(origin, proxy.url), **which))  # type: ignore[arg-type]
        await hold.reached()
        hold.drop()
        done = await going
    assert (done.status, done.failures) == ("completed", [])
    assert done.done == (1 if by == "vessel" else len(origin.approved))


async def test_no_source_is_needed(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url)
    before = await dump(maintenance_url, schema="public")
    report = await migrate(config, ALL)
    gone = msgspec.structs.replace(config, source="postgresql://nobody@127.0.0.1:1/nothing")
    back = await undone(gone, report)
    assert apart(before, await dump(maintenance_url, schema="public")) == []
    await undone(gone, back)
    assert (await verify(config, ALL)).verified.difference_count == 0


async def test_a_number_that_went_to_another_vessel_meanwhile_is_named(
    fleets: Fleets, maintenance_url: str
) -> None:
    """The portal gives a vessel of its own the IMO number that a rolled back vessel had."""
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url)
    vessel = origin.approved[0]
    number = next(row["imo_number"] for row in origin.rows.vessels if row["id"] == vessel)
    back = await undone(config, vessel=vessel)
    connection = await asyncpg.connect(maintenance_url)
    taker = await connection.fetchval(
        "INSERT INTO vessels (id, company_id, name, imo_number)"
        " SELECT gen_random_uuid(), min(id::text)::uuid, 'of the portal', $1 FROM companies"
        " RETURNING id::text",
        number,
    )
    await connection.close()
    for force in (False, True):
        assert taker in (await refused(config, run=back.run_id, force=force)).failures[0].error
