"""Rows that the source's own server can't give, as of a damaged page: their vessel fails, whoever looks at
it, and no other."""

from __future__ import annotations

import pytest

from bulkmig import Selection, Settings, migrate, plan, validate, verify
from bulkmig.generate import FleetSpec
from tests.checkpoint.support import execute, fetchval
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=8, vessels=4, equipment=6, exact=True, companies=1)
ALL = Selection(all=True)
# A row of one vessel that nobody can read.
_DAMAGED = """
ALTER TABLE documents RENAME TO papers;
CREATE VIEW documents AS SELECT * FROM papers WHERE vessel_id <> '{0}' OR 1 / (length(name) * 0) = 1
"""


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_vessel_that_cannot_be_read_fails_alone_in_a_plan_as_in_a_migration(
    fleets: Fleets, maintenance_url: str, processes: int
) -> None:
    origin = await fleets.changing(SPEC)
    vessel = await fetchval(origin.url, "SELECT min(vessel_id::text) FROM documents")
    await execute(origin.url, _DAMAGED.format(vessel))
    settings = Settings(
        source=origin.url, target=maintenance_url, continue_on_error=True, processes=processes
    )
    looked = [await validate(settings, ALL), await plan(settings, ALL)]
    migrated = await migrate(settings, ALL)
    for report in (*looked, migrated):
        assert [(f.vessel_id, f.phase) for f in report.failures] == [(vessel, "extract")]
        assert "division by zero" in report.failures[0].error
        assert (report.done, report.failed, report.exit_status) == (3, 1, 1)
    assert looked[1].inserted == migrated.inserted


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_vessel_that_cannot_be_read_any_more_is_no_end_of_a_verification(
    fleets: Fleets, maintenance_url: str, processes: int
) -> None:
    origin = await fleets.changing(SPEC)
    settings = Settings(source=origin.url, target=maintenance_url, processes=processes)
    await migrate(settings, ALL)
    vessel = await fetchval(origin.url, "SELECT min(vessel_id::text) FROM documents")
    await execute(origin.url, _DAMAGED.format(vessel))
    report = await verify(settings, ALL)
    assert [(f.vessel_id, f.phase) for f in report.failures] == [(vessel, "extract")]
    assert (report.done, report.failed, report.exit_status) == (3, 1, 1)
    assert report.verified.difference_count == 0
