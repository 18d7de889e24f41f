"""Rows that move to another vessel or company, and vessels that exchange numbers, run beside the model."""

from __future__ import annotations

from tests.model import package, portal_steps, source_steps
from tests.model.run import Options
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    ANCHOR,
    ANN,
    CRANE,
    DAVIT,
    FOUR,
    OF_CRANE,
    OF_PUMP,
    OF_RADAR,
    OF_WINCH,
    ONE,
    PUMP,
    RADAR,
    RADIO,
    ROPE,
    SEAL,
    SHAFT,
    THREE,
    TWO,
    VALVE,
    WINCH,
    add,
    move,
    portal,
    source,
    sync,
)


async def test_a_row_with_a_merged_value_that_moves_is_as_expected(session: Session) -> None:
    await source(session, "critical_parts", SEAL, minimum_stock="7")
    await portal(session, Ref("critical_part", SEAL), current_stock="8")
    await sync(session, "merge")
    await move(session, PUMP, OF_PUMP, THREE)
    await sync(session, "manual")


async def test_so_is_one_of_vessels_that_change_in_one_commit(session: Session) -> None:
    await source_steps.exchange(session, session.onboarding.of["vessels"][ONE], "9319466")
    await portal(session, Ref("vessel", ONE), image_url=None)
    await sync(session, "merge")


async def test_a_document_of_equipment_that_turned_erroneous_and_moved_is_kept_with_it(
    session: Session,
) -> None:
    await source(session, "equipment", RADAR, name=" ")
    await sync(session)
    await move(session, RADAR, OF_RADAR, TWO)
    await sync(session)
    await sync(session, "merge")


async def test_a_user_whom_the_portal_deleted_comes_back_with_the_company_that_he_moved_to(
    session: Session,
) -> None:
    company = await add(session, "companies", name="Cyan", code="cyan")
    await source(session, "users", ANN, company_id=company)
    await portal_steps.delete_row(session, "users", session.state.target_id(Ref("user", ANN)))
    await sync(session, "merge")


async def test_a_vessel_comes_with_rows_that_moved_to_it_and_with_the_number_that_another_gives_up(
    session: Session,
) -> None:
    await source_steps.exchange(session, session.onboarding.of["vessels"][FOUR], "9319466")
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await source(session, "critical_parts", SEAL, equipment_id=ANCHOR)
    await sync(session)


async def test_a_document_in_conflict_that_moves_with_equipment_which_turns_erroneous_is_as_expected(
    session: Session,
) -> None:
    await portal(session, Ref("document", OF_PUMP["documents"]), file_name="portal")
    await source(session, "equipment", PUMP, name=" ")
    await sync(session)
    await move(session, PUMP, OF_PUMP, TWO)
    await sync(session)


async def test_a_part_that_waits_for_equipment_which_the_portal_deleted_moves_with_it(
    session: Session,
) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", CRANE))
    await add(session, "critical_parts", equipment_id=CRANE, name="Hook")
    await sync(session)
    await move(session, CRANE, OF_CRANE, THREE)
    await sync(session, "manual")


async def test_a_vessel_gets_the_number_of_another_that_gets_a_new_one_though_the_portal_had_taken_its_own(
    session: Session,
) -> None:
    await portal(session, Ref("vessel", TWO), imo_number=None)
    await source_steps.exchange(session, session.onboarding.of["vessels"][ONE], "9319466")
    await sync(session, "merge")


async def test_equipment_that_would_move_and_is_kept_goes_with_a_checkpoint_of_the_vessel_that_it_is_on(
    session: Session,
) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "equipment", PUMP, name=" ")
    await sync(session)
    await source_steps.delete_row(session, "equipment", PUMP)
    await sync(session)
    assert not session.state.is_there(Ref("equipment", PUMP))
    change = [one for one in session.history.changes if one.vessel == ONE][-1]
    await session.rollback(change, force=False)
    assert session.state.is_there(Ref("critical_part", SEAL))


