"""A vessel that was rolled back is left alone: rows leave it, and none comes to it until it is no more."""

from __future__ import annotations

import msgspec

from bulkmig import Selection, verify
from bulkmig.config import Settings
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, rows, state, table, undone
from tests.support.dumps import apart
from tests.support.fleets import Origin
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=8, vessels=3, companies=1, users_per_company=3, equipment=12)


async def test_equipment_leaves_a_vessel_that_was_rolled_back_and_that_is_left_alone_otherwise(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    old, new = await _rolled_back(origin, config)
    equipment = await _moved(origin, old, new)
    ((id_, code, _, parts, documents),) = await table(maintenance_url, _THERE, equipment)
    vessel = await table(maintenance_url, _VESSEL, old)
    before = await state(maintenance_url)
    report = await sync(config, ALL)
    assert (report.exit_status, report.failures) == (0, [])
    assert report.selected == report.done == 2
    assert await table(maintenance_url, _THERE, equipment) == [(id_, code, new, parts, documents)]
    assert await table(maintenance_url, _VESSEL, old) == vessel
    assert (await verify(config, ALL)).verified.difference_count == 0
    after = await state(maintenance_url)
    again = await sync(config, ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0
    back = await undone(config, report)
    assert apart(lasting(before), lasting(await state(maintenance_url))) == []
    await undone(config, back)
    assert apart(lasting(after), lasting(await state(maintenance_url))) == []
    await sync(config, Selection(vessels=(old,)))
    assert await table(maintenance_url, _VESSEL, old) != vessel
    assert await table(maintenance_url, _THERE, equipment) == [(id_, code, new, parts, documents)]
    assert (await verify(config, ALL)).verified.difference_count == 0


async def test_equipment_stays_until_the_vessel_to_which_it_goes_is_left_alone_no_more(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    """It was rolled back."""
    new, old = await _rolled_back(origin, config)
    equipment = await _moved(origin, old, new)
    there = await table(maintenance_url, _THERE, equipment)
    for _ in range(2):
        report = await sync(config, ALL)
        assert (report.exit_status, report.failures) == (0, [])
        assert (report.inserted + report.updated + report.deleted).total() == 0
        assert report.verified.difference_count == 0
        assert await table(maintenance_url, _THERE, equipment) == there
        assert (await verify(config, ALL)).verified.difference_count == 0
    report = await sync(config, Selection(vessels=(new,)))
    assert (report.exit_status, report.failures) == (0, [])
    ((id_, code, _, parts, documents),) = there
    assert await table(maintenance_url, _THERE, equipment) == [(id_, code, new, parts, documents)]
    assert (await verify(config, ALL)).verified.difference_count == 0
    again = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (again.inserted + again.updated + again.deleted).total() == 0


async def test_a_part_of_nothing_leaves_such_a_vessel_with_the_equipment_that_it_hangs_on(
    origin: Origin, config: Settings, maintenance_url: str
) -> None:
    """So that it goes when that does."""
    old, new = await _rolled_back(origin, config)
    equipment = await _moved(origin, old, new)
    await execute(
        origin.url,
        "UPDATE critical_parts SET equipment_id = gen_random_uuid(), updated_at = now()"
        " WHERE equipment_id = $1::text::uuid",
        equipment,
    )
    await sync(config, ALL)
    for name, column in (
        ("quality_scores", "equipment_id"),
        ("documents", "equipment_id"),
        ("equipment", "id"),
    ):
        await execute(origin.url, f"DELETE FROM {name} WHERE {column} = $1::text::uuid", equipment)
    await sync(config, ALL)
    assert await table(maintenance_url, _THERE, equipment) == []


# Of equipment (a source id) target id, label, vessel (its source id), numbers of parts and documents.
_THERE = """
SELECT e.id::text, e.qr_code, i.source_id::text,
       (SELECT count(*) FROM critical_parts p WHERE p.equipment_id = e.id),
       (SELECT count(*) FROM equipment_documents d WHERE d.equipment_id = e.id)
  FROM equipment e JOIN equipment_metadata m ON m.equipment_id = e.id
  JOIN bulkmig.identities i ON i.entity = 'vessel' AND i.target_id = e.vessel_id
 WHERE m.original_id = $1::text::uuid
"""
_VESSEL = """
SELECT v.* FROM vessels v JOIN bulkmig.identities i ON i.entity = 'vessel' AND i.target_id = v.id
 WHERE i.source_id = $1::text::uuid
"""


async def _rolled_back(origin: Origin, config: Settings) -> tuple[str, str]:
    """A vessel of which a sync was rolled back, and another one."""
    first, other, _ = await rows(origin.url, "SELECT id::text FROM vessels ORDER BY id")
    await execute(
        origin.url,
        "UPDATE vessels SET name = 'Renamed', updated_at = now() WHERE id = $1::text::uuid",
        first,
    )
    assert (await sync(config, ALL)).updated.total() > 0
    await undone(config, vessel=first)
    return first, other


async def _moved(origin: Origin, old: str, new: str) -> str:
    """Equipment with parts and documents that goes from one vessel to another, and what hangs on it too."""
    equipment = await fetchval(
        origin.url,
        "SELECT e.id::text FROM equipment e JOIN critical_parts p ON p.equipment_id = e.id"
        " JOIN documents d ON d.equipment_id = e.id WHERE e.vessel_id = $1::text::uuid"
        " AND NOT EXISTS (SELECT FROM cross_references"
        " WHERE e.id IN (source_equipment_id, target_equipment_id)) ORDER BY e.id LIMIT 1",
        old,
    )
    await execute(
        origin.url,
        f"UPDATE equipment SET vessel_id = '{new}', location_id = NULL, updated_at = now()"
        f" WHERE id = '{equipment}';"
        f"UPDATE documents SET vessel_id = '{new}' WHERE equipment_id = '{equipment}';"
        f"UPDATE quality_scores SET vessel_id = '{new}' WHERE equipment_id = '{equipment}'",
    )
    return str(equipment)
