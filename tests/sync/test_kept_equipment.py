"""Equipment that the source has no more and on which a part hangs about which somebody has to decide; and
vessels on which such things were left."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bulkmig import Settings, migrate, resolve
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, rows, state, undone
from tests.support.dumps import apart
from tests.sync.scene import ALL, lasting

COMPANY, VESSEL, PUMP, VALVE, SEAL, DISC = (f"0000000{n}-0000-4000-8000-000000000000" for n in range(1, 7))
ROWS = f"""
INSERT INTO companies (id, name, code) VALUES ('{COMPANY}', 'c', 'c');
INSERT INTO vessels (id, company_id, name, onboarding_status)
VALUES ('{VESSEL}', '{COMPANY}', 'v', 'APPROVED');
INSERT INTO equipment (id, vessel_id, name)
VALUES ('{PUMP}', '{VESSEL}', 'pump'), ('{VALVE}', '{VESSEL}', 'valve');
INSERT INTO critical_parts (id, equipment_id, name, part_number)
VALUES ('{SEAL}', '{PUMP}', 'seal', 'S1'), ('{DISC}', '{VALVE}', 'disc', 'D1');
"""
GONE = f"DELETE FROM critical_parts WHERE id = '{SEAL}'; DELETE FROM equipment WHERE id = '{PUMP}'"


async def there(url: str) -> list[str]:
    """The names of the parts and the equipment that the target has."""
    return await rows(
        url, "SELECT description FROM critical_parts UNION SELECT name FROM equipment ORDER BY 1"
    )


async def with_a_changed_seal(source: str, target: str) -> Settings:
    """The rows migrated, and the seal changed by the portal; how the tests sync."""
    config = Settings(source=source, target=target, conflict="manual")
    await execute(source, ROWS)
    await migrate(config, ALL)
    await execute(target, "UPDATE critical_parts SET description = 'own' WHERE description = 'seal'")
    return config


async def seals_conflict(url: str) -> str:
    """The id of the conflict about the seal."""
    id_: str = await fetchval(
        url, f"SELECT id::text FROM bulkmig.conflicts WHERE source_id = '{SEAL}' AND status = 'open'"
    )
    return id_


async def test_it_stays_with_the_part_until_that_is_decided(
    onboarding_url: str, maintenance_url: str
) -> None:
    config = await with_a_changed_seal(onboarding_url, maintenance_url)
    await execute(maintenance_url, "DELETE FROM critical_parts WHERE description = 'disc'")
    await execute(onboarding_url, GONE)
    await execute(onboarding_url, "UPDATE critical_parts SET name = 'plate', updated_at = now()")
    before = await state(maintenance_url)
    report = await sync(config, ALL)
    assert (report.exit_status, report.conflicts["open"], report.verified.differences) == (0, 2, [])
    assert await there(maintenance_url) == ["own", "pump", "valve"]
    back = await undone(config, report)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []
    await undone(config, back)
    await resolve(config, [await seals_conflict(maintenance_url)], take="source")
    assert (await sync(replace(config, conflict="source_wins"), ALL)).exit_status == 0
    assert await there(maintenance_url) == ["valve"]


async def test_what_the_portal_changed_of_it_is_decided_once(
    onboarding_url: str, maintenance_url: str
) -> None:
    config = await with_a_changed_seal(onboarding_url, maintenance_url)
    await execute(onboarding_url, "UPDATE critical_parts SET name = name || '!', updated_at = now()")
    assert (await sync(config, ALL)).conflicts["open"] == 1
    await execute(maintenance_url, "UPDATE equipment SET name = 'own pump' WHERE name = 'pump'")
    await execute(onboarding_url, GONE)
    for conflicts in (1, 0):
        report = await sync(replace(config, conflict="source_wins", full=True), ALL)
        assert (report.exit_status, report.conflicts["source_wins"]) == (0, conflicts)
        assert (report.deleted + report.updated).total() == 0
        assert await there(maintenance_url) == ["disc!", "own", "own pump", "valve"]
    await resolve(config, [await seals_conflict(maintenance_url)], take="source")
    report = await sync(replace(config, conflict="source_wins"), ALL)
    assert (report.exit_status, report.conflicts.total()) == (0, 0)
    assert await there(maintenance_url) == ["disc!", "valve"]


async def test_it_stays_with_a_part_that_would_leave_it(onboarding_url: str, maintenance_url: str) -> None:
    config = await with_a_changed_seal(onboarding_url, maintenance_url)
    await execute(
        onboarding_url,
        f"UPDATE critical_parts SET equipment_id = '{VALVE}', updated_at = now();"
        f"DELETE FROM equipment WHERE id = '{PUMP}'",
    )
    report = await sync(config, ALL)
    assert (report.exit_status, report.conflicts["open"], report.verified.differences) == (0, 1, [])
    assert await there(maintenance_url) == ["disc", "own", "pump", "valve"]


async def checkpoints(url: str) -> int:
    """How many there are: a change takes one."""
    count: int = await fetchval(url, "SELECT count(*) FROM bulkmig.checkpoints")
    return count


LOGGED = (
    "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
    " SELECT gen_random_uuid(), id, now(), 'oil' FROM equipment WHERE name = 'pump'"
)


async def test_nothing_changes_as_long_as_what_it_stays_for_is_there(
    onboarding_url: str, maintenance_url: str
) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url, conflict="manual")
    await execute(onboarding_url, ROWS)
    await migrate(config, ALL)
    status = "SELECT status FROM equipment WHERE name = 'pump'"
    await execute(maintenance_url, "UPDATE critical_parts SET description = 'own' WHERE description = 'seal'")
    await execute(onboarding_url, GONE)
    await sync(config, ALL)
    taken = await checkpoints(maintenance_url)
    assert (await sync(config, ALL)).exit_status == 0
    assert (await checkpoints(maintenance_url), await fetchval(maintenance_url, status)) == (
        taken,
        "operational",
    )
    await execute(maintenance_url, LOGGED)
    for _ in range(2):
        assert (await sync(config, ALL)).exit_status == 0
        assert await fetchval(maintenance_url, status) == "decommissioned"
        assert await checkpoints(maintenance_url) == taken + 1
    await resolve(config, [await seals_conflict(maintenance_url)], take="source")
    taken = await checkpoints(maintenance_url)
    assert (await sync(config, ALL)).exit_status == 0
    assert (await checkpoints(maintenance_url), await there(maintenance_url)) == (
        taken,
        ["disc", "pump", "valve"],
    )
    await execute(maintenance_url, "DELETE FROM maintenance_logs")
    assert (await sync(config, ALL)).deleted["equipment"] == 1
    assert await there(maintenance_url) == ["disc", "valve"]


async def test_what_stayed_with_a_row_goes_along_with_its_vessel(
    onboarding_url: str, maintenance_url: str
) -> None:
    """A paper that the portal's side kept on equipment lets go of it as the vessel goes: nothing stays."""
    config = Settings(source=onboarding_url, target=maintenance_url)
    await execute(onboarding_url, ROWS)
    await execute(
        onboarding_url,
        "INSERT INTO documents (id, vessel_id, equipment_id, document_type, name, file_path)"
        f" VALUES (gen_random_uuid(), '{VESSEL}', '{PUMP}', 'MANUAL', 'paper', 's3://b/k')",
    )
    await migrate(config, ALL)
    await execute(maintenance_url, "UPDATE equipment_documents SET file_name = 'own'")
    await execute(onboarding_url, "UPDATE documents SET equipment_id = NULL, updated_at = now();" + GONE)
    assert (await sync(replace(config, conflict="target_wins"), ALL)).exit_status == 0
    assert await there(maintenance_url) == ["disc", "pump", "valve"]
    await execute(onboarding_url, "TRUNCATE documents, critical_parts, equipment, vessels CASCADE")
    report = await sync(replace(config, allow_deletions=True), ALL)
    assert (report.exit_status, report.deleted["vessels"], report.deleted["equipment"]) == (0, 1, 2)
    assert await there(maintenance_url) == []


