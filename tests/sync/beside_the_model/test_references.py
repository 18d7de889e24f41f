"""References whose ends wait, move, go or come back, run beside the model."""

from __future__ import annotations

from tests.model import portal_steps, source_steps
from tests.model.run import Options
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    ANCHOR,
    CRANE,
    DAVIT,
    FOUR,
    OF_PUMP,
    OF_RADAR,
    OF_RADIO,
    OF_VALVE,
    ONE,
    PUMP,
    RADAR,
    RADIO,
    THREE,
    TWO,
    VALVE,
    WINCH,
    add,
    move,
    portal,
    source,
    sync,
    takes_the_number_of,
)


async def test_a_reference_of_equipment_that_the_portal_deleted_and_that_moved_since_waits(
    session: Session,
) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await portal_steps.delete_row(session, "equipment", session.state.target_id(Ref("equipment", PUMP)))
    await sync(session, "target_wins")
    await sync(session, "target_wins")


async def test_a_reference_to_equipment_of_a_vessel_that_is_kept_out_in_the_same_run_is_kept(
    session: Session,
) -> None:
    await takes_the_number_of(session, TWO, ONE)
    await source(session, "cross_references", OF_RADAR["cross_references"], source_equipment_id=CRANE)
    await sync(session, "target_wins")


async def test_so_is_one_that_moves_in_the_same_commit(session: Session) -> None:
    await takes_the_number_of(session, ONE, TWO)
    await move(session, PUMP, OF_PUMP, TWO)
    await sync(session, "target_wins")


async def test_a_reference_to_equipment_that_is_quarantined_in_the_same_run_is_kept_and_changes_with_it(
    session: Session,
) -> None:
    await source(session, "equipment", PUMP, name=None)
    await move(session, RADAR, OF_RADAR, TWO)
    await sync(session)
    await source(session, "equipment", PUMP, name="Pump again")
    await sync(session)


async def test_a_reference_comes_to_equipment_as_a_rollback_left_it_whatever_the_source_has_of_it_now(
    session: Session,
) -> None:
    await source(session, "equipment", CRANE, name="Crane again")
    await sync(session)
    await session.rollback_vessel(TWO, force=False)
    await source(session, "equipment", CRANE, name=None)
    await source(session, "cross_references", OF_RADAR["cross_references"], source_equipment_id=CRANE)
    await sync(session)
    ends = session.state.tables.refers("equipment", session.state.target_id(Ref("equipment", CRANE)))
    assert "cross_references" in {link.child for link, _ in ends}


async def test_a_reference_that_waited_is_of_the_vessel_to_which_its_equipment_could_not_follow(
    failing: Session,
) -> None:
    await source(failing, "equipment", RADAR, name=" ")
    await move(failing, RADIO, OF_RADIO, ONE)
    await source(failing, "vessels", FOUR, onboarding_status="APPROVED")
    await failing.sync(Options("sync", new=True))
    reference = Ref("cross_reference", OF_RADIO["cross_references"])
    assert failing.state.is_there(reference)
    await source_steps.delete_row(failing, "cross_references", reference.source_id)
    await source_steps.delete_row(failing, "equipment", RADIO)
    await failing.sync(Options("sync", new=True))
    assert not failing.state.is_there(reference)


async def test_a_reference_leaves_quarantine_when_a_rollback_takes_its_end_off_it_though_nothing_changed(
    session: Session,
) -> None:
    await source(session, "equipment", CRANE, name=None)
    await add(session, "critical_parts", equipment_id=CRANE, name="Hook")
    await source(session, "equipment", VALVE, notes="later")
    await sync(session)
    assert Ref("cross_reference", OF_VALVE["cross_references"]) in session.state.quarantine
    await session.rollback_vessel(TWO, force=False)
    await sync(session)
    assert Ref("cross_reference", OF_VALVE["cross_references"]) not in session.state.quarantine


async def test_a_reference_that_waits_for_another_vessel_is_quarantined_with_the_end_on_its_own(
    session: Session,
) -> None:
    """That end is in the target still, as it was last written."""
    await source(session, "equipment", VALVE, name=None)
    await sync(session)
    await session.rollback_vessel(TWO, force=False)
    await session.migrate(None)
    reference = Ref("cross_reference", OF_VALVE["cross_references"])
    assert session.state.quarantine[reference].sure
    await source(session, "equipment", VALVE, name="Valve again")
    await sync(session)
    assert session.state.is_there(reference)


