"""What both portals do to the same row, so that the rules about conflicts and deletions are hit often."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.model import portal_steps, source_steps
from tests.model.onboarding import TABLE_OF
from tests.model.session import Session
from tests.model.tables import THING_OF
from tests.oracle.draft import Ref

ENTITIES = tuple(TABLE_OF)
DELETABLE = ("critical_part", "document", "quality_score", "cross_reference", "equipment", "user")


def loaded(session: Session, entity: str, which: int) -> Ref | None:
    """One of the rows of an entity that both sides have."""
    found = [
        ref for ref in sorted(session.state.base) if ref.entity == entity and session.state.is_there(ref)
    ]
    found = [ref for ref in found if session.onboarding.get(*ref) is not None]
    return found[which % len(found)] if found else None


async def both_change(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Both change a column, the same or another."""
    ref = loaded(session, entity, which)
    if ref is not None:
        await source_steps.change_row(session, TABLE_OF[entity], ref.source_id, one, other)
        target = session.state.target_id(ref)
        await portal_steps.change_row(session, THING_OF[entity].table, target, one // 7, other + one)


async def source_deletes(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """The source deletes what the portal changes."""
    ref = loaded(session, entity, which)
    if ref is not None and entity in DELETABLE:
        target = session.state.target_id(ref)
        await portal_steps.change_row(session, THING_OF[entity].table, target, one, other)
        await source_steps.delete_row(session, TABLE_OF[entity], ref.source_id)


async def portal_deletes(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """The portal deletes what the source changes."""
    ref = loaded(session, entity, which)
    if ref is not None and entity in DELETABLE:
        await portal_steps.delete_row(session, THING_OF[entity].table, session.state.target_id(ref))
        await source_steps.change_row(session, TABLE_OF[entity], ref.source_id, one, other)


async def logged_and_deleted(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """The portal logs work on equipment that the source deletes then."""
    ref = loaded(session, "equipment", which)
    if ref is not None:
        await portal_steps.add(session, "maintenance_logs", one, other)
        logs = portal_steps.rows(session, "maintenance_logs")
        if logs:
            on = logs[-1]["equipment_id"]
            if isinstance(on, Ref) and session.onboarding.get(*on) is not None:
                await source_steps.delete_row(session, "equipment", on.source_id)


async def breaks(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """An equipment turns erroneous, and a part of it is new or changes."""
    ref = loaded(session, "equipment", which)
    if ref is not None:
        await source_steps.set_cells(session, "equipment", ref.source_id, {"name": (None, " ")[other % 2]})
        parts = session.onboarding.rows("critical_parts")
        mine = [row for row in parts if row["equipment_id"] == ref.source_id]
        if mine and one % 2:
            await source_steps.change_row(session, "critical_parts", str(mine[0]["id"]), one, other)
        else:
            await source_steps.insert_part(session, ref.source_id)


async def mends(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """An erroneous equipment has a name again."""
    for row in session.onboarding.rows("equipment"):
        if row["name"] in (None, " "):
            word = session.clock.word("Mended")
            await source_steps.set_cells(session, "equipment", str(row["id"]), {"name": word})
            return


async def exchanges(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Two vessels exchange their IMO numbers."""
    rows = [row for row in session.onboarding.rows("vessels") if row["imo_number"]]
    if len(rows) > 1:
        await source_steps.exchange(
            session, rows[which % len(rows)], str(rows[(which + 1) % len(rows)]["imo_number"])
        )


Both = Callable[[Session, str, int, int, int], Coroutine[Any, Any, None]]
STEPS: dict[str, Both] = {
    "both change": both_change,
    "both change once more": both_change,
    "source deletes": source_deletes,
    "portal deletes": portal_deletes,
    "logged and deleted": logged_and_deleted,
    "breaks": breaks,
    "mends": mends,
    "exchanges": exchanges,
}
