"""Rows that move to another vessel keep their ids and what hangs on them; one commit, undone as one."""

from __future__ import annotations

import msgspec
import pytest

from bulkmig import Selection, migrate, resolve, verify
from bulkmig.config import Settings
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, rows, settings, state, table, undone
from tests.support.dumps import apart
from tests.support.fleets import Origin
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=8, vessels=3, companies=1, users_per_company=3, equipment=12)


@pytest.mark.files_too
async def test_equipment_that_moves_keeps_its_id_its_label_its_logs_and_its_parts(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    equipment = await fetchval(
        origin.url,
        "SELECT e.id::text FROM equipment e JOIN critical_parts p ON p.equipment_id = e.id"
        " JOIN documents d ON d.equipment_id = e.id ORDER BY e.id LIMIT 1",
    )
    found = (
        "FROM equipment e JOIN equipment_metadata m ON m.equipment_id = e.id"
        " WHERE m.original_id = $1::text::uuid"
    )
    id_ = await fetchval(maintenance_url, f"SELECT e.id::text {found}", equipment)
    code = await fetchval(maintenance_url, f"SELECT e.qr_code {found}", equipment)
    await execute(
        maintenance_url,
        "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
        f" VALUES (gen_random_uuid(), '{id_}', now(), 'oil changed')",
    )
    parts = await fetchval(
        maintenance_url, f"SELECT count(*) FROM critical_parts WHERE equipment_id = '{id_}'"
    )
    before = await state(maintenance_url)
    await execute(
        origin.url,
        "WITH e AS (UPDATE equipment SET location_id = NULL, updated_at = now(), vessel_id ="
        " (SELECT v.id FROM vessels v WHERE v.id <> equipment.vessel_id ORDER BY v.id LIMIT 1)"
        " WHERE id = $1::text::uuid RETURNING id, vessel_id)"
        " UPDATE documents d SET vessel_id = e.vessel_id FROM e WHERE d.equipment_id = e.id",
        equipment,
    )
    ahead = (await verify(config, ALL)).verified
    assert (ahead.differences, ahead.stale > 0) == ([], True), "it is not synced yet"
    report = await sync(config, ALL)
    assert (report.status, report.failures, report.verified.differences) == ("completed", [], [])
    now = await fetchval(maintenance_url, f"SELECT e.id || e.qr_code {found}", equipment)
    assert now == f"{id_}{code}"
    assert await fetchval(maintenance_url, "SELECT count(*) FROM maintenance_logs") == 1
    assert parts == await fetchval(
        maintenance_url, f"SELECT count(*) FROM critical_parts WHERE equipment_id = '{id_}'"
    )
    assert (await verify(config, ALL)).verified.difference_count == 0
    after = await state(maintenance_url)
    again = await sync(config, ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0
    assert apart(lasting(after), lasting(await state(maintenance_url))) == []
    back = await undone(config, report)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []
    assert len(back.notes["together"]) == 1
    await undone(config, back)
    assert apart(lasting(after), lasting(await state(maintenance_url))) == []


@pytest.mark.parametrize("strategy", ["manual", "source_wins"])
async def test_equipment_about_which_a_conflict_is_open_stays_on_its_vessel_until_that_is_decided(
    origin: Origin, config: Settings, maintenance_url: str, strategy: str
) -> None:
    config = msgspec.structs.replace(config, conflict="manual")
    equipment = await fetchval(origin.url, "SELECT min(id::text) FROM equipment")
    own = "(SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid)"
    await execute(maintenance_url, "UPDATE equipment SET name = 'the portal''s' WHERE id = " + own, equipment)
    await execute(
        origin.url, "UPDATE equipment SET name = 'the source''s' WHERE id = $1::text::uuid", equipment
    )
    assert (await sync(config, ALL)).conflicts["open"] == 1
    on = await fetchval(maintenance_url, "SELECT vessel_id::text FROM equipment WHERE id = " + own, equipment)
    vessel = await fetchval(
        origin.url,
        "UPDATE equipment SET location_id = NULL, vessel_id = (SELECT v.id FROM vessels v"
        " WHERE v.id <> equipment.vessel_id ORDER BY v.id LIMIT 1)"
        " WHERE id = $1::text::uuid RETURNING vessel_id::text",
        equipment,
    )
    report = await sync(msgspec.structs.replace(config, conflict=strategy), ALL)
    assert (report.exit_status, report.failures, report.conflicts["open"]) == (0, [], 1)
    assert (
        await fetchval(maintenance_url, "SELECT vessel_id::text FROM equipment WHERE id = " + own, equipment)
        == on
    )
    conflict = await fetchval(maintenance_url, "SELECT id::text FROM bulkmig.conflicts WHERE status = 'open'")
    assert (await resolve(config, [conflict], take="source")).exit_status == 0
    report = await sync(config, ALL)
    assert (report.exit_status, report.failures, report.conflicts["open"]) == (0, [], 0)
    now = await fetchval(
        maintenance_url,
        "SELECT name || ' ' || i.source_id FROM equipment e JOIN bulkmig.identities i"
        " ON i.target_id = e.vessel_id WHERE e.id = " + own,
        equipment,
    )
    assert now == f"the source's {vessel}"
    assert (await verify(config, ALL)).verified.difference_count == 0


@pytest.mark.files_too
async def test_vessels_that_exchange_their_imo_numbers_do_so_in_one_commit(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    before = await state(maintenance_url)
    await execute(
        origin.url,
        "CREATE TEMPORARY TABLE two AS SELECT id, imo_number, row_number() OVER (ORDER BY id) AS n"
        " FROM vessels WHERE imo_number IS NOT NULL ORDER BY id LIMIT 2;"
        "UPDATE vessels SET imo_number = NULL WHERE id IN (SELECT id FROM two);"
        "UPDATE vessels v SET imo_number = o.imo_number, updated_at = now()"
        " FROM two m JOIN two o ON o.n <> m.n WHERE v.id = m.id",
    )
    report = await sync(config, ALL)
    assert (report.status, report.failures, report.verified.differences) == ("completed", [], [])
    assert report.updated["vessels"] == 2
    back = await undone(config, report)
    assert len(back.notes["together"]) == 1
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []


async def test_a_part_that_was_left_over_keeps_its_id_on_another_vessel(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    """While the source has its equipment no more it belongs to none."""
    part, equipment, vessel = await _left_over(origin, config)
    before = await fetchval(maintenance_url, _PARTS, equipment)
    other = await fetchval(
        origin.url,
        "UPDATE critical_parts SET equipment_id = (SELECT min(id::text)::uuid FROM equipment"
        " WHERE vessel_id <> $2::text::uuid) WHERE id = $1::text::uuid RETURNING equipment_id::text",
        part,
        vessel,
    )
    report = await sync(config, ALL)
    assert (report.exit_status, report.failures) == (0, [])
    assert before in await rows(maintenance_url, _PARTS, other)
    assert await rows(maintenance_url, _PARTS, equipment) == []
    assert (await verify(config, ALL)).verified.difference_count == 0
    again = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0


async def test_a_part_that_was_left_over_goes_when_the_source_has_it_no_more(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    """Nothing else changes on its vessel then."""
    part, equipment, _ = await _left_over(origin, config)
    assert (await sync(config, ALL)).exit_status == 0
    assert len(await rows(maintenance_url, _PARTS, equipment)) == 1
    await execute(origin.url, "DELETE FROM critical_parts WHERE id = $1::text::uuid", part)
    report = await sync(config, ALL)
    assert (report.exit_status, report.deleted["critical_parts"]) == (0, 1)
    assert await rows(maintenance_url, _PARTS, equipment) == []
    assert (await verify(config, ALL)).verified.difference_count == 0


async def test_a_part_that_goes_to_a_vessel_which_is_not_in_the_target_is_deleted(
    origin: Origin, maintenance_url: str
) -> None:
    """Like equipment that goes there."""
    config = settings(origin, maintenance_url)
    first, other, _ = await rows(origin.url, "SELECT id::text FROM vessels ORDER BY id")
    await migrate(config, Selection(vessels=(first,)))
    here = "SELECT min(id::text)::uuid FROM equipment WHERE vessel_id = $1::text::uuid"
    await execute(
        origin.url,
        f"UPDATE critical_parts SET equipment_id = ({here.replace('$1', '$2')}), updated_at = now()"
        " WHERE id = (SELECT min(p.id::text)::uuid FROM critical_parts p JOIN equipment e"
        " ON e.id = p.equipment_id WHERE e.vessel_id = $1::text::uuid)",
        first,
        other,
    )
    report = await sync(config, Selection(vessels=(first,)))
    assert (report.exit_status, report.deleted["critical_parts"]) == (0, 1)
    assert (await verify(config, Selection(vessels=(first,)))).verified.difference_count == 0


# Target ids of the parts of a source's equipment.
_PARTS = """
SELECT id::text FROM critical_parts
 WHERE equipment_id = (SELECT equipment_id FROM equipment_metadata WHERE original_id = $1::text::uuid)
"""


async def _left_over(origin: Origin, config: Settings) -> tuple[str, str, str]:
    """A part whose equipment the source has no more, with nothing else on that; the target keeps both, since
    the portal has logs of it. Source ids of the part, its equipment and its vessel."""
    part = await fetchval(origin.url, "SELECT min(id::text) FROM critical_parts")
    ((equipment, vessel),) = await table(
        origin.url,
        "SELECT e.id::text, e.vessel_id::text FROM critical_parts p JOIN equipment e ON e.id = p.equipment_id"
        " WHERE p.id = $1::text::uuid",
        part,
    )
    await execute(
        config.target,
        "INSERT INTO maintenance_logs (id, equipment_id, performed_at, description)"
        " SELECT gen_random_uuid(), equipment_id, now(), 'oil changed' FROM equipment_metadata"
        " WHERE original_id = $1::text::uuid",
        equipment,
    )
    await execute(
        origin.url,
        "SET session_replication_role = replica;"
        f"UPDATE documents SET equipment_id = NULL WHERE equipment_id = '{equipment}';"
        f"DELETE FROM critical_parts WHERE equipment_id = '{equipment}' AND id <> '{part}';"
        f"DELETE FROM quality_scores WHERE equipment_id = '{equipment}';"
        "DELETE FROM cross_references"
        f" WHERE source_equipment_id = '{equipment}' OR target_equipment_id = '{equipment}';"
        f"DELETE FROM equipment WHERE id = '{equipment}'",
    )
    assert (await sync(config, ALL)).exit_status == 0
    return part, equipment, vessel


async def test_a_quarantined_row_that_is_right_on_another_vessel_is_listed_no_more(
    origin: Origin, maintenance_url: str
) -> None:
    """Though the vessel that it was on is not looked at."""
    config = settings(origin, maintenance_url)
    old, new, _ = await rows(origin.url, "SELECT id::text FROM vessels ORDER BY id")
    score = await fetchval(
        origin.url,
        "UPDATE quality_scores SET score = 101, equipment_id = NULL WHERE id = (SELECT min(id::text)::uuid"
        " FROM quality_scores WHERE vessel_id = $1::text::uuid) RETURNING id::text",
        old,
    )
    await migrate(config, ALL)
    listed = "SELECT code FROM bulkmig.quarantine WHERE source_id = $1::text::uuid"
    assert await rows(maintenance_url, listed, score) == ["score.out_of_range"]
    await execute(
        origin.url,
        "UPDATE quality_scores SET score = 100, vessel_id = $2::text::uuid WHERE id = $1::text::uuid",
        score,
        new,
    )
    report = await sync(config, Selection(vessels=(new,)))
    assert (report.exit_status, report.inserted["quality_scores"]) == (0, 1)
    assert await rows(maintenance_url, listed, score) == []