async def test_a_reference_that_waits_since_a_rollback_and_moves_goes_on_waiting(session: Session) -> None:
    await session.rollback_vessel(TWO, force=False)
    await move(session, VALVE, OF_VALVE, THREE)
    await sync(session)


async def test_it_comes_to_the_vessel_to_which_it_moved_under_the_id_that_it_had(session: Session) -> None:
    await session.rollback_vessel(TWO, force=False)
    await move(session, VALVE, OF_VALVE, THREE)
    await sync(session)
    await session.migrate(frozenset({TWO}))
    assert session.state.is_there(Ref("cross_reference", OF_VALVE["cross_references"]))
    await sync(session)


async def test_a_reference_changes_to_equipment_of_a_vessel_that_comes_in_the_same_run(
    session: Session,
) -> None:
    await source(session, "cross_references", OF_PUMP["cross_references"], target_equipment_id=ANCHOR)
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await sync(session)


async def test_a_waiting_reference_that_the_source_deleted_does_not_return_with_its_end(
    session: Session,
) -> None:
    await session.rollback_vessel(ONE, force=False)
    await source_steps.delete_row(session, "cross_references", OF_RADAR["cross_references"])
    await sync(session)
    await session.rollback_vessel(ONE, force=False)


async def test_a_reference_to_a_vessel_that_gets_the_number_of_another_leaves_quarantine_in_the_same_run(
    session: Session,
) -> None:
    await source_steps.exchange(session, session.onboarding.of["vessels"][FOUR], "9074729")
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await session.migrate(None)
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)


async def test_a_reference_that_a_rollback_took_and_whose_end_was_erroneous_meanwhile_comes_with_it(
    session: Session,
) -> None:
    await session.rollback_vessel(ONE, force=False)
    await source(session, "equipment", PUMP, name=None)
    await session.migrate(None)
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)
    await source(session, "equipment", PUMP, name="Pump again")
    await sync(session)


async def test_a_reference_that_went_with_equipment_of_another_vessel_returns_with_the_run(
    session: Session,
) -> None:
    reference = Ref("cross_reference", OF_VALVE["cross_references"])
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session)
    assert not session.state.is_there(reference)
    await session.rollback_run(session.runs[-1].run_id, force=False)
    assert session.state.is_there(reference)


async def test_that_a_reference_went_with_equipment_of_another_vessel_is_not_the_portals_doing(
    session: Session,
) -> None:
    await source(session, "equipment", VALVE, notes="later")
    await sync(session)
    change = session.history.changes[-1]
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session)
    await session.rollback(change, force=False)


async def test_nor_is_it_where_both_vessels_changed_in_one_commit(session: Session) -> None:
    reference = Ref("cross_reference", OF_VALVE["cross_references"])
    number = session.onboarding.of["vessels"][TWO]["imo_number"]
    assert number is not None
    await source_steps.exchange(session, session.onboarding.of["vessels"][ONE], number)
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session)
    assert not session.state.is_there(reference)
    await session.rollback_run(session.runs[-1].run_id, force=False)
    assert session.state.is_there(reference)


async def test_a_reference_that_came_back_with_its_end_is_not_the_portals_doing(session: Session) -> None:
    await session.rollback_vessel(TWO, force=False)
    undone = session.history.changes[-1]
    await source(session, "equipment", VALVE, notes="later")
    await sync(session)
    change = next(one for one in session.history.changes[::-1] if one.vessel == ONE)
    await session.rollback(undone, force=False)
    await session.rollback(change, force=False)
    assert not session.runs[-1].was_refused


async def test_a_reference_that_waits_on_a_vessel_left_alone_and_moves_is_written_once(
    session: Session,
) -> None:
    await source(session, "vessels", THREE, flag="NO")
    await sync(session)
    await session.rollback_vessel(THREE, force=False)
    ends = {"source_equipment_id": CRANE, "target_equipment_id": WINCH}
    await source(session, "cross_references", OF_RADIO["cross_references"], vessel_id=TWO, **ends)
    await sync(session)
    assert session.state.is_there(Ref("cross_reference", OF_RADIO["cross_references"]))


async def test_a_reference_of_a_vessel_left_alone_that_the_portal_changed_and_whose_end_goes_waits(
    session: Session,
) -> None:
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)
    await session.rollback_vessel(THREE, force=False)
    reference = Ref("cross_reference", OF_RADAR["cross_references"])
    await portal(session, reference, notes=None)
    await source_steps.delete_row(session, "equipment", PUMP, whole=False)
    await sync(session)
    assert not session.state.is_there(reference)
    assert session.state.quarantine[reference].codes == {"cross_reference.end_missing"}


