"""One row, three values: what was last written (base), what the source says now, what the target holds.

source       target       then
as base      whatever     nothing: what only the portal changed is the portal's
changed      as base      the source's value is written
changed      changed      conflict: the strategy decides
changed      deleted      conflict: created anew, or left deleted
deleted      as base      deleted
deleted      changed      conflict: deleted, or kept
deleted      deleted      forgotten
new          -            written
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from bulkmig._core.declare import Entity
from bulkmig.sync.row import Row, equal
from bulkmig.sync.strategies._strategy import Strategy, Types

Kind = Literal["both_changed", "deleted_in_source", "deleted_by_portal"]


class Conflict(Struct, frozen=True):
    """What both sides did to one row. `result`: what stands in the target now, None for no row; of no meaning
    while the conflict is `open`."""

    kind: Kind
    base: Row
    source: Row | None
    target: Row | None
    result: Row | None
    strategy: str
    open: bool


class Verdict(Struct, frozen=True):
    """`row`: what is to stand in the target (None: no row), where `write` says that it doesn't yet. `base`:
    what counts as last written from now on (None: the row is forgotten)."""

    write: bool
    row: Row | None
    base: Row | None
    conflict: Conflict | None = None


def decide(
    entity: Entity,
    types: Types,
    strategy: Strategy,
    base: Row | None,
    source: Row | None,
    target: Row | None,
) -> Verdict:
    """What becomes of a row. `source` is None where the source has it no more, `base` where it is new."""
    if base is None:
        return Verdict(not equal(entity, source, target), source, source)
    if equal(entity, source, base):
        return Verdict(False, target, base)
    if equal(entity, target, base):
        return Verdict(True, source, source)
    if source is None:
        return _deleted_in_source(strategy, base, target)
    if target is None:
        return _deleted_by_portal(strategy, base, source)
    if equal(entity, source, target):
        return Verdict(False, target, source)  # both came to the same
    result = strategy.both(entity, types, base, source, target)
    conflict = Conflict("both_changed", base, source, target, result, strategy.name, result is None)
    if result is None:
        return Verdict(False, target, base, conflict)
    return Verdict(not equal(entity, result, target), result, source, conflict)


def _deleted_in_source(strategy: Strategy, base: Row, target: Row | None) -> Verdict:
    if target is None:
        return Verdict(False, None, None)
    goes = strategy.deleted_in_source
    result = None if goes else target
    conflict = Conflict("deleted_in_source", base, None, target, result, strategy.name, goes is None)
    return Verdict(bool(goes), result, base if goes is None else None, conflict)


def _deleted_by_portal(strategy: Strategy, base: Row, source: Row) -> Verdict:
    anew = strategy.deleted_by_portal
    result = source if anew else None
    conflict = Conflict("deleted_by_portal", base, source, None, result, strategy.name, anew is None)
    return Verdict(bool(anew), result, base if anew is None else source, conflict)
