"""Sentences of mapping.md § Sync, each with the case that would break it."""

from __future__ import annotations

from dataclasses import replace

import anyio
import anyio.lowlevel
import asyncpg
import msgspec
import pytest

from bulkmig import Report, Selection, Settings, migrate, verify
from bulkmig.errors import PreflightError
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import remigrate, sync
from tests.checkpoint.support import execute, fetchval, rows, settings, state, undone
from tests.checkpoint.test_rollback import of_the_portal
from tests.support.dumps import apart
from tests.support.fleets import Fleets, Origin
from tests.sync.test_flow import lasting

SPEC = FleetSpec(seed=5, vessels=2, companies=1, users_per_company=3, equipment=14)
ALL = Selection(all=True)


@pytest.fixture
async def origin(fleets: Fleets) -> Origin:
    return await fleets(SPEC, fresh=True)


@pytest.fixture
async def config(origin: Origin, maintenance_url: str) -> Settings:
    made = settings(origin, maintenance_url)
    await migrate(made, ALL)
    return made


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


async def test_rows_whose_updated_at_never_moves_are_found(origin: Origin, config: Settings) -> None:
    await execute(origin.url, "UPDATE equipment SET notes = 'silent'")
    report = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert report.updated["equipment_metadata"] == await fetchval(
        origin.url, "SELECT count(*) FROM equipment"
    )


async def test_equipment_with_maintenance_logs_is_decommissioned_instead_of_deleted(
    origin: Origin, config: Settings
) -> None:
    source_id = await fetchval(origin.url, "SELECT min(id::text) FROM equipment")
    row = (
        "FROM equipment e JOIN equipment_metadata m ON m.equipment_id = e.id"
        " WHERE m.original_id = $1::text::uuid"
    )
    updated_at = await fetchval(config.target, f"SELECT e.updated_at {row}", source_id)
    await execute(
        config.target,
        "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
        f" SELECT gen_random_uuid(), e.id, now(), 'oil' {row}",
        source_id,
    )
    before = await state(config.target)
    await execute(
        origin.url,
        f"DELETE FROM cross_references WHERE '{source_id}' IN (source_equipment_id, target_equipment_id)",
    )
    for table in ("critical_parts", "quality_scores"):
        await execute(origin.url, f"DELETE FROM {table} WHERE equipment_id = '{source_id}'")
    await execute(origin.url, f"UPDATE documents SET equipment_id = NULL WHERE equipment_id = '{source_id}'")
    await execute(origin.url, f"DELETE FROM equipment WHERE id = '{source_id}'")
    report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    assert await fetchval(config.target, f"SELECT e.status {row}", source_id) == "decommissioned"
    assert await fetchval(config.target, f"SELECT e.updated_at {row}", source_id) == updated_at
    assert await fetchval(config.target, "SELECT count(*) FROM maintenance_logs") == 1
    assert (await sync(msgspec.structs.replace(config, full=True), ALL)).updated.total() == 0
    assert (await verify(config, ALL)).verified.difference_count == 0
    await undone(config, report)
    assert apart(lasting(before), lasting(await state(config.target))) == []


