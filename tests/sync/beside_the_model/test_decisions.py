"""Conflicts, and what a decision about them leaves for the next run: run beside the model."""

from __future__ import annotations

import pytest

from tests.model import package, portal_steps, source_steps
from tests.model.history import Change
from tests.model.run import Options
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    ACME,
    ANN,
    CRANE,
    DAN,
    FOUR,
    GREEN,
    OF_CRANE,
    OF_PUMP,
    OF_RADAR,
    OF_VALVE,
    ONE,
    PUMP,
    SEAL,
    THREE,
    TWO,
    VALVE,
    WINCH,
    details,
    portal,
    source,
    sync,
)


async def changed_before(session: Session) -> Change:
    """A change of other equipment of the crane's vessel."""
    await source(session, "equipment", WINCH, notes="later")
    await sync(session)
    return session.history.changes[-1]


async def refused(session: Session, change: Change) -> bool:
    """Whether a way back to before a change is refused without force."""
    await session.rollback(change, force=False)
    return session.runs[-1].was_refused


async def test_a_conflict_whose_row_has_no_equipment_to_hang_on_stays_open(session: Session) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", CRANE))
    await source(session, "documents", OF_CRANE["documents"], name="later")
    await sync(session, "manual")
    ids = [one["id"] for one in await package.conflicts(session.settings(), "open")]
    report = await package.resolve(session.settings(), ids, "source")
    assert report.exit_status == 1
    assert [failure.vessel_id for failure in report.failures] == [TWO]
    assert [one["id"] for one in await package.conflicts(session.settings(), "open")] == ids


async def test_a_conflict_about_a_reference_is_decided_before_equipment_of_another_vessel_takes_it_along(
    session: Session,
) -> None:
    await portal(session, Ref("cross_reference", OF_VALVE["cross_references"]), notes="portal")
    await source_steps.delete_row(session, "equipment", CRANE)
    await sync(session, "target_wins")
    assert session.state.is_there(Ref("cross_reference", OF_VALVE["cross_references"]))
    assert session.state.is_there(Ref("equipment", CRANE))


async def test_a_conflict_about_a_company_that_a_run_did_not_touch_stays_decided_when_that_goes_back(
    session: Session,
) -> None:
    await portal(session, Ref("company", ACME), logo_url="portal")
    await source(session, "companies", ACME, timezone="Europe/Oslo")
    await sync(session, "manual")
    await session.migrate(None)
    migrated = session.runs[-1].run_id
    await session.resolve(0, "target")
    await session.rollback_run(migrated, force=False)
    await source(session, "companies", ACME, name="Acme II")
    await sync(session)


async def test_so_it_is_where_both_vessels_are_gone(session: Session) -> None:
    await portal(session, Ref("cross_reference", OF_VALVE["cross_references"]), notes="portal")
    await source_steps.delete_row(session, "vessels", TWO)
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("equipment", CRANE))


async def test_so_it_is_where_the_references_vessel_is_gone(session: Session) -> None:
    reference = Ref("cross_reference", OF_VALVE["cross_references"])
    await portal(session, reference, notes="portal")
    await source_steps.delete_row(session, "vessels", ONE)
    await source_steps.delete_row(session, "equipment", CRANE)
    await session.sync(Options("sync", strategy="manual", allow_deletions=True))
    assert session.state.is_there(reference)


async def test_a_vessel_that_is_gone_waits_for_no_vessel_in_which_nothing_changed(session: Session) -> None:
    reference = Ref("cross_reference", OF_RADAR["cross_references"])
    await portal(session, reference, notes="portal")
    await source_steps.delete_row(session, "cross_references", reference.source_id)
    await sync(session, "manual")
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("equipment", VALVE))
    assert session.state.is_there(Ref("equipment", PUMP)), "a conflict about what hangs on it is open"


