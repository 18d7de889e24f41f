"""What the source has no more goes, once nothing keeps it: run beside the model."""

from __future__ import annotations

from tests.model import portal_steps, source_steps
from tests.model.run import Options
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    ANN,
    BLUE,
    CRANE,
    DAVIT,
    OF_PUMP,
    OF_RADAR,
    OF_VALVE,
    OF_WINCH,
    ONE,
    PUMP,
    RADAR,
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


async def test_a_user_who_stayed_because_a_row_referred_to_him_goes_when_none_does(session: Session) -> None:
    ann = session.state.target_id(Ref("user", ANN))
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"performed_by": ann})
    await source_steps.delete_row(session, "users", ANN)
    await sync(session)
    log = portal_steps.rows(session, "maintenance_logs")[0]["id"]
    await portal_steps.delete_row(session, "maintenance_logs", log)
    await sync(session)


async def test_equipment_on_which_a_conflict_of_another_vessel_keeps_a_reference_stays(
    session: Session,
) -> None:
    await portal(session, Ref("cross_reference", OF_VALVE["cross_references"]), notes="portal")
    await source_steps.delete_row(session, "cross_references", OF_VALVE["cross_references"])
    await sync(session, "manual")
    await source_steps.delete_row(session, "equipment", CRANE)
    await sync(session)


async def test_rows_that_went_with_the_equipment_that_the_source_deleted_are_new_on_another(
    session: Session,
) -> None:
    await source_steps.delete_row(session, "equipment", RADAR, whole=False)
    await source_steps.delete_row(session, "equipment", WINCH, whole=False)
    await sync(session)
    await source(session, "cross_references", OF_RADAR["cross_references"], source_equipment_id=VALVE)
    await source(session, "quality_scores", OF_WINCH["quality_scores"], equipment_id=CRANE)
    await sync(session, "manual")


async def test_rows_beside_those_that_went_along_are_known_as_they_were_written(session: Session) -> None:
    """So that what the portal does to them is its doing."""
    scores = session.onboarding.of["quality_scores"]
    beside = next(
        id_ for id_, row in scores.items() if (row["vessel_id"], row["equipment_id"]) == (TWO, None)
    )
    await source_steps.delete_row(session, "equipment", WINCH, whole=False)
    await sync(session)
    await portal(session, Ref("quality_score", beside), score="55")
    await source(session, "quality_scores", beside, category="later")
    await sync(session, "merge")


async def test_equipment_goes_when_its_last_log_is_gone(session: Session) -> None:
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", WINCH)})
    await source_steps.delete_row(session, "equipment", WINCH)
    await sync(session)
    log = portal_steps.rows(session, "maintenance_logs")[0]["id"]
    await portal_steps.delete_row(session, "maintenance_logs", log)
    await sync(session)
    assert not session.state.is_there(Ref("equipment", WINCH))


async def test_a_vessel_goes_when_the_last_log_is_gone(session: Session) -> None:
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", WINCH)})
    await source_steps.delete_row(session, "vessels", TWO)
    released = Options("sync", allow_deletions=True)
    await session.sync(released)
    assert session.state.is_there(Ref("vessel", TWO))
    log = portal_steps.rows(session, "maintenance_logs")[0]["id"]
    await portal_steps.delete_row(session, "maintenance_logs", log)
    await sync(session)
    assert not session.state.is_there(Ref("vessel", TWO))


async def test_vessels_that_went_in_one_commit_come_back_in_one(session: Session) -> None:
    """Since the portal has changed a reference between them."""
    await portal(session, Ref("cross_reference", OF_VALVE["cross_references"]), notes="portal")
    for vessel in (ONE, TWO):
        await source_steps.delete_row(session, "vessels", vessel)
    await session.sync(Options("sync", allow_deletions=True))
    await session.rollback_vessel(ONE, force=False)
    (together,) = session.runs[-1].notes["together"]
    assert {ONE, TWO} == set(together)
    assert session.state.is_there(Ref("vessel", TWO))


