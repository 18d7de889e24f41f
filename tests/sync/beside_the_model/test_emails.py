"""E-mails that become free in a sync, and who gets them. Run beside the model."""

from __future__ import annotations

from tests.model import source_steps
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import ACME, OF_PUMP, OF_TWO, PUMP, THREE, add, move, source, sync


async def test_who_waited_for_the_e_mail_of_a_user_that_the_source_deletes_comes_with_the_same_sync(
    session: Session,
) -> None:
    first, second = await _share_an_e_mail(session)
    out = session.runs[-1].quarantined["users"]
    await source_steps.delete_row(session, "users", first.source_id, whole=False)
    await sync(session)
    assert not session.state.is_there(first)
    assert session.state.is_there(second)
    assert second not in session.state.quarantine
    report = session.runs[-1]
    assert report.quarantined["users"] == out - 1
    assert not report.findings["warning", "user.email_taken"]


async def test_scores_of_either_name_who_is_there(session: Session) -> None:
    first, second = await _share_an_e_mail(session)
    await source(session, "quality_scores", OF_TWO["quality_scores"], assessed_by=first.source_id)
    await sync(session)
    await source(session, "quality_scores", OF_TWO["quality_scores"], assessed_by=second.source_id)
    await source_steps.delete_row(session, "users", first.source_id, whole=False)
    await sync(session)
    unit = session.state.unit(Ref("quality_score", OF_TWO["quality_scores"]))
    assert unit is not None
    assert unit["quality_scores"]["assessed_by"] == session.state.target_id(second)


async def test_so_does_one_for_whom_a_loaded_user_gives_his_up(session: Session) -> None:
    """Three users: the source deletes the first, the second takes his e-mail, the third the second's."""
    first, second = [
        Ref("user", await add(session, "users", company_id=ACME, email=email, role="ADMIN"))
        for email in ("eve@x.org", "fay@x.org")
    ]
    await sync(session)
    await source_steps.delete_row(session, "users", first.source_id, whole=False)
    await source(session, "users", second.source_id, email="EVE@x.org")
    third = Ref("user", await add(session, "users", company_id=ACME, email="fay@x.org", role="ADMIN"))
    await sync(session)
    assert (session.state.is_there(third), session.state.quarantine.get(second)) == (True, None)
    unit = session.state.unit(second)
    assert unit is not None
    assert unit["users"]["email"] == "EVE@x.org"


async def test_what_stays_with_erroneous_equipment_is_as_expected_when_somebody_came_late(
    session: Session,
) -> None:
    first, second = await _share_an_e_mail(session)
    await move(session, PUMP, OF_PUMP, THREE)
    await source(session, "equipment", PUMP, name=None)
    await source_steps.delete_row(session, "users", first.source_id, whole=False)
    await sync(session)
    assert session.state.is_there(second)


async def _share_an_e_mail(session: Session) -> tuple[Ref, Ref]:
    """The user who has the e-mail, and one who waits for it."""
    first, second = [
        Ref("user", await add(session, "users", company_id=ACME, email=email, role="ADMIN"))
        for email in ("eve@x.org", "eve@x.org")
    ]
    await sync(session)
    assert session.state.is_there(first)
    assert session.state.quarantine[second].codes == {"user.email_duplicate"}
    return first, second
