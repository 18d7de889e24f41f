"""Companies and users that a vessel's rows need, and others. Run beside the model."""

from __future__ import annotations

import pytest

from tests.model import portal_steps, source_steps
from tests.model.run import Options
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    BLUE,
    GREEN,
    OF_PUMP,
    OF_RADAR,
    OF_VALVE,
    OF_WINCH,
    ONE,
    PUMP,
    RADAR,
    THREE,
    TWO,
    WINCH,
    move,
    source,
    sync,
)


async def test_a_company_is_not_brought_back_for_a_user_who_is_another_ones_again(session: Session) -> None:
    """He has assessed a score of the vessel."""
    assessor = session.onboarding.of["quality_scores"][OF_PUMP["quality_scores"]]["assessed_by"]
    assert assessor is not None
    await source(session, "users", assessor, company_id=GREEN)
    await source(session, "equipment", PUMP, notes="later")
    await sync(session)
    run, company = session.runs[-1].run_id, Ref("company", GREEN)
    assert session.state.is_there(company)
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", PUMP)})
    (companies,) = [one for one in session.history.changes if one.step.run == run and one.vessel is None]
    await session.rollback(companies, force=False)
    assert not session.state.is_there(company)
    await session.rollback_run(run, force=True)


async def test_a_company_comes_back_with_the_name_under_which_its_vessel_was_changed(
    session: Session,
) -> None:
    """The run had given it that name before, though its checkpoint of the company has the old one."""
    await source(session, "companies", BLUE, name="Bluer")
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)
    change = session.history.changes[-1]
    assert change.vessel == THREE
    await source_steps.delete_row(session, "companies", BLUE)
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("company", BLUE))
    await session.rollback(change, force=False)
    unit = session.state.unit(Ref("company", BLUE))
    assert unit is not None
    assert unit["companies"]["name"] == "Bluer"


async def test_who_was_let_stay_at_another_company_is_judged_anew_after_his_own_went_back(
    session: Session,
) -> None:
    """He moved, and was gone from the source, in runs that his company's checkpoint isn't of."""
    assessor = session.onboarding.of["quality_scores"][OF_PUMP["quality_scores"]]["assessed_by"]
    assert assessor is not None
    company = session.onboarding.of["users"][assessor]["company_id"]
    assert company is not None
    await source(session, "companies", company, name="Renamed")
    await sync(session)
    run = session.runs[-1].run_id
    await source(session, "users", assessor, company_id=GREEN)
    await sync(session)
    await portal_steps.add(
        session,
        "maintenance_logs",
        0,
        0,
        {"performed_by": Ref("user", assessor), "equipment_id": Ref("equipment", PUMP)},
    )
    await source_steps.delete_row(session, "users", assessor)
    await sync(session)
    assert not active(session, assessor)
    await session.rollback_run(run, force=False)
    assert active(session, assessor)
    await sync(session)
    assert not active(session, assessor)


def active(session: Session, user: str) -> bool:
    """Whether the portal lets a user of the source in."""
    unit = session.state.unit(Ref("user", user))
    assert unit is not None
    return unit["users"]["is_active"] == "true"


async def test_what_a_run_has_brought_to_another_vessel_meanwhile_is_not_taken_from_it(
    session: Session,
) -> None:
    """Not by force either; first the other vessel has to go back."""
    await session.rollback_vessel(TWO, force=False)
    back = session.history.changes[-1]
    await move(session, WINCH, OF_WINCH, THREE)
    await sync(session)
    moved = session.history.changes[-1]
    assert (moved.vessel, session.state.is_there(Ref("equipment", WINCH))) == (THREE, True)
    for force in (False, True):
        await session.rollback(back, force=force)
        (failure,) = session.runs[-1].failures
        assert f"has written it on {THREE}" in failure.error
    await session.rollback(moved, force=False)
    await session.rollback(back, force=False)
    assert session.runs[-1].status == "completed"
    await sync(session)
    assert session.runs[-1].verified.difference_count == 0


async def test_a_reference_that_had_come_back_and_that_the_portal_deleted_since_stays_deleted(
    session: Session,
) -> None:
    """It is another vessel's: it went when this one went back, and came with the way forward again."""
    reference = Ref("cross_reference", OF_RADAR["cross_references"])
    await session.rollback_vessel(ONE, force=False)
    back = session.history.changes[-1]
    assert not session.state.is_there(reference)
    await session.rollback(back, force=False)
    assert session.state.is_there(reference)
    await portal_steps.delete_row(session, "cross_references", reference)
    await session.rollback(back, force=True)
    assert not session.state.is_there(reference)


async def test_a_reference_that_its_vessel_was_given_anew_and_that_waits_comes_with_the_next_run(
    session: Session,
) -> None:
    """It waited once before, for the vessel that comes back now: what was there then isn't what counts."""
    reference = Ref("cross_reference", OF_VALVE["cross_references"])
    await session.rollback_vessel(TWO, force=False)
    back = session.history.changes[-1]
    await session.rollback_vessel(ONE, force=False)
    await session.migrate(frozenset({ONE}))
    assert reference.source_id in session.state.pending
    await session.rollback(back, force=False)
    await sync(session)
    assert session.state.is_there(reference)
    await source_steps.delete_row(session, "cross_references", reference.source_id)
    await sync(session)
    assert not session.state.is_there(reference)


async def test_a_vessel_whose_number_another_one_of_the_run_has_comes_back_after_that_one(
    session: Session,
) -> None:
    """Each by itself, as something was added to one of them meanwhile."""
    await session.rollback_run(session.runs[0].run_id, force=False)
    back = session.runs[-1].run_id
    number = session.onboarding.of["vessels"][TWO]["imo_number"]
    assert number is not None
    await source_steps.exchange(session, session.onboarding.of["vessels"][ONE], number)
    await session.migrate(frozenset({ONE}))
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", PUMP)})
    await session.rollback_run(back, force=True)
    assert session.runs[-1].status == "completed"
    assert session.state.is_there(Ref("vessel", TWO))


async def test_vessels_of_the_run_that_have_each_others_numbers_come_back_together(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large ones, which otherwise go back one by one."""
    monkeypatch.setattr("bulkmig.checkpoint.unit._MOST", 1)
    await session.rollback_run(session.runs[0].run_id, force=False)
    back = session.runs[-1].run_id
    number = session.onboarding.of["vessels"][TWO]["imo_number"]
    assert number is not None
    await source_steps.exchange(session, session.onboarding.of["vessels"][ONE], number)
    await session.migrate(None)
    await session.rollback_run(back, force=False)
    assert session.runs[-1].status == "completed"
