"""What hangs on equipment is read where it was written, or where equipment comes, goes or is kept out."""

from __future__ import annotations

import msgspec
import pytest

from bulkmig import Settings, verify
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from bulkmig.sync.unread import HANGING
from tests.checkpoint.support import execute, fetchval, state, undone
from tests.support.dumps import apart
from tests.support.fleets import Origin
from tests.sync.scene import ALL, lasting

SPEC = FleetSpec(seed=5, vessels=2, companies=1, users_per_company=3, equipment=14)
LATER = "updated_at = now()"
TABLES = {"critical_part": "critical_parts", "document": "equipment_documents"}
# Parts and documents of one piece of equipment, in the source.
HANGS = "SELECT count(*) FROM {table} WHERE equipment_id = '{equipment}'"
# Equipment of the first vessel that has both.
WITH_BOTH = """
SELECT min(e.id::text) FROM equipment e JOIN critical_parts p ON p.equipment_id = e.id
  JOIN documents d ON d.equipment_id = e.id
 WHERE e.vessel_id = (SELECT min(id::text)::uuid FROM vessels)
"""


def test_what_hangs_on_equipment_alone_are_parts_and_documents() -> None:
    assert TABLES.keys() == HANGING


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (f"UPDATE equipment SET notes = 'new', {LATER}", set()),
        (f"UPDATE locations SET name = name || '!', {LATER}", set()),
        (f"UPDATE critical_parts SET name = 'new', {LATER}", {"critical_part"}),
        (f"UPDATE documents SET name = 'new', {LATER}", {"document"}),
        ("DELETE FROM quality_scores", set(TABLES)),  # rows went: all is read
    ],
    ids=["equipment", "locations", "parts", "documents", "keys"],
)
async def test_of_a_changed_vessel_only_what_was_written_is_read_of_what_hangs_on_its_equipment(
    origin: Origin, config: Settings, change: str, read: set[str]
) -> None:
    before = await state(config.target)
    await execute(origin.url, change)
    report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    found = {name for name, table in TABLES.items() if report.unchanged[table] or report.updated[table]}
    assert found == read
    await undone(config, report)
    assert apart(lasting(before), lasting(await state(config.target))) == []


async def test_a_sync_of_every_row_reads_all_that_hangs_on_equipment(
    origin: Origin, config: Settings
) -> None:
    await execute(origin.url, "UPDATE critical_parts SET name = 'silent'")
    await sync(config, ALL)
    await execute(origin.url, f"UPDATE equipment SET notes = 'new', {LATER}")
    report = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert all(report.unchanged[table] for table in TABLES.values())


async def test_what_came_for_equipment_while_that_was_in_quarantine_comes_when_it_leaves(
    origin: Origin, config: Settings
) -> None:
    """By then nothing of it was written since the vessel was last seen, and no key has come or gone."""
    config = msgspec.structs.replace(config, on_error="quarantine")
    wrong = await fetchval(origin.url, WITH_BOTH)
    name = await fetchval(origin.url, f"SELECT name FROM equipment WHERE id = '{wrong}'")
    await execute(
        origin.url,
        f"UPDATE equipment SET name = ' ', {LATER} WHERE id = '{wrong}';"
        " INSERT INTO critical_parts (id, equipment_id, name)"
        f" VALUES (gen_random_uuid(), '{wrong}', 'waits')",
    )
    assert (await sync(config, ALL)).quarantined["equipment"] == 1
    there = "SELECT count(*) FROM critical_parts WHERE description = 'waits'"
    assert await fetchval(config.target, there) == 0
    await execute(origin.url, f"UPDATE equipment SET name = $1, {LATER} WHERE id = '{wrong}'", name)
    report = await sync(config, ALL)
    assert report.verified.differences == []
    assert await fetchval(config.target, there) == 1


async def test_what_hangs_on_equipment_that_turns_erroneous_is_kept_with_it(
    origin: Origin, config: Settings
) -> None:
    config = msgspec.structs.replace(config, on_error="quarantine")
    wrong = await fetchval(origin.url, WITH_BOTH)
    await execute(origin.url, f"UPDATE equipment SET name = ' ', {LATER} WHERE id = '{wrong}'")
    report = await sync(config, ALL)
    assert (report.status, report.verified.differences) == ("completed", [])
    for table, listed in (
        ("critical_parts", "quarantine WHERE entity = 'critical_part'"),
        ("documents", "retained WHERE reason = 'with_parent'"),
    ):
        there = await fetchval(config.target, f"SELECT count(*) FROM bulkmig.{listed}")
        assert there == await fetchval(origin.url, HANGS.format(table=table, equipment=wrong)) > 0
    assert (await verify(config, ALL)).verified.difference_count == 0
