"""The portal deletes detail rows alone: main and detail rows are one row, which is there as long as the main
row is."""

from __future__ import annotations

import msgspec
import pytest

from bulkmig import Selection
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval, migrated, state, undone
from tests.support.dumps import apart
from tests.support.fleets import Fleets
from tests.sync.scene import lasting

SPEC = FleetSpec(seed=6, vessels=1, companies=1, users_per_company=2, equipment=6)
ALL = Selection(all=True)
#: Source table -> the target's main table and its detail table.
DETAILS = {
    "companies": ("companies", "company_settings"),
    "users": ("users", "user_metadata"),
    "vessels": ("vessels", "vessel_details"),
    "equipment": ("equipment", "equipment_metadata"),
    "critical_parts": ("critical_parts", "part_details"),
    "documents": ("equipment_documents", "document_details"),
}


@pytest.mark.parametrize(
    ("strategy", "back"), [("source_wins", True), ("target_wins", False), ("merge", False)]
)
async def test_details_that_the_portal_deleted_come_back_only_where_the_strategy_says_so(
    fleets: Fleets, maintenance_url: str, strategy: str, back: bool
) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url, fresh=True, conflict=strategy)
    for _, detail in DETAILS.values():
        await execute(maintenance_url, f"DELETE FROM {detail}")
    report = await sync(msgspec.structs.replace(config, full=True), ALL)
    assert (report.exit_status, (report.inserted + report.updated + report.deleted).total()) == (0, 0)
    before = await state(maintenance_url)
    rows = {
        main: await fetchval(maintenance_url, f"SELECT count(*) FROM {main}") for main, _ in DETAILS.values()
    }
    for source in DETAILS:
        await execute(origin.url, f"UPDATE {source} SET updated_at = now() + interval '1 day'")
    report = await sync(config, ALL)
    assert (report.exit_status, report.verified.differences) == (0, [])
    for main, detail in DETAILS.values():
        assert await fetchval(maintenance_url, f"SELECT count(*) FROM {main}") == rows[main]
        assert await fetchval(maintenance_url, f"SELECT count(*) FROM {detail}") == back * rows[main]
    if strategy != "target_wins":  # which writes nothing that could be taken back
        await undone(config, report)
        assert apart(lasting(before), lasting(await state(maintenance_url))) == []
