"""Which vessels a sync is about."""

from __future__ import annotations

from msgspec import Struct

from bulkmig.config import Settings
from bulkmig.ends import Ends
from bulkmig.selection import Selection, Vessel, resolve
from bulkmig.sync import gone
from bulkmig.target.state import TargetState

_THERE = "SELECT id::text FROM vessels WHERE id = ANY ($1::text[]::uuid[])"


class Chosen(Struct):
    """`old`: vessels to be brought up to date, those that waited longest first; `new`: vessels that come;
    `others`: vessels in the target that were not selected; `vanished`: those that the source has no more."""

    old: list[Vessel]
    new: list[Vessel]
    others: list[Vessel]
    vanished: list[Vessel]

    @property
    def coming(self) -> list[Vessel]:
        """Vessels that are to be as the source has them."""
        return [*self.old, *self.new]

    @property
    def looked_at(self) -> list[Vessel]:
        """Vessels whose rows may have changed."""
        return [*self.old, *self.others]


async def choose(
    ends: Ends,
    settings: Settings,
    selection: Selection,
    selected: list[Vessel],
    state: TargetState,
    apart: set[str],
) -> Chosen:
    """The vessels that a sync is about, without those that are left `apart`."""
    migrated = {vessel for vessel, mark in state.marks.items() if mark.state == "migrated"}
    known = {vessel.id for vessel in selected}
    unlisted = sorted(migrated - known)
    there = [row[0] for row in await ends.holder.fetch(_THERE, unlisted)] if unlisted else []
    missing = set(unlisted) - set(there) - apart
    vanished = await gone.named(ends.target, missing) if missing else []
    others = []
    if there:
        others = await resolve(ends.holder, Selection(vessels=tuple(there), allow_unapproved=True))
    if selection.all:
        selected, others = [*selected, *others], []
    waited = {vessel: n for n, vessel in enumerate(state.marks)}
    old = [v for v in selected if v.id in migrated and v.id not in apart]
    return Chosen(
        sorted(old, key=lambda vessel: waited.get(vessel.id, 0)),
        [v for v in selected if v.id not in migrated and v.id not in apart] if settings.new else [],
        [v for v in others if v.id not in apart],
        vanished,
    )
