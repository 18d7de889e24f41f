"""Tables that only the portal knows hang on what the source loses: by any unique column, with any key."""

from __future__ import annotations

import msgspec
import pytest

from bulkmig import Settings, verify
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, state, undone
from tests.support.dumps import apart
from tests.support.fleets import Origin
from tests.sync.scene import ALL, gone_vessel, lasting

SPEC = FleetSpec(seed=5, vessels=2, companies=1, users_per_company=3, equipment=14)


async def _synchronised(config: Settings) -> None:
    """Syncs, twice; the second time nothing is left to do."""
    report = await sync(config, ALL)
    assert (report.status, report.failures, report.verified.differences) == ("completed", [], [])
    again = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (again.updated.total(), again.deleted.total(), again.inserted.total()) == (0, 0, 0)
    assert (await verify(config, ALL)).verified.difference_count == 0


@pytest.mark.parametrize("action", ["", " ON DELETE CASCADE"])
async def test_equipment_that_a_label_names_by_its_qr_code_is_decommissioned(
    origin: Origin, config: Settings, action: str
) -> None:
    source_id = await _equipment(origin)
    code = await fetchval(
        config.target,
        "SELECT e.qr_code FROM equipment e JOIN equipment_metadata m ON m.equipment_id = e.id"
        " WHERE m.original_id = $1::text::uuid",
        source_id,
    )
    await execute(
        config.target,
        f"CREATE TABLE labels (id int PRIMARY KEY, code text REFERENCES equipment (qr_code){action})",
    )
    await execute(config.target, f"INSERT INTO labels (id, code) VALUES (1, '{code}')")
    await _gone_equipment(origin, source_id)
    await _synchronised(config)
    found = await fetchval(config.target, f"SELECT status FROM equipment WHERE qr_code = '{code}'")
    assert (found, await fetchval(config.target, "SELECT count(*) FROM labels")) == ("decommissioned", 1)


@pytest.mark.parametrize("action", ["", " ON DELETE CASCADE"])
@pytest.mark.parametrize("column", ["equipment_id", "original_id"])
async def test_equipment_whose_details_the_portal_s_table_names_is_decommissioned(
    origin: Origin, config: Settings, column: str, action: str
) -> None:
    source_id = await _equipment(origin)
    await execute(
        config.target,
        f"CREATE TABLE labels (id int PRIMARY KEY, of uuid REFERENCES equipment_metadata ({column}){action})",
    )
    await execute(
        config.target,
        f"INSERT INTO labels (id, of) SELECT 1, {column} FROM equipment_metadata"
        f" WHERE original_id = '{source_id}'",
    )
    await _gone_equipment(origin, source_id)
    await _synchronised(config)
    found = await fetchval(
        config.target,
        "SELECT e.status FROM equipment e JOIN equipment_metadata m ON m.equipment_id = e.id"
        " WHERE m.original_id = $1::text::uuid",
        source_id,
    )
    assert (found, await fetchval(config.target, "SELECT count(*) FROM labels")) == ("decommissioned", 1)


async def _equipment(origin: Origin) -> str:
    """The source id of equipment that no cross reference names."""
    found: str = await fetchval(
        origin.url,
        "SELECT min(id::text) FROM equipment e WHERE NOT EXISTS (SELECT FROM cross_references c"
        " WHERE e.id IN (c.source_equipment_id, c.target_equipment_id))",
    )
    return found


async def _gone_equipment(origin: Origin, source_id: str) -> None:
    """Deletes it from the source with what hangs on it, but for documents."""
    for table in ("critical_parts", "quality_scores"):
        await execute(origin.url, f"DELETE FROM {table} WHERE equipment_id = '{source_id}'")
    await execute(origin.url, f"UPDATE documents SET equipment_id = NULL WHERE equipment_id = '{source_id}'")
    await execute(origin.url, f"DELETE FROM equipment WHERE id = '{source_id}'")


@pytest.mark.parametrize("action", ["", " ON DELETE CASCADE"])
async def test_a_user_whose_details_the_portal_s_table_names_becomes_inactive(
    origin: Origin, config: Settings, action: str
) -> None:
    source_id, email = await _a_user(origin, config)
    await execute(
        config.target,
        f"CREATE TABLE badges (id int PRIMARY KEY, of uuid REFERENCES user_metadata{action})",
    )
    await execute(
        config.target, f"INSERT INTO badges (id, of) SELECT 1, id FROM users WHERE email = '{email}'"
    )
    await execute(origin.url, f"DELETE FROM users WHERE id = '{source_id}'")
    await _synchronised(config)
    active = await fetchval(config.target, f"SELECT is_active::text FROM users WHERE email = '{email}'")
    assert (active, await fetchval(config.target, "SELECT count(*) FROM badges")) == ("false", 1)


