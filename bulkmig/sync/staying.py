"""Rows that were to move to another vessel and are kept as they were last written, or about which a conflict
is open: they stay on the vessel where the target has them, so that whatever becomes of them later has a
checkpoint of that vessel. What hangs on equipment goes where that goes, and what the target has nowhere goes
where the source has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bulkmig._core.declare import Entity
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection
from bulkmig.sync import conflicts
from bulkmig.sync.gather import Found, Gather
from bulkmig.sync.kept import pending
from bulkmig.sync.moves import Moves
from bulkmig.sync.row import ends_of, make


async def settle(target: Connection, gathered: Sequence[Gather], moves: Moves) -> None:
    """Gives such rows back to the vessels that they would leave, equipment before what hangs on it. Vessels
    between which rows move are gathered together."""
    of = {vessel: gather for gather in gathered for vessel in gather.vessels}
    before = moves.before(of)
    opened = await conflicts.open_ones(target, sorted(before)) if before else {}
    for entity in PER_VESSEL:
        for vessel, gather in of.items():
            found = gather.found[entity.name]
            came = moves.came[vessel][entity.name]
            undecided = {s for s in came if (entity.name, s) in opened and s not in found.held}
            left = {
                source: then for source, then in came.items() if source in found.held or source in undecided
            }
            stay = await _staying(target, entity, left, moves) if left else {}
            for then in stay.values():  # before the brake they count where they were
                found.written[vessel] -= 1
                of[then].found[entity.name].written[then] += 1
            if stay and not (vessel in moves.arriving and vessel in gather.unit.whole):
                stay = await _there(target, entity, stay, moves)
            moves.stay(vessel, entity.name, stay)
            for source, then in stay.items():
                _give_back(source, found, of[then].found[entity.name], vessel, then)
            gather.leave(entity, undecided)
            found.held |= dict.fromkeys(undecided - stay.keys(), vessel)


async def _staying(
    target: Connection, entity: Entity, kept: Mapping[str, str], moves: Moves
) -> dict[str, str]:
    """Those of these rows (source id -> vessel) that don't move in the target."""
    owners = sorted(set(kept.values()))
    if entity.waits is not None:
        # What waits is not there, and is its new vessel's.
        waiting = await pending(target, owners, entity)
        return {source: then for source, then in kept.items() if source not in waiting}
    moving = moves.taking_along(entity)
    if not moving:
        return dict(kept)
    written = await base.among(target, owners, entity.name, kept)
    rows = [] if written is None else written.iter_rows(named=True)
    along = {row["source_id"] for row in rows if not ends_of(entity, make(entity, row)).isdisjoint(moving)}
    return {source: then for source, then in kept.items() if source not in along}


async def _there(target: Connection, entity: Entity, rows: Mapping[str, str], moves: Moves) -> dict[str, str]:
    """Those of these rows (source id -> vessel) that the target has."""
    table, ids = entity.tables[0], {moves.ids[entity.name][source]: source for source in rows}
    query = f"SELECT {table.own_key}::text FROM {table.name} WHERE {table.own_key} = ANY ($1::text[]::uuid[])"
    found = {ids[row[0]] for row in await target.fetch(query, sorted(ids))}
    return {source: then for source, then in rows.items() if source in found}


def _give_back(source: str, found: Found, other: Found, vessel: str, then: str) -> None:
    if found.held.pop(source, None) is not None:
        other.held[source] = then
    if found.with_parent.pop(source, None) is not None:
        other.with_parent[source] = then
        found.ids.pop(source, None)
    found.back.add(source)
