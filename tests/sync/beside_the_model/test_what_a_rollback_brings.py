"""Companies and users that a vessel's rows need, and others. Run beside the model."""

from __future__ import annotations

from tests.model import portal_steps
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import GREEN, OF_PUMP, PUMP, source, sync


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
    await session.rollback_run(run, force=False)
    assert not session.state.is_there(company)
    await session.rollback_run(run, force=True)