async def test_the_brake_stops_deletions_until_an_option_allows_them(
    origin: Origin, config: Settings
) -> None:
    vessel = await fetchval(
        origin.url, "SELECT vessel_id::text FROM equipment GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    )
    mine = f"(SELECT id FROM equipment WHERE vessel_id = '{vessel}')"
    await execute(
        origin.url,
        f"DELETE FROM cross_references WHERE source_equipment_id IN {mine} OR target_equipment_id IN {mine};"
        f"DELETE FROM critical_parts WHERE equipment_id IN {mine};"
        f"DELETE FROM quality_scores WHERE equipment_id IN {mine};"
        f"UPDATE documents SET equipment_id = NULL WHERE equipment_id IN {mine};"
        f"DELETE FROM equipment WHERE vessel_id = '{vessel}'",
    )
    held = await sync(config, ALL)
    assert (held.exit_status, held.deleted["equipment"]) == (1, 0)
    assert ("warning", "sync.deletion_brake") in held.findings
    let_go = await sync(msgspec.structs.replace(config, allow_deletions=True), ALL)
    assert let_go.exit_status == 0
    assert let_go.deleted["equipment"] >= 10


async def test_a_loaded_row_that_turns_erroneous_keeps_what_was_last_written_until_it_is_right_again(
    origin: Origin, config: Settings
) -> None:
    source_id = await fetchval(
        origin.url,
        "SELECT e.id::text FROM equipment e JOIN critical_parts p ON p.equipment_id = e.id"
        " JOIN documents d ON d.equipment_id = e.id ORDER BY e.id LIMIT 1",
    )
    before = await state(config.target)
    name = await fetchval(origin.url, f"SELECT name FROM equipment WHERE id = '{source_id}'")
    await execute(origin.url, f"UPDATE equipment SET name = ' ' WHERE id = '{source_id}'")
    report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    assert report.quarantined["equipment"] == 1
    assert apart(of_the_portal(before), of_the_portal(await state(config.target))) == []
    assert (await verify(config, ALL)).verified.difference_count == 0
    await execute(origin.url, f"UPDATE equipment SET name = $1 || '!' WHERE id = '{source_id}'", name)
    report = await sync(config, ALL)
    assert (report.updated["equipment"], report.verified.differences) == (1, [])
    assert (
        await fetchval(config.target, "SELECT count(*) FROM bulkmig.quarantine WHERE entity = 'equipment'")
        == 0
    )


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


async def test_a_remigration_writes_every_row_anew_that_differs(origin: Origin, config: Settings) -> None:
    await execute(origin.url, "UPDATE equipment SET name = name || ' anew'")
    before = await state(config.target)
    report = await remigrate(config, ALL)
    assert (report.command, report.status) == ("migrate", "completed")
    assert report.updated["equipment"] == await fetchval(origin.url, "SELECT count(*) FROM equipment")
    await undone(config, report)
    assert apart(lasting(before), lasting(await state(config.target))) == []


async def test_of_two_syncs_at_once_one_works_and_the_other_says_so(config: Settings) -> None:
    holder = await asyncpg.connect(config.target)
    try:
        await holder.execute("SELECT pg_advisory_lock($1)", 0x62756C6B73796E63)
        with pytest.raises(PreflightError, match="another sync"):
            await sync(config, ALL)
    finally:
        await holder.close()
    assert (await sync(config, ALL)).status == "completed"


async def gone_vessel(origin: Origin, vessel: str = "") -> str:
    """Deletes a vessel, the first where none is named, from the source with all that belongs to it; returns
    its id."""
    vessel = vessel or await fetchval(origin.url, "SELECT min(id::text) FROM vessels")
    mine = f"(SELECT id FROM equipment WHERE vessel_id = '{vessel}')"
    await execute(
        origin.url,
        f"DELETE FROM cross_references WHERE source_equipment_id IN {mine} OR target_equipment_id IN {mine};"
        f"DELETE FROM critical_parts WHERE equipment_id IN {mine};"
        f"DELETE FROM quality_scores WHERE vessel_id = '{vessel}';"
        f"DELETE FROM documents WHERE vessel_id = '{vessel}';"
        f"DELETE FROM equipment WHERE vessel_id = '{vessel}';"
        f"DELETE FROM locations WHERE vessel_id = '{vessel}';"
        f"DELETE FROM vessels WHERE id = '{vessel}'",
    )
    return vessel


async def test_a_vessel_that_is_gone_is_deleted_once_that_is_allowed_and_comes_back(
    origin: Origin, config: Settings
) -> None:
    before = await state(config.target)
    await gone_vessel(origin)
    held = await sync(config, ALL)
    assert (held.exit_status, held.deleted.total()) == (1, 0)
    assert apart(of_the_portal(before), of_the_portal(await state(config.target))) == []
    report = await sync(msgspec.structs.replace(config, allow_deletions=True), ALL)
    assert report.failures == []
    assert (report.exit_status, report.deleted["vessels"]) == (0, 1), (report.deleted, report.updated)
    assert await fetchval(config.target, "SELECT count(*) FROM vessels") == 1
    await undone(config, report)
    assert apart(of_the_portal(before), of_the_portal(await state(config.target))) == []


async def test_a_vessel_with_rows_of_the_portal_s_own_becomes_inactive(
    origin: Origin, config: Settings
) -> None:
    vessel = await gone_vessel(origin)
    mine = "SELECT target_id FROM bulkmig.identities WHERE entity = 'vessel' AND source_id = $1::text::uuid"
    await execute(
        config.target,
        "INSERT INTO equipment (id, vessel_id, qr_code, name, status)"
        f" VALUES (gen_random_uuid(), ({mine}), 'own', 'of the portal', 'operational')",
        vessel,
    )
    report = await sync(msgspec.structs.replace(config, allow_deletions=True), ALL)
    assert report.exit_status == 0
    assert (
        await fetchval(config.target, f"SELECT status FROM vessels WHERE id = ({mine})", vessel) == "inactive"
    )
    assert (
        await fetchval(config.target, f"SELECT count(*) FROM equipment WHERE vessel_id = ({mine})", vessel)
        == 1
    )


async def test_a_company_that_stays_for_an_inactive_vessel_holds_the_brake_once(
    origin: Origin, config: Settings
) -> None:
    await execute(
        config.target,
        "ALTER TABLE users ADD COLUMN aboard uuid REFERENCES vessels;"
        "INSERT INTO companies (id, name, slug) VALUES (gen_random_uuid(), 'of the portal', 'portal');"
        "INSERT INTO users (id, company_id, email, role, aboard) SELECT gen_random_uuid(), c.id, 'a@b.org',"
        " 'admin', (SELECT min(id::text)::uuid FROM vessels) FROM companies c WHERE slug = 'portal'",
    )
    tables = "equipment, critical_parts, documents, quality_scores, cross_references, locations, audit_logs"
    await execute(origin.url, f"TRUNCATE {tables}, vessels, users, companies")
    assert (await sync(config, ALL)).exit_status == 1
    report = await sync(msgspec.structs.replace(config, allow_deletions=True), ALL)
    assert (report.exit_status, report.deleted["vessels"]) == (0, 1)
    assert await fetchval(config.target, "SELECT count(*) FROM vessels WHERE status = 'inactive'") == 1
    assert await fetchval(config.target, "SELECT count(*) FROM companies") == 2
    assert (await sync(config, ALL)).exit_status == 0


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


async def test_equipment_stays_with_a_part_that_target_wins_keeps(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    equipment = await fetchval(origin.url, "SELECT min(equipment_id::text) FROM critical_parts")
    found = "FROM equipment e JOIN equipment_metadata m ON m.equipment_id = e.id WHERE m.original_id"
    parts = f"SELECT count(*) FROM critical_parts WHERE equipment_id = (SELECT e.id {found} = $1::text::uuid)"
    await execute(
        maintenance_url,
        "UPDATE critical_parts SET current_stock = 77 WHERE id = (SELECT min(p.id::text)::uuid"
        f" FROM critical_parts p WHERE p.equipment_id = (SELECT e.id {found} = '{equipment}'))",
    )
    await execute(
        origin.url,
        "BEGIN; SET LOCAL session_replication_role = replica;"
        f" DELETE FROM critical_parts WHERE equipment_id = '{equipment}';"
        f" DELETE FROM equipment WHERE id = '{equipment}'; COMMIT",
    )
    report = await sync(msgspec.structs.replace(config, conflict="target_wins"), ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    assert await fetchval(maintenance_url, parts, equipment) == 1
    again = await sync(config, ALL)
    assert (again.status, again.deleted["equipment"]) == ("completed", 0)
    assert await fetchval(maintenance_url, parts, equipment) == 1
    await execute(
        maintenance_url,
        "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
        f" SELECT gen_random_uuid(), e.id, now(), 'oil' {found} = '{equipment}'",
    )
    logged = await sync(config, ALL)
    assert (logged.status, logged.verified.differences) == ("completed", [])
    assert await fetchval(maintenance_url, f"SELECT e.status {found} = '{equipment}'") == "decommissioned"
    assert await fetchval(maintenance_url, parts, equipment) == 1


async def test_a_row_on_equipment_that_the_portal_deleted_has_nowhere_to_go_and_fails_nothing(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    equipment = await fetchval(origin.url, "SELECT min(equipment_id::text) FROM critical_parts")
    await execute(
        maintenance_url,
        "DELETE FROM equipment WHERE id IN"
        f" (SELECT equipment_id FROM equipment_metadata WHERE original_id = '{equipment}')",
    )
    await execute(
        origin.url,
        "UPDATE critical_parts SET current_stock = 55, updated_at = now()"
        f" WHERE equipment_id = '{equipment}'; INSERT INTO critical_parts"
        " (id, equipment_id, name, created_at, updated_at)"
        f" VALUES (gen_random_uuid(), '{equipment}', 'new', now(), now())",
    )
    report = await sync(config, ALL)
    assert (report.status, report.failures, report.inserted["critical_parts"]) == ("completed", [], 0)
    assert report.conflicts["source_wins"] > 0


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


async def test_a_row_that_comes_to_name_equipment_that_the_portal_has_deleted_keeps_what_was_written(
    origin: Origin, config: Settings
) -> None:
    """The vessel's other rows flow on, and the row follows when the equipment is there again."""
    score = await fetchval(
        origin.url, "SELECT min(id::text) FROM quality_scores WHERE equipment_id IS NOT NULL"
    )
    away = await fetchval(
        origin.url,
        "SELECT min(e.id::text) FROM equipment e JOIN quality_scores s USING (vessel_id)"
        " WHERE s.id = $1::text::uuid AND e.id <> s.equipment_id",
        score,
    )
    of_score = " WHERE id = $1::text::uuid"
    on = (
        "SELECT m.original_id::text FROM quality_scores s JOIN equipment_metadata m USING (equipment_id)"
        " WHERE s.category = 'this'"
    )
    await execute(origin.url, "UPDATE quality_scores SET category = 'this'" + of_score, score)
    await sync(config, ALL)
    before = await fetchval(config.target, on)
    await execute(
        config.target,
        "DELETE FROM equipment WHERE id ="
        " (SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid)",
        away,
    )
    await execute(origin.url, f"UPDATE quality_scores SET equipment_id = '{away}'::uuid" + of_score, score)
    await execute(origin.url, "UPDATE vessels SET flag = 'XX'")
    report = await sync(config, ALL)
    assert (report.exit_status, report.failures, report.updated["vessel_details"]) == (0, [], 2)
    assert before != away
    assert await fetchval(config.target, on) == before
    assert (await verify(config, ALL)).verified.difference_count == 0
    again = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0
    await execute(origin.url, "UPDATE equipment SET name = 'anew'" + of_score, away)
    report = await sync(config, ALL)
    assert (report.exit_status, report.failures) == (0, [])
    assert await fetchval(config.target, on) == away
    assert (await verify(config, ALL)).verified.difference_count == 0


async def test_a_part_that_is_left_of_a_vessel_that_is_gone_stays_with_its_equipment(
    origin: Origin, config: Settings
) -> None:
    """It is quarantined, and so keeps what was written, as long as logs keep what it hangs on."""
    vessel = await fetchval(origin.url, "SELECT min(id::text) FROM vessels")
    part = await fetchval(
        origin.url,
        "SELECT min(p.id::text) FROM critical_parts p JOIN equipment e ON e.id = p.equipment_id"
        " WHERE e.vessel_id = $1::text::uuid",
        vessel,
    )
    equipment = await fetchval(
        origin.url, "SELECT equipment_id::text FROM critical_parts WHERE id = $1::text::uuid", part
    )
    on = "SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid"
    id_ = await fetchval(config.target, on, equipment)
    parts = "SELECT count(*) FROM critical_parts WHERE equipment_id = $1"
    before = await fetchval(config.target, parts, id_)
    await execute(
        config.target,
        "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
        f" VALUES (gen_random_uuid(), '{id_}', now(), 'oil changed')",
    )
    await execute(origin.url, f"CREATE TABLE left_over AS SELECT * FROM critical_parts WHERE id = '{part}'")
    await gone_vessel(origin, vessel)
    await execute(
        origin.url,
        "SET session_replication_role = replica;"
        "INSERT INTO critical_parts SELECT * FROM left_over; DROP TABLE left_over",
    )
    report = await sync(msgspec.structs.replace(config, allow_deletions=True), ALL)
    assert (report.exit_status, report.failures) == (0, [])
    assert (before > 0, await fetchval(config.target, parts, id_)) == (True, 1)
    assert (
        await fetchval(config.target, "SELECT status FROM equipment WHERE id = $1", id_) == "decommissioned"
    )


async def test_one_checkpoint_has_all_companies_that_a_run_changes_one_after_the_other(
    fleets: Fleets, maintenance_url: str
) -> None:
    """Those with new users, those whose users have changed, and those whose users go."""
    origin = await fleets(replace(SPEC, vessels=3, companies=3), fresh=True)
    config = settings(origin, maintenance_url)
    await migrate(config, ALL)
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


@pytest.mark.parametrize("why", ["the brake", "target_wins", "manual"])
async def test_scores_keep_an_assessor_who_is_gone_from_the_source_and_stays(
    fleets: Fleets, maintenance_url: str, why: str
) -> None:
    """Since the brake holds the company, or the strategy keeps what the portal has changed."""
    origin = await fleets(replace(SPEC, companies=2), fresh=True)
    config = settings(origin, maintenance_url)
    company = await fetchval(origin.url, "SELECT max(company_id::text) FROM vessels")
    user = await fetchval(
        origin.url,
        "UPDATE quality_scores SET assessed_by = (SELECT min(id::text)::uuid FROM users"
        " WHERE company_id = $1::text::uuid) RETURNING assessed_by::text",
        company,
    )
    await migrate(config, ALL)
    assessed = "SELECT count(*) FROM quality_scores WHERE assessed_by IS NOT NULL"
    before = await fetchval(maintenance_url, assessed)
    assert before > 0
    if why == "the brake":
        await execute(
            origin.url,
            f"UPDATE vessels SET company_id = (SELECT id FROM companies WHERE id <> '{company}');"
            f"DELETE FROM users WHERE company_id = '{company}'; DELETE FROM companies WHERE id = '{company}'",
        )
    else:
        config = msgspec.structs.replace(config, conflict=why)
        await execute(
            maintenance_url,
            "UPDATE users SET first_name = 'portal' WHERE id = (SELECT target_id FROM bulkmig.identities"
            f" WHERE entity = 'user' AND source_id = '{user}')",
        )
        await execute(origin.url, f"DELETE FROM users WHERE id = '{user}'")
    report = await sync(config, ALL)
    assert (report.failures, report.held_back > 0) == ([], why == "the brake")
    assert await fetchval(maintenance_url, assessed) == before
    assert (await verify(config, ALL)).verified.difference_count == 0
    again = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0


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


async def test_a_reference_that_went_with_equipment_comes_back_in_the_sync_that_brings_it_back(
    fleets: Fleets, maintenance_url: str
) -> None:
    """Of another vessel, and in whichever order the two are looked at."""
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, maintenance_url)
    one, other = await rows(origin.url, "SELECT min(id::text) FROM equipment GROUP BY vessel_id ORDER BY 1")
    await execute(
        origin.url,
        "INSERT INTO cross_references"
        " (id, vessel_id, source_equipment_id, target_equipment_id, reference_type)"
        f" SELECT gen_random_uuid(), vessel_id, '{one}', '{other}', 'lasting' FROM equipment"
        f" WHERE id IN ('{one}', '{other}')",
    )
    await migrate(config, ALL)
    there = "SELECT count(*) FROM cross_references WHERE reference_type = 'lasting'"
    assert await fetchval(maintenance_url, there) == 2
    await execute(
        maintenance_url,
        "DELETE FROM equipment WHERE id ="
        " (SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid)",
        other,
    )
    await execute(origin.url, "UPDATE cross_references SET notes = 'x' WHERE reference_type = 'lasting'")
    assert (await sync(config, ALL)).exit_status == 0
    assert await fetchval(maintenance_url, there) == 0
    await execute(origin.url, "UPDATE equipment SET name = 'anew' WHERE id = $1::text::uuid", other)
    assert (await sync(config, ALL)).exit_status == 0
    assert await fetchval(maintenance_url, there) == 2
    assert (await verify(config, ALL)).verified.difference_count == 0