async def test_it_moves_when_it_may_with_a_checkpoint_of_both_vessels(session: Session) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "equipment", PUMP, name=" ")
    await sync(session)
    await source(session, "equipment", PUMP, name="Pump again")
    await sync(session)
    assert {ONE, TWO} <= {change.vessel for change in session.history.changes[-3:]}


async def test_it_stays_on_a_vessel_that_the_source_has_no_more(session: Session) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "equipment", PUMP, name=" ")
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    assert session.state.is_there(Ref("critical_part", SEAL))
    await source(session, "equipment", PUMP, name="Pump again")
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("vessel", ONE))
    assert session.state.is_there(Ref("critical_part", SEAL))


async def test_equipment_with_a_conflict_found_as_it_moves_stays_where_it_is_until_that_is_decided(
    session: Session,
) -> None:
    winch = Ref("equipment", WINCH)
    await portal(session, winch, name="portal")
    await source(session, "equipment", WINCH, vessel_id=ONE, location_id=None)
    await sync(session, "manual")
    change = session.history.changes[-1]
    conflicts = await package.conflicts(session.settings(), "open")
    assert [one["vessel_id"] for one in conflicts] == [TWO]
    await source_steps.delete_row(session, "equipment", VALVE)
    await sync(session, "manual")
    await session.resolve(0, "source")
    assert session.history.changes[-1].vessel == TWO, "what it changes is in a checkpoint of that vessel"
    await session.rollback(session.history.changes[-1], force=False)
    assert change.step.after.unit(winch) == session.state.unit(winch)


async def test_a_new_document_that_waits_with_its_equipment_moves_with_it(session: Session) -> None:
    await move(session, WINCH, OF_WINCH, ONE)
    await source(session, "equipment", WINCH, name=None)
    document = await add(session, "documents", vessel_id=ONE, equipment_id=WINCH)
    await sync(session)
    await move(session, WINCH, {**OF_WINCH, "documents": document}, TWO)
    await sync(session)
    assert not session.state.is_there(Ref("document", document))


async def test_a_new_document_that_waits_for_deleted_equipment_moves_with_it(session: Session) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", RADIO))
    await source(session, "equipment", RADIO, notes="later")
    document = await add(session, "documents", vessel_id=THREE, equipment_id=RADIO)
    await sync(session, "manual")
    for vessel in (TWO, THREE):
        await move(session, RADIO, {"documents": document}, vessel)
        await sync(session, "manual")
    assert not session.state.is_there(Ref("document", document))


async def test_equipment_that_was_kept_out_of_a_vessel_is_not_listed_there_when_it_goes_to_another(
    session: Session,
) -> None:
    lamp = await add(session, "equipment", vessel_id=TWO, name="Lamp", code="L-1")
    await sync(session)
    await source(session, "equipment", lamp, vessel_id=THREE, name=None)
    await sync(session)
    assert session.state.quarantine[Ref("equipment", lamp)].vessel == THREE
    await source(session, "equipment", lamp, vessel_id=ONE, name="Lamp again")
    await sync(session)
    assert Ref("equipment", lamp) not in session.state.quarantine


async def test_a_part_that_moves_to_equipment_which_the_portal_deleted_stays_its_vessels_until_that_is_back(
    session: Session,
) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", DAVIT))
    await source(session, "critical_parts", ROPE, equipment_id=DAVIT)
    await sync(session)
    await source_steps.delete_row(session, "critical_parts", ROPE)
    await source_steps.delete_row(session, "vessels", ONE)
    await sync(session)  # what vessel One had is held back by the brake
    assert not session.state.is_there(Ref("critical_part", ROPE))


async def test_so_does_one_whose_equipment_goes_in_the_same_sync(session: Session) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", DAVIT))
    await source(session, "critical_parts", ROPE, equipment_id=DAVIT)
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session)
    await source(session, "equipment", DAVIT, name="Davit again")
    await sync(session)