OWN = (
    "INSERT INTO equipment (id, vessel_id, qr_code, name, status)"
    " SELECT gen_random_uuid(), id, 'own', 'of the portal', 'operational' FROM vessels"
)


@pytest.mark.parametrize(
    ("comes", "goes"),
    [
        (OWN, "DELETE FROM equipment WHERE name = 'of the portal'"),
        (LOGGED, "DELETE FROM maintenance_logs"),
    ],
    ids=["a row of the portal's own", "a log"],
)
async def test_a_vessel_that_stayed_for_something_goes_when_that_is_gone(
    onboarding_url: str, maintenance_url: str, comes: str, goes: str
) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url, allow_deletions=True)
    await execute(onboarding_url, ROWS)
    await migrate(config, ALL)
    await execute(maintenance_url, comes)
    await execute(onboarding_url, "TRUNCATE critical_parts, equipment, vessels CASCADE")
    taken = []
    for _ in range(2):
        report = await sync(config, ALL)
        assert (report.exit_status, report.deleted["vessels"]) == (0, 0)
        assert await rows(maintenance_url, "SELECT status FROM vessels") == ["inactive"]
        taken.append(await checkpoints(maintenance_url))
    assert taken[0] == taken[1]
    await execute(maintenance_url, goes)
    report = await sync(config, ALL)
    assert (report.exit_status, report.deleted["vessels"]) == (0, 1)
    assert await rows(maintenance_url, "SELECT status FROM vessels") == []


