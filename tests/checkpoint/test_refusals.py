"""When a rollback must not be done, nothing changes, and the message says why."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import asdict

from bulkmig import PreflightError, Selection, Settings, rollback
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import (
    EQUIPMENT_OF,
    a_vessel_with_equipment,
    execute,
    fetchval,
    flip,
    migrated,
    refused,
    rows,
    settings,
    state,
    table,
    undone,
)
from tests.support.dumps import apart
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=4, vessels=2, equipment=12)
ALL = Selection(all=True)
VESSELS = "SELECT DISTINCT source_id::text FROM bulkmig.identities WHERE entity = 'vessel'"
Damage = Callable[[str], Awaitable[object]]


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    file = tmp_path / "key"
    file.write_text(base64.b64encode(os.urandom(32)).decode())
    return str(file)


async def rolled_back_then_damaged(
    fleets: Fleets, target: str, damage: Damage, key_file: str = ""
) -> list[str]:
    """Rolls a run back, damages the checkpoint that holds its rows, and tries to bring them back; returns the
    messages of the refusal: one for companies, and one for each vessel."""
    origin, config, report = await migrated(fleets, SPEC, target, key_file=key_file)
    back = await undone(config, report)
    await damage(target)
    failures = (await refused(config, run=back.run_id)).failures
    assert {one.vessel_id for one in failures} == {"", *origin.approved}
    return [one.error for one in failures]


def flips(*, forged: bool = False) -> Damage:
    return lambda target: flip(target, "WHERE role = 'state'", at=30, forged=forged)


def runs(statement: str) -> Damage:
    return lambda target: execute(target, statement)


async def test_a_flipped_byte_is_an_error_that_names_the_checkpoint(
    fleets: Fleets, maintenance_url: str
) -> None:
    messages = await rolled_back_then_damaged(fleets, maintenance_url, flips())
    assert all("is not what was stored" in one for one in messages)


async def test_so_it_is_in_an_encrypted_one_even_if_its_digest_was_made_to_fit(
    fleets: Fleets, maintenance_url: str, key_file: str
) -> None:
    messages = await rolled_back_then_damaged(fleets, maintenance_url, flips(forged=True), key_file)
    assert all("is not what was stored" in one for one in messages)


async def test_a_part_that_was_put_in_another_s_place_does_not_open(
    fleets: Fleets, maintenance_url: str, key_file: str
) -> None:
    swap = (
        "UPDATE bulkmig.checkpoint_parts p SET payload = o.payload, digest = o.digest"
        " FROM bulkmig.checkpoint_parts o WHERE p.role = 'state' AND o.checkpoint_id = p.checkpoint_id"
        " AND o.role = 'state' AND o.part <> p.part"
    )
    messages = await rolled_back_then_damaged(fleets, maintenance_url, runs(swap), key_file)
    assert all("is not what was stored" in one for one in messages)


@pytest.mark.parametrize("gone", ["DELETE FROM {}", "UPDATE {} SET role = 'stats'"])
async def test_a_part_that_is_missing_or_that_nobody_would_read_is_an_error(
    fleets: Fleets, maintenance_url: str, gone: str
) -> None:
    statement = gone.format("bulkmig.checkpoint_parts") + " WHERE part = 1"
    messages = await rolled_back_then_damaged(fleets, maintenance_url, runs(statement))
    assert all(re.search(r"has \d+ of its \d+ parts", message) for message in messages)


async def test_a_wrong_key_and_no_key_are_errors_and_the_right_one_restores(
    fleets: Fleets, maintenance_url: str, key_file: str, tmp_path: Path
) -> None:
    origin, config, report = await migrated(fleets, SPEC, maintenance_url, key_file=key_file)
    complete = await state(maintenance_url)
    back = await undone(config, report)
    other = tmp_path / "other"
    other.write_text(os.urandom(32).hex())
    for wrong, word in ((str(other), "key"), ("", "encrypted")):
        with pytest.raises(PreflightError, match=word):
            await rollback(settings(origin, maintenance_url, key_file=wrong), run=back.run_id)
    await undone(config, back)
    assert apart(complete, await state(maintenance_url)) == []


@pytest.mark.parametrize("force", [False, True])
async def test_a_unique_value_that_another_row_has_by_now_is_named_and_refused(
    fleets: Fleets, maintenance_url: str, force: bool
) -> None:
    _, config, _ = await migrated(fleets, SPEC, maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    code = await fetchval(maintenance_url, f"SELECT qr_code {EQUIPMENT_OF} LIMIT 1", vessel)
    back = await undone(config, vessel=vessel)
    taker = await fetchval(
        maintenance_url,
        "INSERT INTO equipment (id, vessel_id, qr_code, name, status)"
        " SELECT gen_random_uuid(), id, $1, 'of the portal', 'operational' FROM vessels LIMIT 1"
        " RETURNING id::text",
        code,
    )
    again = await refused(config, run=back.run_id, force=force)
    assert taker in again.failures[0].error
    assert "qr_code" in again.failures[0].error


async def test_a_user_and_a_company_that_were_deleted_since_come_back_with_the_vessel(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, _ = await migrated(fleets, SPEC, maintenance_url)
    complete = await state(maintenance_url)
    backs = [await undone(config, vessel=row) for row in await rows(maintenance_url, VESSELS)]
    await execute(maintenance_url, "DELETE FROM users; DELETE FROM companies")
    for back in backs[::-1]:
        await undone(config, back)
    # The rows of the vessels, their companies, and the users that they refer to.
    found = await state(maintenance_url)
    for name in ("vessels", "equipment", "quality_scores", "equipment_documents"):
        assert found[name] == complete[name]
    assert set(found["users"].splitlines()) <= set(complete["users"].splitlines())
    assert await fetchval(maintenance_url, "SELECT count(*) FROM companies") > 0


async def test_a_user_whose_email_another_has_by_now_does_not_come_back_with_it_and_that_is_refused(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, _ = await migrated(fleets, SPEC, maintenance_url)
    email = await fetchval(
        maintenance_url, "SELECT min(u.email) FROM users u JOIN quality_scores q ON q.assessed_by = u.id"
    )
    backs = [await undone(config, vessel=row) for row in await rows(maintenance_url, VESSELS)]
    await execute(maintenance_url, "DELETE FROM users")
    taker = await fetchval(
        maintenance_url,
        "INSERT INTO users (id, company_id, email, role)"
        " SELECT gen_random_uuid(), id, $1, 'manager' FROM companies LIMIT 1 RETURNING id::text",
        email,
    )
    errors = [
        failure.error
        for back in backs[::-1]
        for failure in (await rollback(config, run=back.run_id)).failures
    ]
    assert len(errors) == 1
    assert f"users.email: the value that is to come back belongs to row {taker}" in errors[0]


async def given_up(config: Settings, vessel: str) -> None:
    """Rolls a vessel back with force, and that back again: everything is as it was."""
    before = await state(config.target)
    forced = await rollback(config, vessel=vessel, force=True)
    assert forced.status == "completed"
    await undone(config, forced)
    assert apart(before, await state(config.target)) == []


async def test_a_reference_of_the_portal_to_equipment_that_goes_is_drift(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, _ = await migrated(fleets, SPEC, maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    id_ = await fetchval(
        maintenance_url,
        "INSERT INTO cross_references"
        " (id, vessel_id, source_equipment_id, target_equipment_id, reference_type)"
        " SELECT gen_random_uuid(), o.vessel_id, o.id, e.id, 'spare of' FROM equipment e"
        " JOIN bulkmig.identities i ON i.target_id = e.vessel_id"
        " JOIN equipment o ON o.vessel_id <> e.vessel_id"
        " WHERE i.source_id = $1::text::uuid LIMIT 1 RETURNING id::text",
        vessel,
    )
    told = await refused(config, vessel=vessel)
    assert [asdict(row) for row in told.refused] == [
        {"table": "cross_references", "id": id_, "change": "added"}
    ]
    await given_up(config, vessel)


async def test_rows_changed_and_deleted_by_the_portal_are_listed_and_given_up_with_force(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, _ = await migrated(fleets, SPEC, maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    changed = await fetchval(
        maintenance_url,
        "UPDATE equipment SET name = name || '!', updated_at = now()"
        f" WHERE id = (SELECT min(e.id::text)::uuid {EQUIPMENT_OF}) RETURNING id::text",
        vessel,
    )
    deleted = await fetchval(
        maintenance_url,
        "DELETE FROM critical_parts WHERE id = (SELECT p.id FROM critical_parts p"
        f" WHERE p.equipment_id IN (SELECT e.id {EQUIPMENT_OF}) LIMIT 1) RETURNING id::text",
        vessel,
    )
    told = await refused(config, vessel=vessel)
    found = {(row.table, row.id, row.change) for row in told.refused}
    assert {("equipment", changed, "changed"), ("critical_parts", deleted, "deleted")} <= found
    assert {table for table, _, _ in found} == {"equipment", "critical_parts", "part_details"}
    await given_up(config, vessel)


async def test_equipment_that_the_portal_moved_to_another_vessel_is_listed_and_given_up_with_force(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, _ = await migrated(fleets, SPEC, maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    moved = await fetchval(
        maintenance_url,
        "UPDATE equipment SET vessel_id = (SELECT target_id FROM bulkmig.identities"
        " WHERE entity = 'vessel' AND source_id <> $1::text::uuid)"
        f" WHERE id = (SELECT min(e.id::text)::uuid {EQUIPMENT_OF}) RETURNING id::text",
        vessel,
    )
    told = await refused(config, vessel=vessel)
    assert ("equipment", moved, "changed") in {(row.table, row.id, row.change) for row in told.refused}
    await given_up(config, vessel)


async def test_a_user_whom_the_portal_changed_goes_with_force_and_then_back_and_forth_without(
    fleets: Fleets, maintenance_url: str
) -> None:
    """What a rollback put back is as it was, not as it was last written."""
    _, config, report = await migrated(fleets, SPEC, maintenance_url)
    await execute(
        maintenance_url,
        "UPDATE users SET is_active = NOT is_active, updated_at = now()"
        " WHERE id = (SELECT min(id::text)::uuid FROM users)",
    )
    before = await state(maintenance_url)
    there = await rollback(config, run=report.run_id, force=True)
    assert there.status == "completed"
    for _ in range(2):
        back = await undone(config, there)
        assert apart(before, await state(maintenance_url)) == []
        there = await undone(config, back)
        assert await rows(maintenance_url, "SELECT id FROM users") == []


async def test_what_the_portal_changed_is_not_given_up_since_a_conflict_about_it_is_open(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, report = await migrated(fleets, SPEC, maintenance_url, fresh=True, conflict="manual")
    vessel = await a_vessel_with_equipment(maintenance_url)
    id_, source_id = (
        await table(
            maintenance_url,
            "SELECT e.id::text, m.original_id::text FROM equipment e"
            " JOIN equipment_metadata m ON m.equipment_id = e.id WHERE e.vessel_id ="
            " (SELECT target_id FROM bulkmig.identities WHERE entity = 'vessel'"
            " AND source_id = $1::text::uuid) ORDER BY e.id LIMIT 1",
            vessel,
        )
    )[0]
    await execute(maintenance_url, f"UPDATE equipment SET name = 'portal' WHERE id = '{id_}'")
    await execute(
        origin.url, f"UPDATE equipment SET name = 'source', updated_at = now() WHERE id = '{source_id}'"
    )
    assert (await sync(config, ALL)).conflicts["open"] == 1
    checkpoint = await fetchval(
        maintenance_url,
        "SELECT id::text FROM bulkmig.checkpoints WHERE run_id = $1::text::uuid"
        " AND vessel_id = $2::text::uuid",
        report.run_id,
        vessel,
    )
    told = await refused(config, checkpoint=checkpoint)
    assert [asdict(row) for row in told.refused] == [{"table": "equipment", "id": id_, "change": "changed"}]


async def test_what_the_portal_changed_of_a_company_that_a_vessel_brought_back_is_not_given_up(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, report = await migrated(fleets, SPEC, maintenance_url)
    back = await undone(config, report)
    (checkpoint, _), *_ = await table(
        maintenance_url,
        "SELECT c.id::text, c.vessel_id::text FROM bulkmig.checkpoints c"
        " WHERE c.run_id = $1::text::uuid AND c.vessel_id IS NOT NULL ORDER BY c.seq",
        back.run_id,
    )
    await undone(config, checkpoint=checkpoint)
    company = await fetchval(maintenance_url, "UPDATE companies SET name = 'portal' RETURNING id::text")
    told = await rollback(config, run=back.run_id)
    assert await rows(maintenance_url, "SELECT name FROM companies") == ["portal"]
    assert ("companies", company, "changed") in {(row.table, row.id, row.change) for row in told.refused}


async def test_what_the_portal_added_before_a_change_that_was_undone_is_not_given_up_with_an_older_one(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    vessel = await a_vessel_with_equipment(maintenance_url)
    log = await fetchval(
        maintenance_url,
        "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
        f" SELECT gen_random_uuid(), min(e.id::text)::uuid, now(), 'oil' {EQUIPMENT_OF} RETURNING id::text",
        vessel,
    )
    await execute(
        origin.url,
        "UPDATE vessels SET flag = 'NO', updated_at = now() WHERE id = $1::text::uuid",
        vessel,
    )
    await sync(config, ALL)
    await undone(config, vessel=vessel)
    told = await refused(config, vessel=vessel)
    assert [asdict(row) for row in told.refused] == [
        {"table": "maintenance_logs", "id": log, "change": "added"}
    ]


async def test_so_it_is_with_a_user_whom_the_portal_changed_before_a_change_of_companies_that_was_undone(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin, config, report = await migrated(fleets, SPEC, maintenance_url, fresh=True)
    user = await fetchval(
        maintenance_url,
        "UPDATE users SET first_name = 'portal' WHERE id = (SELECT min(id::text)::uuid FROM users)"
        " RETURNING id::text",
    )
    await execute(origin.url, "UPDATE companies SET name = 'source', updated_at = now()")
    await undone(config, await sync(config, ALL))
    told = await rollback(config, run=report.run_id)
    assert await rows(maintenance_url, f"SELECT first_name FROM users WHERE id = '{user}'") == ["portal"]
    assert ("users", user, "changed") in {(row.table, row.id, row.change) for row in told.refused}
