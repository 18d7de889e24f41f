"""What can't follow the source is kept as it was written, and follows later: run beside the model."""

from __future__ import annotations

import pytest

from tests.model import portal_steps, source_steps
from tests.model.run import Options
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    BLUE,
    CRANE,
    DAVIT,
    FOUR,
    OF_PUMP,
    OF_RADAR,
    ONE,
    PUMP,
    RADAR,
    RADIO,
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
    takes_the_number_of,
)


async def test_a_company_that_turns_erroneous_quarantines_vessels_in_which_nothing_changed(
    session: Session,
) -> None:
    await source(session, "companies", BLUE, settings=source_steps.TOO_LARGE)
    await sync(session)
    await source(session, "companies", BLUE, settings=None)
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)


async def test_a_vessel_that_is_kept_out_whole_keeps_what_the_source_deleted_until_it_is_not(
    session: Session,
) -> None:
    await takes_the_number_of(session, ONE, TWO)
    await portal(session, Ref("critical_part", SHAFT), current_stock="8")
    await source_steps.delete_row(session, "critical_parts", SHAFT)
    await sync(session, "target_wins")
    await source(session, "vessels", ONE, imo_number="9241061")
    await sync(session)


async def test_new_rows_on_equipment_that_the_portal_deleted_come_when_it_is_there_again(
    session: Session,
) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", CRANE))
    on = {"vessel_id": TWO, "equipment_id": CRANE}
    await add(session, "critical_parts", equipment_id=CRANE, name="Hook")
    await add(session, "documents", **on)
    await add(session, "quality_scores", **on)
    await add(
        session, "cross_references", vessel_id=TWO, source_equipment_id=WINCH, target_equipment_id=CRANE
    )
    await sync(session)
    await source(session, "equipment", WINCH, notes="later")
    await sync(session)
    await source(session, "equipment", CRANE, notes="later")
    await sync(session)


async def test_a_new_document_that_waited_with_erroneous_equipment_waits_on_for_that_which_the_portal_deleted(
    session: Session,
) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", CRANE))
    await source(session, "equipment", CRANE, name=None)
    await add(session, "documents", vessel_id=TWO, equipment_id=CRANE)
    await sync(session)
    await source(session, "equipment", CRANE, name="Crane again")
    await sync(session, "target_wins")


async def test_a_new_document_that_waits_with_equipment_which_is_kept_is_no_difference(
    session: Session,
) -> None:
    await source(session, "equipment", RADAR, name=" ")
    document = await add(session, "documents", vessel_id=THREE, equipment_id=RADAR)
    await sync(session)
    assert not session.state.is_there(Ref("document", document))
    await source(session, "equipment", RADAR, name="Radar again")
    await sync(session)
    assert session.state.is_there(Ref("document", document))


@pytest.mark.parametrize("gone", ["equipment", "vessel"])
async def test_equipment_stays_while_the_vessel_fails_whose_reference_to_it_the_portal_has_changed(
    failing: Session, gone: str
) -> None:
    reference = Ref("cross_reference", OF_RADAR["cross_references"])
    await portal(failing, reference, notes="portal")
    await source(failing, "equipment", RADAR, name=" ")
    if gone == "vessel":
        await source_steps.delete_row(failing, "vessels", ONE)
    else:
        await source_steps.delete_row(failing, "equipment", PUMP)
    await failing.sync(Options("sync", strategy="target_wins", allow_deletions=True))
    assert failing.state.is_there(reference)
    await source(failing, "equipment", RADAR, name="Radar again")
    await failing.sync(Options("sync", strategy="target_wins", allow_deletions=True))
    assert failing.state.is_there(reference)


@pytest.mark.parametrize("gone", [False, True])
async def test_equipment_that_would_move_to_a_vessel_that_fails_stays(failing: Session, gone: bool) -> None:
    await move(failing, PUMP, OF_PUMP, TWO)
    await source(failing, "equipment", CRANE, name=" ")
    if gone:
        await source_steps.delete_row(failing, "vessels", ONE)
    await failing.sync(Options("sync", allow_deletions=True))
    assert failing.state.is_there(Ref("critical_part", SEAL))


async def test_equipment_that_stayed_with_its_vessel_stays_by_the_brake_once_the_vessel_is_sound(
    session: Session,
) -> None:
    await takes_the_number_of(session, ONE, TWO)
    for equipment in (DAVIT, VALVE):
        await source_steps.delete_row(session, "equipment", equipment)
    await sync(session, "target_wins")
    await portal(session, Ref("vessel", ONE), image_url=None)
    await sync(session, "target_wins")
    assert session.state.is_there(Ref("equipment", VALVE))
    await session.sync(Options("sync", strategy="target_wins", allow_deletions=True))
    assert not session.state.is_there(Ref("equipment", VALVE))


async def test_the_brake_counts_no_reference_that_waits_since_a_rollback(session: Session) -> None:
    await session.rollback_vessel(TWO, force=False)
    written = session.state.of_vessel(ONE)
    await source_steps.delete_row(session, "equipment", DAVIT)
    await source_steps.delete_row(session, "equipment", VALVE)
    gone = [ref for ref in written if session.onboarding.get(*ref) is None]
    await session.sync(Options("sync", brake_least=2, brake_share=len(gone) / len(written)))
    assert not session.state.is_there(Ref("equipment", DAVIT))


@pytest.mark.parametrize("number", [0, 2], ids=["the same number", "another number"])
async def test_a_vessel_of_the_portal_s_that_was_taken_over_is_kept_by_a_rollback_to_before_it_was_there(
    session: Session, number: int
) -> None:
    await session.rollback_vessel(ONE, force=False)
    (back,) = (one for one in session.history.changes if one.vessel == ONE and one.restored)
    if number:
        await source(session, "vessels", FOUR, imo_number=None)
        await source(session, "vessels", ONE, imo_number="9321483")
    await portal_steps.add(session, "vessels", 0, number)
    await session.migrate(frozenset({ONE}))
    assert Ref("vessel", ONE) in session.state.adopted
    await session.rollback(back, force=False)
    names = [row["name"] for row in session.state.tables.rows("vessels")]
    assert ("One" in names, any("own" in str(name) for name in names)) == (True, bool(number))


async def test_what_a_migration_writes_on_another_vessel_is_not_listed_with_the_one_that_it_left(
    session: Session,
) -> None:
    await session.rollback_vessel(THREE, force=False)
    nameless = await add(session, "equipment", vessel_id=TWO)
    await source(session, "equipment", nameless, name=None)
    score = await add(session, "quality_scores", vessel_id=TWO, equipment_id=nameless, score="7")
    await sync(session)
    assert {Ref("equipment", nameless), Ref("quality_score", score)} <= session.state.quarantine.keys()
    await source(session, "quality_scores", score, vessel_id=THREE, equipment_id=RADIO)
    await session.migrate(frozenset({THREE}))
    assert session.state.is_there(Ref("quality_score", score))
    assert Ref("quality_score", score) not in session.state.quarantine
    assert Ref("equipment", nameless) in session.state.quarantine