async def test_a_part_in_conflict_goes_on_with_its_equipment_when_the_vessel_that_it_was_on_is_gone(
    session: Session,
) -> None:
    part = Ref("critical_part", SHAFT)
    await portal(session, part, current_stock="8")
    await source(session, "critical_parts", SHAFT, current_stock="9")
    await sync(session, "manual")
    await move(session, PUMP, OF_PUMP, TWO)
    await sync(session)
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    await source(session, "equipment", CRANE, notes="later")
    await sync(session)
    await session.resolve(0, "source")
    await sync(session)


async def test_so_does_one_whose_conflict_is_found_as_its_equipment_moves(session: Session) -> None:
    part = Ref("critical_part", SHAFT)
    await portal(session, part, current_stock="8")
    await source(session, "critical_parts", SHAFT, current_stock="9")
    await move(session, PUMP, OF_PUMP, TWO)
    await sync(session, "manual")
    conflicts = await package.conflicts(session.settings(), "open")
    assert [one["vessel_id"] for one in conflicts] == [TWO]
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    await source(session, "equipment", CRANE, notes="later")
    await sync(session)
    assert session.state.is_there(part)


async def test_a_rollback_of_the_move_brings_both_back_to_where_they_were(session: Session) -> None:
    await portal(session, Ref("critical_part", SHAFT), current_stock="8")
    await source(session, "critical_parts", SHAFT, current_stock="9")
    await sync(session, "manual")
    await move(session, PUMP, OF_PUMP, TWO)
    await sync(session)
    moved = session.history.changes[-1]
    await session.rollback(moved, force=False)
    assert not session.runs[-1].was_refused
    conflicts = await package.conflicts(session.settings(), "open")
    assert [one["vessel_id"] for one in conflicts] == [ONE]
    await session.rollback(session.history.changes[-1], force=False)
    conflicts = await package.conflicts(session.settings(), "open")
    assert [one["vessel_id"] for one in conflicts] == [TWO]
    await session.resolve(0, "source")


async def test_equipment_that_the_portal_deleted_and_that_is_kept_out_goes_where_the_source_has_it(
    session: Session,
) -> None:
    """Its old one may be gone when it comes back: under its own id, as what the portal has deleted."""
    pump = Ref("equipment", PUMP)
    await portal_steps.delete_row(session, "equipment", pump)
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "equipment", PUMP, name=" ")
    await sync(session)
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    await source(session, "equipment", PUMP, name="Pump again")
    await sync(session, "merge")
    assert session.state.is_there(pump)


async def test_a_part_that_the_source_has_on_nothing_is_where_its_equipment_goes(session: Session) -> None:
    """As what was last written there, it doesn't keep the equipment."""
    await source(session, "critical_parts", SHAFT, equipment_id="99999999-0000-4000-8000-000000000000")
    await sync(session)
    await move(session, PUMP, OF_PUMP, TWO)
    await sync(session)
    await source_steps.delete_row(session, "equipment", PUMP, whole=False)
    await sync(session, "target_wins")
    assert not session.state.is_there(Ref("equipment", PUMP))


async def test_a_part_of_nothing_is_known_when_its_equipment_has_left_a_vessel_that_is_gone(
    session: Session,
) -> None:
    await source(session, "critical_parts", SHAFT, equipment_id=source_steps.DANGLING)
    await move(session, PUMP, OF_PUMP, TWO)
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    await source(session, "critical_parts", SHAFT, equipment_id=WINCH)
    await sync(session)
    assert session.state.is_there(Ref("critical_part", SHAFT))


async def test_a_part_of_nothing_that_gets_equipment_is_not_listed_when_that_is_migrated(
    session: Session,
) -> None:
    part = next(ref for ref, one in session.state.quarantine.items() if one.codes == {"part.orphaned"})
    await source(session, "critical_parts", part.source_id, equipment_id=ANCHOR)
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await session.migrate(frozenset({FOUR}))
    assert session.state.is_there(part)
    assert part not in session.state.quarantine