async def test_a_reference_that_came_with_its_end_is_back_when_the_runs_rollback_is_undone(
    session: Session,
) -> None:
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await source(session, "equipment", RADIO, notes="later")
    await sync(session)
    await session.rollback_run(session.runs[-1].run_id, force=False)
    await session.rollback_run(session.runs[-1].run_id, force=False)
    assert session.state.is_there(Ref("cross_reference", OF_RADIO["cross_references"]))


async def test_a_reference_that_waits_though_its_ends_are_back_comes_with_a_change_of_its_vessel(
    session: Session,
) -> None:
    for vessel in (THREE, ONE):
        await session.rollback_vessel(vessel, force=False)
    for vessel in (THREE, ONE):
        (change,) = [one for one in session.history.changes if one.vessel == vessel and one.restored]
        await session.rollback(change, force=False)
    reference = Ref("cross_reference", OF_RADAR["cross_references"])
    assert reference.source_id in session.state.pending
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)
    assert session.state.is_there(reference)


async def test_a_reference_that_goes_with_the_end_that_it_had_waits_for_the_one_that_it_has(
    session: Session,
) -> None:
    reference = OF_PUMP["cross_references"]
    await source(session, "cross_references", reference, target_equipment_id=ANCHOR)
    await source_steps.delete_row(session, "equipment", DAVIT, whole=False)
    await sync(session)
    assert reference in session.state.pending
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await session.migrate(None)
    assert session.state.is_there(Ref("cross_reference", reference))


async def test_one_that_was_to_move_and_goes_with_its_end_comes_to_its_new_vessel_under_the_id_that_it_had(
    session: Session,
) -> None:
    reference = OF_PUMP["cross_references"]
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "cross_references", reference, target_equipment_id=ANCHOR)
    await source_steps.delete_row(session, "equipment", DAVIT, whole=False)
    await sync(session)
    assert reference in session.state.pending
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await session.migrate(None)
    assert session.state.is_there(Ref("cross_reference", reference))


async def test_so_does_one_whose_new_end_arrives_in_the_same_sync(session: Session) -> None:
    reference = OF_PUMP["cross_references"]
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "cross_references", reference, target_equipment_id=ANCHOR)
    await source_steps.delete_row(session, "equipment", DAVIT, whole=False)
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await sync(session)
    assert session.state.is_there(Ref("cross_reference", reference))


async def test_a_reference_that_was_listed_for_its_end_is_so_no_longer_when_it_comes_with_that(
    session: Session,
) -> None:
    reference = Ref("cross_reference", OF_RADAR["cross_references"])
    await takes_the_number_of(session, ONE, TWO)
    await session.sync(Options("sync", strategy="target_wins", full=True))
    assert reference in session.state.quarantine
    await session.rollback_vessel(ONE, force=False)  # to before the sync
    await session.rollback(next(one for one in session.history.changes if one.vessel == ONE), force=False)
    assert reference.source_id in session.state.pending
    await source(session, "vessels", ONE, imo_number=None)
    await session.migrate(None)
    assert session.state.is_there(reference)


async def test_a_reference_that_changes_to_equipment_of_a_vessel_that_is_kept_out_is_listed_at_once(
    session: Session,
) -> None:
    reference = OF_PUMP["cross_references"]
    await source(session, "cross_references", reference, target_equipment_id=ANCHOR)
    await source(session, "vessels", FOUR, onboarding_status="APPROVED", metadata='{"n": 1E200000}')
    await sync(session)
    assert Ref("cross_reference", reference) in session.state.quarantine


async def test_a_reference_that_the_portal_deleted_with_its_end_moves_and_waits_for_nothing(
    session: Session,
) -> None:
    """It was written once: a reference that waits has never been, or has gone by bulkmig's doing."""
    await portal_steps.delete_row(session, "equipment", session.state.target_id(Ref("equipment", CRANE)))
    await move(session, VALVE, OF_VALVE, THREE)
    await sync(session, "target_wins")
    assert OF_VALVE["cross_references"] not in session.state.pending
    await sync(session, "target_wins")


async def test_a_reference_that_changes_to_equipment_of_a_vessel_that_no_run_is_about_waits(
    session: Session,
) -> None:
    """Its other end is on a vessel of this run."""
    reference = OF_VALVE["cross_references"]
    await source(session, "cross_references", reference, source_equipment_id=ANCHOR)
    await sync(session)
    assert Ref("cross_reference", reference) not in session.state.quarantine
