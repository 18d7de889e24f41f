"""Users who come again after a vessel whose score they assessed was loaded without them. Run beside the
model."""

from __future__ import annotations

import pytest

from tests.model import portal_steps
from tests.model.session import Session
from tests.oracle.draft import Ref
from tests.sync.beside_the_model.scene import OF_TWO, THREE, TWO, add, source, sync


@pytest.fixture
async def empty(session: Session) -> Session:
    """All that was migrated went back, and the ids stay recorded."""
    await session.rollback_run(session.runs[-1].run_id, force=False)
    return session


async def test_one_who_is_migrated_again_is_named_by_the_next_sync(empty: Session) -> None:
    await _migrate_two(empty)
    await empty.migrate(frozenset({THREE}))
    await _sync(empty)


async def test_so_is_one_whose_company_comes_back_by_a_rollback(empty: Session) -> None:
    await empty.migrate(frozenset({THREE}))
    await empty.rollback_run(empty.runs[-1].run_id, force=False)
    back = empty.runs[-1].run_id
    await _migrate_two(empty)
    await empty.rollback_run(back, force=False)
    await _sync(empty)


async def test_so_is_one_whom_the_rollback_of_a_vessel_brings_along(empty: Session) -> None:
    await add(empty, "quality_scores", vessel_id=THREE, score="70", assessed_by=_assessor(empty))
    await empty.migrate(frozenset({THREE}))
    await empty.rollback_run(empty.runs[-1].run_id, force=False)
    back = empty.history.in_force(THREE)[-1]
    await _migrate_two(empty)
    await empty.rollback(back, force=False)
    await _sync(empty)


async def test_so_is_one_whom_the_portal_deleted_and_a_sync_brings_back(empty: Session) -> None:
    await empty.migrate(frozenset({THREE}))
    await portal_steps.delete_row(empty, "users", empty.state.target_id(Ref("user", _assessor(empty))))
    await _migrate_two(empty)
    await source(empty, "users", _assessor(empty), first_name="Cid")
    await _sync(empty)


async def test_so_is_one_whom_a_decision_brings_back(empty: Session) -> None:
    await empty.migrate(frozenset({THREE}))
    await portal_steps.delete_row(empty, "users", empty.state.target_id(Ref("user", _assessor(empty))))
    await source(empty, "users", _assessor(empty), first_name="Cid")
    await sync(empty, "manual")
    await _migrate_two(empty)
    await empty.resolve(0, "source")
    await _sync(empty)


def _assessor(session: Session) -> str:
    """A user of the other vessel's company."""
    assessor = session.onboarding.of["quality_scores"][OF_TWO["quality_scores"]]["assessed_by"]
    assert assessor is not None
    return assessor


def _named(session: Session) -> object:
    unit = session.state.unit(Ref("quality_score", OF_TWO["quality_scores"]))
    assert unit is not None
    return unit["quality_scores"]["assessed_by"]


async def _migrate_two(session: Session) -> None:
    await session.migrate(frozenset({TWO}))
    assert _named(session) is None


async def _sync(session: Session) -> None:
    await sync(session)
    assert _named(session) == session.state.target_id(Ref("user", _assessor(session)))
