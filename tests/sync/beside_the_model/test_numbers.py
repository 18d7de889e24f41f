"""IMO numbers of vessels that are gone from the source, and who gets them. Run beside the model."""

from __future__ import annotations

import pytest

from tests.model import portal_steps, source_steps
from tests.model.run import Options
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    ACME,
    CRANE,
    OF_CRANE,
    OF_WINCH,
    ONE,
    THREE,
    TWO,
    WINCH,
    add,
    move,
    source,
)

NUMBER = "9319466"  # of the second vessel
ALLOWED = Options("sync", allow_deletions=True)


@pytest.fixture
async def without_two(session: Session) -> Session:
    """The source has deleted the vessel with the number."""
    await source_steps.delete_row(session, "vessels", TWO)
    return session


async def test_a_vessel_that_comes_under_another_id_comes_with_the_sync_that_deletes_it(
    without_two: Session,
) -> None:
    again = await _again(without_two)
    await without_two.sync(ALLOWED)
    assert without_two.state.is_there(again)
    assert without_two.runs[-1].status == "completed"


async def test_one_that_is_there_gets_it_then(without_two: Session) -> None:
    await source(without_two, "vessels", THREE, imo_number=NUMBER)
    await without_two.sync(ALLOWED)
    assert _number(without_two, THREE) == NUMBER


async def test_while_the_brake_holds_it_is_taken(without_two: Session) -> None:
    again = await _again(without_two)
    await without_two.sync(Options("sync"))
    assert without_two.state.quarantine[again].codes == {"vessel.imo_taken"}
    await without_two.sync(ALLOWED)
    assert without_two.state.is_there(again)


async def test_so_it_is_while_the_portals_rows_keep_the_vessel(without_two: Session) -> None:
    of_two = {"vessel_id": Ref("vessel", TWO)}
    await portal_steps.add(without_two, "equipment", 0, 0, of_two)
    again = await _again(without_two)
    await without_two.sync(ALLOWED)
    assert without_two.state.quarantine[again].codes == {"vessel.imo_taken"}


async def test_where_its_equipment_goes_to_another_vessel_the_next_sync_brings_it(session: Session) -> None:
    for row in [row for row in session.onboarding.rows("equipment") if row["vessel_id"] == TWO]:
        await move(session, str(row["id"]), {}, ONE)
    await source_steps.delete_row(session, "vessels", TWO)
    again = await _again(session)
    for _ in range(2):
        await session.sync(ALLOWED)
    assert session.state.is_there(again)


async def _again(session: Session) -> Ref:
    row = {"company_id": ACME, "name": "Two", "imo_number": NUMBER, "onboarding_status": "APPROVED"}
    return Ref("vessel", await add(session, "vessels", **row))


def _number(session: Session, vessel: str) -> object:
    unit = session.state.unit(Ref("vessel", vessel))
    assert unit is not None
    return unit["vessels"]["imo_number"]


async def test_a_vessel_that_comes_under_another_id_with_the_equipment_has_the_number(
    session: Session,
) -> None:
    await source(session, "vessels", TWO, imo_number=None)  # before the other gets it
    again = await _again(session)
    await move(session, CRANE, OF_CRANE, again.source_id)
    await move(session, WINCH, OF_WINCH, again.source_id)
    for row in [row for row in session.onboarding.rows("quality_scores") if row["vessel_id"] == TWO]:
        await source(session, "quality_scores", str(row["id"]), vessel_id=again.source_id)
    await source_steps.delete_row(session, "vessels", TWO)
    await session.sync(ALLOWED)
    assert not session.state.is_there(Ref("vessel", TWO))
    assert _number(session, again.source_id) == NUMBER
    await session.rollback_run(session.runs[-1].run_id, force=False)
    assert _number(session, TWO) == NUMBER
