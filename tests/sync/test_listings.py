"""The portal lists documents of bulkmig's for vessels of its choice: a listing has no id of its own, so what
tells whose it is, is the vessel."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bulkmig import Settings, rollback, verify
from bulkmig.generate import FleetSpec
from bulkmig.sync.run import sync
from tests.checkpoint.support import execute, fetchval
from tests.support.fleets import Origin
from tests.sync.scene import ALL

SPEC = FleetSpec(seed=4, vessels=2, companies=1, users_per_company=1, equipment=2, documents=1, least=0)
pytestmark = pytest.mark.files_too

LISTED = "SELECT count(*) FROM vessel_documents"


@pytest.fixture
async def document(origin: Origin, config: Settings) -> str:
    """The source id of a document of the first vessel's first equipment."""
    first = "SELECT min(vessel_id::text)::uuid FROM equipment"
    return str(
        await fetchval(
            origin.url,
            f"SELECT min(id::text) FROM documents WHERE vessel_id = ({first}) AND equipment_id IS NOT NULL",
        )
    )


async def listed(config: Settings, of: str = "true") -> None:
    """The portal lists documents for every vessel for which they aren't yet."""
    await execute(
        config.target,
        "INSERT INTO vessel_documents (vessel_id, document_id) SELECT v.id, d.id FROM vessels v"
        f" CROSS JOIN equipment_documents d WHERE {of} AND NOT EXISTS (SELECT 1 FROM vessel_documents x"
        " WHERE x.vessel_id = v.id AND x.document_id = d.id)",
    )


async def test_what_the_portal_lists_besides_is_no_difference(config: Settings, document: str) -> None:
    await execute(config.source, f"UPDATE documents SET equipment_id = NULL WHERE id = '{document}'")
    await sync(replace(config, full=True), ALL)
    documents = await fetchval(config.target, "SELECT count(*) FROM equipment_documents")
    await listed(config)
    assert await fetchval(config.target, LISTED) == 2 * documents
    report = await verify(config, ALL)
    assert (report.exit_status, report.verified.difference_count) == (0, 0)
    assert (report.verified.drift, report.verified.stale) == (0, 0)


async def test_a_document_that_the_portal_has_taken_off_its_equipment_is_drift(
    config: Settings, document: str
) -> None:
    await execute(config.target, "UPDATE equipment_documents SET equipment_id = NULL")
    await listed(config)
    hanging = await fetchval(config.source, "SELECT count(*) FROM documents WHERE equipment_id IS NOT NULL")
    report = await verify(config, ALL)
    assert (report.exit_status, report.verified.difference_count) == (0, 0)
    drifted = [(one.table, one.field) for one in report.verified.drifted]
    assert drifted == [("equipment_documents", "equipment_id")] * hanging != []


async def test_one_that_bulkmig_wrote_and_the_source_has_no_more_is_stale(
    config: Settings, document: str
) -> None:
    """As it was before the portal listed it for the other vessel, too."""
    await execute(config.source, f"UPDATE documents SET equipment_id = NULL WHERE id = '{document}'")
    await sync(replace(config, full=True), ALL)
    await listed(config)
    await execute(
        config.source,
        "UPDATE documents d SET equipment_id = (SELECT min(e.id::text)::uuid FROM equipment e"
        f" WHERE e.vessel_id = d.vessel_id) WHERE id = '{document}'",
    )
    report = await verify(config, ALL)
    assert (report.exit_status, report.verified.difference_count, report.verified.drift) == (0, 0, 0)
    assert report.verified.stale == 2  # the document's equipment, and its listing


@pytest.mark.parametrize("strategy", ["source_wins", "target_wins", "merge", "manual"])
async def test_a_sync_leaves_what_the_portal_lists(config: Settings, document: str, strategy: str) -> None:
    config = replace(config, full=True, conflict=strategy)
    await execute(config.source, f"UPDATE documents SET equipment_id = NULL WHERE id = '{document}'")
    await sync(config, ALL)
    of = "d.equipment_id IS NULL"
    await listed(config, of)
    before = await fetchval(config.target, LISTED)
    await execute(config.source, f"UPDATE documents SET mime_type = 'new' WHERE id = '{document}'")
    report = await sync(config, ALL)
    assert (report.exit_status, report.conflicts.total()) == (0, 0)
    assert await fetchval(config.target, LISTED) == before
    await execute(
        config.source,
        "UPDATE documents d SET equipment_id = (SELECT min(e.id::text)::uuid FROM equipment e"
        f" WHERE e.vessel_id = d.vessel_id) WHERE id = '{document}'",
    )
    report = await sync(config, ALL)
    assert (report.exit_status, report.conflicts.total()) == (0, 0)
    assert await fetchval(config.target, LISTED) == before - 1


async def test_a_listing_that_is_due_again_waits_for_the_next_sync(config: Settings, document: str) -> None:
    """What counts is what was written last: that had equipment, though the portal deleted nothing."""
    for equipment in ("NULL", "e.id", "NULL"):
        await execute(
            config.source,
            f"UPDATE documents d SET equipment_id = {equipment} FROM (SELECT min(id::text)::uuid AS id"
            f" FROM equipment GROUP BY vessel_id) e, equipment m WHERE d.id = '{document}' AND m.id = e.id"
            " AND m.vessel_id = d.vessel_id",
        )
        report = await verify(config, ALL)
        assert (report.exit_status, report.verified.difference_count, report.verified.drift) == (0, 0, 0)
        assert report.verified.stale == 2
        await sync(replace(config, full=True), ALL)


@pytest.mark.parametrize("hangs", [True, False], ids=["on equipment", "on nothing"])
async def test_a_way_back_leaves_another_vessels_documents(
    config: Settings, document: str, hangs: bool
) -> None:
    """But for their listings for the vessel that goes."""
    if not hangs:
        await execute(config.source, f"UPDATE documents SET equipment_id = NULL WHERE id = '{document}'")
        await sync(replace(config, full=True), ALL)
    await listed(config)
    others = "SELECT count(*) FROM equipment_documents d JOIN document_details e ON e.document_id = d.id"
    vessel = str(
        await fetchval(config.source, f"SELECT max(vessel_id::text) FROM documents WHERE id <> '{document}'")
    )
    due = await fetchval(config.source, f"SELECT count(*) FROM documents WHERE vessel_id <> '{vessel}'")
    refused = await rollback(config, vessel=vessel)
    assert {row.table for row in refused.refused} == {"vessel_documents"}
    report = await rollback(config, vessel=vessel, force=True)
    assert report.status == "completed"
    assert await fetchval(config.target, others) == due
    assert await fetchval(config.target, LISTED) == await fetchval(
        config.target, "SELECT count(*) FROM equipment_documents"
    )
