"""Equipment that the source has no more and that stayed for a document which the portal's side of a conflict
left on it, and a reference of another vessel that the portal has changed. Run beside the model."""

from __future__ import annotations

import pytest

from tests.model import source_steps
from tests.model.run import Options
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import (
    OF_PUMP,
    OF_RADAR,
    ONE,
    PUMP,
    RADAR,
    SEAL,
    SHAFT,
    VALVE,
    add,
    portal,
    source,
    sync,
)

DOCUMENT, REFERENCE = OF_PUMP["documents"], OF_RADAR["cross_references"]


async def _pump_stays(session: Session) -> None:
    """Nothing else of its vessel waits, so that a sync reads that only for a reason."""
    await source(session, "documents", DOCUMENT, file_size="200")
    await portal(session, Ref("document", DOCUMENT), file_size="500")
    for part in (SEAL, SHAFT):
        await source_steps.delete_row(session, "critical_parts", part)
    for table in ("quality_scores", "cross_references"):
        await source_steps.delete_row(session, table, OF_PUMP[table])
    await source_steps.delete_row(session, "equipment", PUMP, whole=False)
    await session.sync(Options("sync", strategy="target_wins", allow_deletions=True, brake_least=2))
    assert session.state.is_there(Ref("equipment", PUMP))
    await portal(session, Ref("cross_reference", REFERENCE), notes="portal")


async def test_the_vessels_fail_together_as_the_document_lets_go(failing: Session) -> None:
    await _pump_stays(failing)
    await source(failing, "documents", DOCUMENT, equipment_id=VALVE)
    await source(failing, "equipment", RADAR, name=None)
    await sync(failing)
    assert failing.state.is_there(Ref("equipment", PUMP))
    await source(failing, "equipment", RADAR, name="Radar again")
    await sync(failing)
    assert not failing.state.is_there(Ref("equipment", PUMP))


@pytest.mark.parametrize("vessel", ["its own", "the other"])
async def test_they_do_where_one_of_them_is_as_it_was(failing: Session, vessel: str) -> None:
    await _pump_stays(failing)
    await source(failing, "equipment", VALVE if vessel == "its own" else RADAR, name=None)
    await sync(failing)
    await add(failing, "equipment", vessel_id=ONE, name="new")
    await sync(failing)