async def test_a_user_whom_a_login_names_by_his_e_mail_becomes_inactive(
    origin: Origin, config: Settings
) -> None:
    source_id, email = await _a_user(origin, config)
    await execute(
        config.target, "CREATE TABLE logins (id int PRIMARY KEY, email text REFERENCES users (email))"
    )
    await execute(config.target, f"INSERT INTO logins (id, email) VALUES (1, '{email}')")
    await execute(origin.url, f"DELETE FROM users WHERE id = '{source_id}'")
    await _synchronised(config)
    active = await fetchval(config.target, f"SELECT is_active::text FROM users WHERE email = '{email}'")
    assert active == "false"


async def _a_user(origin: Origin, config: Settings) -> tuple[str, str]:
    """A user who is in the target: source id and e-mail."""
    email = await fetchval(
        config.target,
        "SELECT min(u.email) FROM users u JOIN bulkmig.identities i ON i.target_id = u.id"
        " WHERE i.entity = 'user'",
    )
    return await fetchval(origin.url, f"SELECT min(id::text) FROM users WHERE email = '{email}'"), email


@pytest.mark.parametrize(("column", "kind"), [("id", "uuid"), ("imo_number", "text")])
async def test_a_vessel_that_the_portal_s_table_names_in_its_second_column_becomes_inactive(
    origin: Origin, config: Settings, column: str, kind: str
) -> None:
    vessel = await fetchval(
        origin.url,
        "SELECT min(id::text) FROM vessels"
        " WHERE imo_number <> '' AND id IN (SELECT vessel_id FROM equipment)",
    )
    await execute(
        config.target,
        "CREATE TABLE calls"
        f" (id int PRIMARY KEY, a uuid REFERENCES vessels, b {kind} REFERENCES vessels ({column}))",
    )
    await execute(
        config.target,
        f"INSERT INTO calls (id, b) SELECT 1, v.{column} FROM vessels v"
        f" JOIN bulkmig.identities i ON i.target_id = v.id WHERE i.source_id = '{vessel}'",
    )
    await gone_vessel(origin, vessel)
    await _synchronised(msgspec.structs.replace(config, allow_deletions=True))
    status = await fetchval(
        config.target,
        "SELECT v.status FROM vessels v JOIN bulkmig.identities i ON i.target_id = v.id"
        " WHERE i.source_id = $1::text::uuid",
        vessel,
    )
    assert status == "inactive"


async def test_a_part_goes_with_what_the_portal_s_tables_have_on_it_and_comes_back_with_it(
    origin: Origin, config: Settings
) -> None:
    await execute(
        config.target,
        "CREATE TABLE moves (id int PRIMARY KEY, part_id uuid REFERENCES critical_parts ON DELETE CASCADE)",
    )
    await execute(
        config.target,
        "CREATE TABLE lines (id int PRIMARY KEY, move int REFERENCES moves ON DELETE CASCADE)",
    )
    await execute(
        config.target, "INSERT INTO moves (id, part_id) SELECT 1, min(id::text)::uuid FROM critical_parts"
    )
    await execute(config.target, "INSERT INTO lines (id, move) VALUES (1, 1)")
    before = await state(config.target)
    await _without_the_part(origin, config)
    report = await sync(config, ALL)
    assert (report.status, report.failures, report.deleted["critical_parts"]) == ("completed", [], 1)
    assert await fetchval(config.target, "SELECT count(*) FROM lines") == 0
    await undone(config, report)
    assert apart(lasting(before), lasting(await state(config.target))) == []


async def test_a_part_goes_though_a_table_without_a_key_hangs_on_it(origin: Origin, config: Settings) -> None:
    await execute(
        config.target,
        "CREATE TABLE notes (part_id uuid REFERENCES critical_parts ON DELETE CASCADE, note text)",
    )
    await execute(config.target, "INSERT INTO notes (part_id) SELECT min(id::text)::uuid FROM critical_parts")
    await _without_the_part(origin, config)
    await _synchronised(config)
    assert await fetchval(config.target, "SELECT count(*) FROM notes") == 0


async def _without_the_part(origin: Origin, config: Settings) -> None:
    """Deletes the first part of the target from the source."""
    row = await fetchval(
        config.target,
        "SELECT concat_ws('/', m.original_id::text, d.original_part_number) FROM critical_parts p"
        " JOIN part_details d ON d.part_id = p.id"
        " JOIN equipment_metadata m ON m.equipment_id = p.equipment_id"
        " WHERE p.id = (SELECT min(id::text)::uuid FROM critical_parts)",
    )
    equipment, _, number = row.partition("/")
    await execute(
        origin.url,
        f"DELETE FROM critical_parts WHERE equipment_id = '{equipment}' AND part_number = '{number}'",
    )