async def test_a_document_that_a_decision_leaves_on_equipment_keeps_it_until_it_lets_go(
    session: Session,
) -> None:
    await portal(session, Ref("document", OF_CRANE["documents"]), file_name="portal")
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session, "target_wins")
    assert session.state.is_there(Ref("equipment", CRANE))
    await source(session, "documents", OF_CRANE["documents"], name="later")
    await sync(session)
    assert not session.state.is_there(Ref("equipment", CRANE))
    assert session.state.is_there(Ref("document", OF_CRANE["documents"]))


async def test_so_do_other_rows_that_decisions_leave_on_it_though_the_source_has_them_on_another(
    session: Session,
) -> None:
    rows = {
        Ref("critical_part", SEAL): ("critical_parts", {"equipment_id": VALVE}),
        Ref("quality_score", OF_PUMP["quality_scores"]): ("quality_scores", {"equipment_id": VALVE}),
        Ref("cross_reference", OF_RADAR["cross_references"]): (
            "cross_references",
            {"target_equipment_id": CRANE},
        ),
    }
    for row, (table, other) in rows.items():
        await portal(session, row)
        await source(session, table, row.source_id, **other)
    await source_steps.delete_row(session, "equipment", PUMP, whole=False)
    await sync(session, "target_wins")
    for row, (table, _) in rows.items():
        await sync(session)
        assert session.state.is_there(Ref("equipment", PUMP)), f"{row} is on it"
        await source(session, table, row.source_id)  # its `updated_at` moves
    await sync(session)
    assert not session.state.is_there(Ref("equipment", PUMP))
    assert all(session.state.is_there(row) for row in rows)


async def test_a_deletion_that_a_decision_let_stand_is_none_since(session: Session) -> None:
    document = Ref("document", OF_CRANE["documents"])
    await portal_steps.delete_row(session, "equipment_documents", document)
    await source(session, "documents", OF_CRANE["documents"], name="later")
    await sync(session, "target_wins")
    change = session.history.changes[-1]
    await session.rollback(change, force=False)
    assert not session.state.is_there(document)


async def test_what_the_portal_changed_before_a_decision_for_it_is_its_doing_since_an_earlier_change(
    session: Session,
) -> None:
    earlier = await changed_before(session)
    await portal(session, Ref("equipment", CRANE), manufacturer="portal")
    await source(session, "equipment", CRANE, notes="later")
    await sync(session, "target_wins")
    assert await refused(session, earlier)


async def test_details_that_a_merge_leaves_to_the_portal_are_its_doing_since_an_earlier_change(
    session: Session,
) -> None:
    earlier = await changed_before(session)
    await details(session, Ref("equipment", CRANE), notes="portal")
    await source(session, "equipment", CRANE, name="Crane II")
    await sync(session, "merge")
    assert await refused(session, earlier)


async def test_what_a_merge_leaves_to_the_portal_is_its_doing_since_an_earlier_change_and_not_since_its_own(
    session: Session,
) -> None:
    earlier = await changed_before(session)
    await portal(session, Ref("equipment", CRANE), manufacturer="portal")
    await source(session, "equipment", CRANE, name="Crane II")
    await sync(session, "merge")
    own = session.history.changes[-1]
    assert await refused(session, earlier)
    assert not await refused(session, own)


async def test_so_is_what_it_changed_in_equipment_that_is_decommissioned_for_its_logs(
    session: Session,
) -> None:
    earlier, crane = await changed_before(session), session.state.target_id(Ref("equipment", CRANE))
    await portal(session, Ref("equipment", CRANE), manufacturer="portal")
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": crane})
    await source_steps.delete_row(session, "equipment", CRANE)
    await sync(session)
    (log,) = session.state.tables.rows("maintenance_logs")
    await portal_steps.delete_row(session, "maintenance_logs", log["id"])
    assert await refused(session, earlier)