OTHER, WHEEL, SHEET, LINK = (f"0000000{n}-0000-4000-8000-000000000000" for n in (7, 8, 9, "a"))


async def test_what_the_portal_changed_of_a_reference_is_in_a_conflict_when_the_document_lets_go_of_it(
    onboarding_url: str, maintenance_url: str
) -> None:
    """Whichever of the two vessels is synchronised first: each starts for itself."""
    config = Settings(
        source=onboarding_url, target=maintenance_url, max_rows_per_second=1_000_000, parallel_vessels=1
    )
    await execute(
        onboarding_url,
        f"""{ROWS}
        INSERT INTO vessels (id, company_id, name, onboarding_status)
        VALUES ('{OTHER}', '{COMPANY}', 'w', 'APPROVED');
        INSERT INTO equipment (id, vessel_id, name) VALUES ('{WHEEL}', '{OTHER}', 'wheel');
        INSERT INTO documents (id, vessel_id, equipment_id, document_type, name, file_path)
        VALUES ('{SHEET}', '{VESSEL}', '{PUMP}', 'MANUAL', 'sheet', 's3://b/k');
        INSERT INTO cross_references (id, vessel_id, source_equipment_id, target_equipment_id, reference_type)
        VALUES ('{LINK}', '{OTHER}', '{WHEEL}', '{PUMP}', 'feeds')""",
    )
    await migrate(config, ALL)
    await execute(maintenance_url, "UPDATE equipment_documents SET file_name = 'own'")
    await execute(onboarding_url, f"UPDATE documents SET name = 'leaf', updated_at = now(); {GONE}")
    await sync(replace(config, conflict="target_wins"), ALL)
    assert await there(maintenance_url) == ["disc", "pump", "valve", "wheel"]
    await execute(maintenance_url, "UPDATE cross_references SET notes = 'own'")
    await execute(
        onboarding_url,
        "DELETE FROM cross_references;"
        f"UPDATE documents SET equipment_id = '{VALVE}', name = 'sheet', updated_at = now()",
    )
    report = await sync(replace(config, conflict="merge"), ALL)
    assert (report.exit_status, report.verified.differences) == (0, [])
    recorded = f"SELECT status || ' ' || strategy FROM bulkmig.conflicts WHERE source_id = '{LINK}'"
    assert await fetchval(maintenance_url, recorded) == "resolved merge"
    assert await there(maintenance_url) == ["disc", "valve", "wheel"]
