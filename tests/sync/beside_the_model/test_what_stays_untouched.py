"""What stays although the source deleted it, as the portal has changed it, is no row that bulkmig wrote: a
rollback of an earlier change finds it changed by others. Nor is what it couldn't write. Run
beside the model."""

from __future__ import annotations

import pytest

from tests.model import portal_steps, source_steps
from tests.model.history import Change
from tests.model.run import Options
from tests.model.session import Session
from tests.model.state import Strategy
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    CRANE,
    OF_CRANE,
    ONE,
    PUMP,
    SHAFT,
    TWO,
    WINCH,
    portal,
    source,
    sync,
)


async def _an_earlier_change(session: Session) -> Change:
    """Of the vessel on which the rest happens."""
    await source(session, "vessels", TWO, flag="NO")
    await sync(session)
    return session.history.changes[-1]


async def _refused(session: Session, change: Change, *tables: str) -> None:
    """Rows of these tables are what others changed since."""
    await session.rollback(change, force=False)
    assert session.runs[-1].was_refused
    assert {row.table for row in session.runs[-1].refused if row.change == "changed"} == set(tables)


async def test_equipment_that_the_portal_has_decommissioned_and_that_stays_for_its_logs(
    session: Session,
) -> None:
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", WINCH)})
    change = await _an_earlier_change(session)
    await portal(session, Ref("equipment", WINCH), status="decommissioned", manufacturer="portal")
    await source_steps.delete_row(session, "equipment", WINCH)
    await sync(session)
    await _refused(session, change, "equipment")


async def test_equipment_that_the_portal_has_changed_and_that_stays_for_a_document_in_conflict(
    session: Session,
) -> None:
    await portal(session, Ref("document", OF_CRANE["documents"]), file_name="portal")
    await source(session, "documents", OF_CRANE["documents"], name="later")
    await sync(session, "manual")
    change = await _an_earlier_change(session)
    await portal(session, Ref("equipment", CRANE), manufacturer="portal")
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session)
    assert session.state.is_there(Ref("equipment", CRANE))
    await _refused(session, change, "equipment")


async def test_a_vessel_that_the_portal_has_made_inactive_and_of_which_a_log_is_left(
    session: Session,
) -> None:
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", WINCH)})
    change = await _an_earlier_change(session)
    await portal(session, Ref("vessel", TWO), status="inactive", image_url="portal")
    await source_steps.delete_row(session, "vessels", TWO)
    await session.sync(Options("sync", allow_deletions=True))
    assert session.state.is_there(Ref("vessel", TWO))
    await _refused(session, change, "vessels")


async def test_so_it_is_not_where_bulkmig_has_made_it_inactive(session: Session) -> None:
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", WINCH)})
    change = await _an_earlier_change(session)
    await source_steps.delete_row(session, "vessels", TWO)
    await session.sync(Options("sync", allow_deletions=True))
    assert session.state.is_there(Ref("vessel", TWO))
    await session.rollback(change, force=False)
    assert not session.runs[-1].was_refused


@pytest.mark.parametrize("strategy", ["source_wins", "merge", "target_wins"])
async def test_a_part_that_the_portal_deleted_with_its_equipment_and_that_changed_is_nobodys_drift(
    session: Session, strategy: Strategy
) -> None:
    """There is nothing for it to hang on, so it isn't written, though the change counts as seen."""
    await portal_steps.delete_row(session, "equipment", session.state.target_id(Ref("equipment", PUMP)))
    await source(session, "critical_parts", SHAFT, name="later")
    await sync(session, strategy)
    change = session.history.changes[-1]
    assert change.vessel == ONE
    assert not session.state.is_there(Ref("critical_part", SHAFT))
    await session.rollback(change, force=False)
    assert not session.runs[-1].was_refused
