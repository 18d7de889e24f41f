"""The deletion brake, run beside the model."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.model import source_steps
from tests.model.session import Session
from tests.sync.beside_the_model.scene import CRANE, DAVIT, ONE, PUMP, source, sync


async def test_a_reference_that_went_with_its_end_in_the_same_sync_counts_as_gone(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of eleven rows, one of which ends on equipment of a vessel that has its turn before."""
    settings = session.settings
    monkeypatch.setattr(session, "settings", lambda *of: replace(settings(*of), parallel_vessels=1))
    await source(session, "vessels", ONE, flag="NO")
    await sync(session)  # from now on the other has waited longer
    for equipment in (PUMP, DAVIT):
        await source_steps.delete_row(session, "equipment", equipment, whole=False)
    await source_steps.delete_row(session, "equipment", CRANE)
    await sync(session)
    assert session.runs[-1].held_back
