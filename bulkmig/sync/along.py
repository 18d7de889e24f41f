"""References that end on equipment of other vessels which is to go: they go along, maybe before their own
vessels are looked at."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection, pairs
from bulkmig.sync.moves import Moves
from bulkmig.sync.row import end_cells, equal, make
from bulkmig.sync.standing import standing

_REFERENCES = """
SELECT t.id::text AS id, t.vessel_id::text AS vessel, e.vessel_id::text AS other
  FROM {table} t JOIN equipment e ON e.id = t.{column}
 WHERE e.id = ANY ($1::text[]::uuid[]) AND t.vessel_id <> e.vessel_id
"""
_VESSELS = """
SELECT target_id::text, source_id::text FROM bulkmig.identities
 WHERE entity = 'vessel' AND target_id = ANY ($1::text[]::uuid[])
"""


async def note(target: Connection, moves: Moves, going: Collection[str]) -> None:
    """Notes between which vessels this equipment (target ids) has references; where the portal has changed
    one, that is decided in the commit that would take it along, or neither vessel changes."""
    for entity in PER_VESSEL if going else ():
        if entity.waits is None:
            continue
        found: dict[str, set[tuple[str, str]]] = {}
        for cell in end_cells(entity):
            table, _, column = cell.partition(".")
            query = _REFERENCES.format(table=table, column=column)
            for row in await target.fetch(query, list(going)):
                found.setdefault(row["id"], set()).add((row["other"], row["vessel"]))
        ends = {end for between in found.values() for pair in between for end in pair}
        known = pairs(await target.fetch(_VESSELS, list(ends))) if found else {}
        between = {
            id_: [(known[one], known[other]) for one, other in both if {one, other} <= known.keys()]
            for id_, both in found.items()
        }
        for both in between.values():
            for vessel, other in both:
                moves.touched[vessel].add(other)
        for id_ in await _changed(
            target, entity, between.keys(), {o for b in between.values() for _, o in b}
        ):
            for vessel, other in between[id_]:
                moves.bind(vessel, other)


async def _changed(
    target: Connection, entity: Entity, ids: Collection[str], owners: Collection[str]
) -> set[str]:
    """Those of these rows (target ids), written for these vessels, that the portal has changed."""
    own = pl.col(f"{entity.tables[0].name}.{entity.tables[0].own_key}")
    written = (
        await base.read(target, sorted(owners), entity.name, shape=lambda f: f.filter(own.is_in(list(ids))))
        if owners
        else None
    )
    if written is None:
        return set()
    rows = {values[own.meta.output_name()]: make(entity, values) for values in written.iter_rows(named=True)}
    there = await standing(target, entity, rows.keys(), rows.values())
    return {id_ for id_, row in rows.items() if id_ in there and not equal(entity, row, there[id_])}
