"""Rows of the portal's that are adopted where bulkmig's own was rolled back before: run beside the model."""

from __future__ import annotations

from tests.model import portal_steps, source_steps
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import ACME, BLUE, FOUR, ONE, THREE, add, portal, source, sync


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


async def test_what_was_adopted_of_companies_that_a_run_did_not_touch_stays_so_when_that_goes_back(
    session: Session,
) -> None:
    await portal_steps.add(session, "companies", 3, 0, {"slug": "red"})
    red = await add(session, "companies", name="Red", code="RED")
    await add(session, "vessels", company_id=red, name="Five", imo_number="9241061")
    await sync(session)
    company = {"company_id": session.state.adopted[Ref("company", red)]}
    await portal_steps.add(session, "users", 0, 3, company)
    eve = Ref("user", await add(session, "users", company_id=red, email="eve@x.org", role="ADMIN"))
    await source(session, "companies", ACME, name="Acme II")
    await sync(session)
    assert eve in session.state.adopted
    await session.rollback_run(session.runs[0].run_id, force=False)
    assert not session.runs[-1].was_refused
    await portal(session, eve, email="portal@x.org")
    await source(session, "users", eve.source_id, first_name="Eve")
    await source(session, "companies", red, name="Redder")
    await sync(session, "merge")
    assert len(session.state.tables.rows("users")) == 1


async def test_what_was_adopted_and_others_use_stays_so_when_a_run_goes_back(session: Session) -> None:
    red = await add(session, "companies", name="Red", code="RED")
    await add(session, "vessels", company_id=red, name="Five", imo_number="9241061")
    await sync(session)
    brought = session.runs[-1].run_id
    await portal_steps.add(session, "users", 0, 3, {"company_id": Ref("company", red)})
    eve = Ref("user", await add(session, "users", company_id=red, email="eve@x.org", role="ADMIN"))
    score = next(row for row in session.onboarding.rows("quality_scores") if row["vessel_id"] == ONE)
    await source(session, "quality_scores", str(score["id"]), assessed_by=eve.source_id)
    await sync(session)
    assert eve in session.state.adopted
    await session.rollback_run(brought, force=False)
    assert session.stayed
    await portal(session, eve, email="portal@x.org")
    await source(session, "users", eve.source_id, first_name="Eve")
    await sync(session, "merge")


async def test_an_e_mail_that_a_loaded_user_gives_up_comes_with_one_who_is_adopted(session: Session) -> None:
    held = {"company_id": ACME, "email": "held@x.org", "role": "ADMIN"}
    ann, bob = [Ref("user", await add(session, "users", **held)) for _ in range(2)]
    await sync(session)
    assert bob in session.state.quarantine
    unit = session.state.unit(ann)
    assert unit is not None
    of_ann = {"company_id": unit["users"]["company_id"], "email": "HELD@x.org"}
    await portal_steps.add(session, "users", 0, 0, of_ann)
    await source(session, "users", ann.source_id, email="free@x.org")
    await sync(session)
    assert bob in session.state.adopted


async def _moved_since_adopted(session: Session) -> tuple[Ref, str]:
    """A user of the portal's who was adopted, and is another company's by now; the run that adopted him."""
    await portal_steps.add(session, "users", 0, 3, {"company_id": Ref("company", ACME)})
    eve = Ref("user", await add(session, "users", company_id=ACME, email="eve@x.org", role="ADMIN"))
    await sync(session)
    adopted = session.runs[-1].run_id
    await source(session, "users", eve.source_id, company_id=BLUE)
    await sync(session)
    return eve, adopted


async def test_an_adopted_user_who_is_another_companys_by_now_goes_back_to_his_own_without_details(
    session: Session,
) -> None:
    eve, adopted = await _moved_since_adopted(session)
    own = session.state.target_id(eve)
    await session.rollback_run(adopted, force=False)
    assert session.runs[-1].status == "completed"
    user = session.state.tables.get("users", own)
    assert user is not None
    assert user["company_id"] == Ref("company", ACME)
    assert session.state.tables.get("user_metadata", own) is None


async def test_he_is_the_portals_again_whose_e_mail_is_taken_for_another_companys_user(
    session: Session,
) -> None:
    eve, adopted = await _moved_since_adopted(session)
    await session.rollback_run(adopted, force=False)
    assert eve not in session.state.base
    await sync(session, "manual")
    assert session.state.quarantine[eve].codes == {"user.email_taken"}


async def test_a_vessel_that_is_quarantined_whole_takes_none_over(session: Session) -> None:
    row = session.onboarding.of["vessels"][FOUR]
    await source(session, "vessels", FOUR, onboarding_status="APPROVED", metadata=source_steps.TOO_LARGE)
    await sync(session)
    first = session.runs[-1].run_id
    await portal_steps.add(session, "vessels", 0, 0, {"imo_number": row["imo_number"]})
    await sync(session)
    assert Ref("vessel", FOUR) in session.state.quarantine
    await session.rollback_run(first, force=False)
    assert session.runs[-1].status == "completed"