async def test_details_of_a_user_who_became_inactive_are_the_portals_doing_since_an_earlier_change(
    session: Session,
) -> None:
    ann = session.state.target_id(Ref("user", ANN))
    await source(session, "companies", ACME, timezone="Europe/Oslo")
    await sync(session)
    changed = session.runs[-1].run_id
    await details(session, Ref("user", ANN), phone="portal")
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"performed_by": ann})
    await source_steps.delete_row(session, "users", ANN)
    await session.sync(Options("sync", allow_deletions=True))
    await session.rollback_run(changed, force=False)
    assert session.runs[-1].was_refused


async def test_a_user_who_is_to_go_by_a_decision_stays_while_rows_refer_to_him(session: Session) -> None:
    ann = session.state.target_id(Ref("user", ANN))
    await portal(session, Ref("user", ANN), first_name="portal")
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"performed_by": ann})
    await source_steps.delete_row(session, "users", ANN)
    await sync(session, "manual")
    await session.resolve(0, "source")
    assert session.state.is_there(Ref("user", ANN))


async def test_a_vessel_that_was_rolled_back_is_left_alone_after_a_conflict_of_it_was_decided(
    session: Session,
) -> None:
    await portal(session, Ref("equipment", WINCH), manufacturer="portal")
    await source(session, "equipment", WINCH, notes="later")
    await sync(session, "manual")
    await portal(session, Ref("vessel", TWO), image_url=None)
    await source(session, "vessels", TWO, flag="NO")
    await sync(session, "source_wins")
    await session.rollback_vessel(TWO, force=False)
    await session.resolve(0, "target")
    await source(session, "equipment", WINCH, notes="later still")
    await sync(session)
    assert session.state.rolled_back == {TWO}


@pytest.mark.parametrize(
    "ref", [Ref("critical_part", SEAL), Ref("company", ACME)], ids=lambda ref: ref.entity
)
async def test_what_the_portal_changed_is_drift_still_when_a_forced_rollback_has_been_undone(
    session: Session, ref: Ref
) -> None:
    await portal(
        session, ref, **({"description": "portal"} if ref.entity != "company" else {"name": "portal"})
    )
    await session.rollback_run(session.runs[0].run_id, force=True)
    await session.rollback_run(session.runs[-1].run_id, force=False)
    await sync(session, "merge")
    assert session.runs[-1].verified.drift


async def test_what_a_decision_keeps_of_a_row_is_drift_though_an_earlier_sync_wrote_it_with_other_vessels(
    session: Session,
) -> None:
    number = session.onboarding.of["vessels"][TWO]["imo_number"]
    assert number is not None
    await source_steps.exchange(session, session.onboarding.of["vessels"][ONE], number)  # in one commit
    for equipment in (PUMP, CRANE):
        await source(session, "equipment", equipment, notes="later", quality_score="5")
    await sync(session)
    await source(session, "equipment", PUMP, name=None)
    await source(session, "equipment", CRANE, status="REMOVED")
    await portal(session, Ref("equipment", CRANE), status="fault")
    await sync(session, "target_wins")
    assert session.runs[-1].verified.drift


async def test_what_a_decision_left_is_no_difference_though_a_vessel_loaded_with_it_has_not_changed_since(
    session: Session,
) -> None:
    await source(session, "vessels", THREE, flag="NO")
    await portal(session, Ref("vessel", THREE), image_url="portal")
    await sync(session, "target_wins")


async def test_a_conflict_about_a_user_of_another_company_is_open_still_after_a_rollback_of_a_run(
    session: Session,
) -> None:
    await source(session, "vessels", FOUR, company_id=GREEN, onboarding_status="APPROVED")
    await sync(session)
    await source(session, "users", DAN, first_name="Eve")
    await portal(session, Ref("user", DAN), first_name="Eva")
    await source(session, "companies", ACME, timezone="Europe/Oslo")
    await sync(session, "manual")
    assert session.state.open_conflict(Ref("user", DAN))
    await session.rollback_run(session.runs[0].run_id, force=False)
    (document,) = await package.conflicts(session.settings(), "open")
    assert document["source_id"] == DAN
