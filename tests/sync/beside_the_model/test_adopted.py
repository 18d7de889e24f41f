"""Rows of the portal's that are adopted where bulkmig's own was rolled back before: run beside the model."""

from __future__ import annotations

from tests.model import portal_steps
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import BLUE, FOUR, ONE, THREE, source, sync


async def _all_rolled_back(session: Session) -> None:
    await session.rollback_run(session.runs[0].run_id, force=False)
    assert not session.state.tables.rows("companies")


async def test_an_adopted_company_is_left_to_sync_by_a_later_migration(session: Session) -> None:
    await _all_rolled_back(session)
    await portal_steps.add(session, "companies", 1, 0)  # with the slug of one of the source's
    await session.migrate(frozenset({ONE, THREE}))
    own = session.state.adopted[Ref("company", BLUE)]
    row = session.state.tables.get("companies", own)
    assert row is not None
    await portal_steps.set_cell(session, "companies", row, "logo_url", "portal")
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await session.migrate(None)
    row = session.state.tables.get("companies", own)
    assert row is not None
    assert row["logo_url"] == "portal"
    await source(session, "companies", BLUE, timezone="Europe/Oslo")
    await sync(session, "merge")


async def test_an_adopted_vessel_is_the_one_that_is_synchronised(session: Session) -> None:
    await _all_rolled_back(session)
    await portal_steps.add(session, "companies", 3, 0)
    numbers = [session.onboarding.of["vessels"][ONE]["imo_number"] == one for one in portal_steps.NUMBERS]
    await portal_steps.add(session, "vessels", 0, numbers.index(True))
    await session.migrate(None)
    assert Ref("vessel", ONE) in session.state.adopted
    await source(session, "vessels", ONE, imo_number="9241061")
    await sync(session)


async def test_what_the_portal_added_to_a_vessel_since_it_was_adopted_is_its_doing_since_any_earlier_change(
    session: Session,
) -> None:
    (first,) = (change for change in session.history.changes if change.vessel == ONE)
    await session.rollback_vessel(ONE, force=False)
    number = session.onboarding.of["vessels"][ONE]["imo_number"]
    await portal_steps.add(session, "vessels", 0, portal_steps.NUMBERS.index(str(number)))
    await session.migrate(frozenset({ONE}))
    on = {"vessel_id": session.state.adopted[Ref("vessel", ONE)], "equipment_id": None}
    await portal_steps.add(session, "quality_scores", 0, 0, on)
    await session.rollback(first, force=False)
    assert session.runs[-1].was_refused
    await session.rollback(first, force=True)
    assert not session.runs[-1].was_refused
