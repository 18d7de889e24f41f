"""What the source has no more goes, but for the brake and for what the portal has on it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from bulkmig import Settings, migrate, verify
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, settings, state, undone
from tests.checkpoint.test_rollback import of_the_portal
from tests.oracle.contract import TABLES
from tests.support.dumps import apart
from tests.support.fleets import Fleets, Origin
from tests.sync.scene import ALL, gone_vessel, lasting

SPEC = FleetSpec(seed=5, vessels=2, companies=1, users_per_company=3, equipment=14)


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


async def test_what_was_in_quarantine_of_it_is_listed_no_more(origin: Origin, config: Settings) -> None:
    listed = "SELECT count(*) FROM bulkmig.quarantine WHERE vessel_id = $1::text::uuid"
    vessel = await fetchval(origin.url, "SELECT min(id::text) FROM vessels")
    await execute(
        origin.url,
        f"UPDATE equipment SET name = '', updated_at = '2031-01-01' WHERE vessel_id = '{vessel}'",
    )
    await sync(config, ALL)
    assert await fetchval(config.target, listed, vessel) > 0
    await gone_vessel(origin, vessel)
    report = await sync(msgspec.structs.replace(config, allow_deletions=True), ALL)
    assert report.deleted["vessels"] == 1
    assert await fetchval(config.target, listed, vessel) == 0


async def test_rows_that_go_are_counted_table_by_table(origin: Origin, config: Settings) -> None:
    before = await _counts(config.target)
    await execute(origin.url, "DELETE FROM documents WHERE equipment_id IS NOT NULL")
    report = await sync(config, ALL)
    documents = await _counts(config.target)
    assert (report.deleted, report.deleted["vessel_documents"]) == (before - documents, 0)
    await gone_vessel(origin)
    report = await sync(msgspec.structs.replace(config, allow_deletions=True), ALL)
    assert report.deleted == documents - await _counts(config.target)
    assert report.deleted["vessel_documents"] > 0


async def _counts(url: str) -> Counter[str]:
    """How many rows each table of the portal has."""
    return Counter({name: await fetchval(url, f"SELECT count(*) FROM {name}") for name in TABLES})


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