async def test_a_user_who_was_inactive_already_and_stayed_is_in_no_conflict_when_he_goes(
    session: Session,
) -> None:
    ann = session.state.target_id(Ref("user", ANN))
    await portal(session, Ref("user", ANN), is_active="false")
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"performed_by": ann})
    await source_steps.delete_row(session, "users", ANN)
    await sync(session)
    log = portal_steps.rows(session, "maintenance_logs")[0]["id"]
    await portal_steps.delete_row(session, "maintenance_logs", log)
    await sync(session, "target_wins")
    assert not session.state.is_there(Ref("user", ANN))


async def test_equipment_goes_as_the_document_for_which_it_stayed_moves_to_another_vessel(
    session: Session,
) -> None:
    await takes_the_number_of(session, ONE, TWO)
    await source(session, "documents", OF_RADAR["documents"], vessel_id=ONE)
    await source_steps.delete_row(session, "cross_references", OF_RADAR["cross_references"])
    await source_steps.delete_row(session, "equipment", RADAR, whole=False)
    await sync(session, "target_wins")
    assert session.state.is_there(Ref("equipment", RADAR))
    await source(session, "vessels", ONE, imo_number="9241061")
    await sync(session)
    assert not session.state.is_there(Ref("equipment", RADAR))


async def test_a_vessel_goes_in_the_sync_in_which_the_last_of_its_rows_does(session: Session) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "equipment", PUMP, name=" ")
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    assert session.state.is_there(Ref("vessel", ONE)), "the pump stays on it"
    await source_steps.delete_row(session, "equipment", PUMP)
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("vessel", ONE))


async def test_a_reference_that_the_brake_keeps_and_that_goes_with_its_end_does_not_return(
    session: Session,
) -> None:
    await source_steps.delete_row(session, "equipment", VALVE)
    await source_steps.delete_row(session, "equipment", DAVIT)
    await sync(session)
    reference = Ref("cross_reference", OF_VALVE["cross_references"])
    assert session.state.is_there(reference), "the brake holds"
    await source_steps.delete_row(session, "equipment", CRANE)
    await sync(session)
    await session.rollback_vessel(TWO, force=False)
    assert session.state.is_there(Ref("equipment", CRANE))
    assert not session.state.is_there(reference)


async def test_a_vessel_goes_with_the_one_whose_equipment_a_decision_left_on_it(session: Session) -> None:
    await move(session, DAVIT, {}, TWO)
    await portal(session, Ref("equipment", DAVIT), manufacturer="portal")
    await sync(session, "target_wins")
    for vessel in (ONE, TWO):
        await source_steps.delete_row(session, "vessels", vessel)
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("vessel", ONE))


async def test_a_company_that_was_in_use_goes_though_the_brake_holds_another(session: Session) -> None:
    red = await add(session, "companies", name="Red", code="RED")
    five = await add(session, "vessels", company_id=red, name="Five", imo_number="9241061")
    await source(session, "vessels", five, onboarding_status="APPROVED")
    await sync(session)
    unit = session.state.unit(Ref("company", red))
    assert unit is not None
    await portal_steps.add(session, "users", 0, 3, {"company_id": unit["companies"]["id"]})
    (own,) = [row["id"] for row in session.state.tables.rows("users") if not isinstance(row["id"], Ref)]
    await source_steps.delete_row(session, "companies", red)
    await session.sync(Options("sync", allow_deletions=True))
    assert session.state.is_there(Ref("company", red)), "somebody of the portal's is left"
    await portal_steps.delete_row(session, "users", own)
    await source_steps.delete_row(session, "companies", BLUE)
    await session.sync(Options("sync"))
    assert session.state.is_there(Ref("company", BLUE)), "the brake holds"
    assert not session.state.is_there(Ref("company", red))
