"""Rows that the source has no more, and that stay as long as something hangs on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import polars as pl
from asyncpg import Record

from bulkmig._core.declare import Entity
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.entities import ENTITIES, entity
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection
from bulkmig.sync import conflicts
from bulkmig.sync.moves import Moves
from bulkmig.sync.row import ends_of, make, placing
from bulkmig.target.graph import Graph

# Why equipment is retained: rows of the portal's own hang on it, or a row that stays itself. And vessels.
BY_LOGS, BY_ROW = "maintenance_logs", "kept_row"
ROWS_LEFT = "rows_left"

_HELD = """
SELECT source_id::text AS source, vessel_id::text AS vessel, target_id::text AS id, reason
  FROM bulkmig.retained
 WHERE entity = 'equipment' AND reason = ANY ($1::text[])
   AND ($2::text[] IS NULL OR vessel_id = ANY ($2::text[]::uuid[]))
"""
_OWNERS = """
SELECT source_id::text AS id FROM bulkmig.identities
 WHERE entity = 'vessel' AND target_id = ANY ($1::text[]::uuid[])
"""
_WRITTEN = {of.tables[0].name: of for of in ENTITIES if of.tables}
_TABLES = {table.name for of in ENTITIES for table in of.tables}


async def by_logs(connection: Connection, graph: Graph, ids: Collection[str]) -> set[str]:
    """Those of this equipment (target ids) that rows of the portal's own tables name."""
    used: set[str] = set()
    for fk, own in graph.vessels.naming(entity("equipment")) if ids else ():
        if fk.child not in _TABLES:
            rows = await connection.fetch(
                f"SELECT DISTINCT e.{own}::text AS id FROM {fk.child} t"
                f" JOIN {fk.parent} e ON e.{fk.parent_column} = t.{fk.column}"
                f" WHERE e.{own} = ANY ($1::text[]::uuid[])",
                list(ids),
            )
            used.update(row["id"] for row in rows)
    return used


async def by_rows(
    connection: Connection, graph: Graph, ids: Collection[str], *, but: Collection[str] = ()
) -> set[str]:
    """Those of this equipment on which a row stays: because of a conflict, since it could be without
    equipment and the target's side was kept, or since it was last written for another one. `but`: rows that
    go."""
    used: set[str] = set()
    kept = set(await conflicts.kept(connection)) if ids else set()  # of whatever vessel
    for fk in graph.vessels.into("equipment") if ids else ():
        of = _WRITTEN.get(fk.child)
        if of is None or graph.tables[fk.child].key != ("id",):
            continue
        owner = "t" if "vessel_id" in graph.tables[fk.child].columns else "e"
        rows = await connection.fetch(
            f"SELECT t.id::text AS id, e.id::text AS equipment, {owner}.vessel_id::text AS vessel"
            f" FROM {fk.child} t JOIN equipment e ON e.{fk.parent_column} = t.{fk.column}"
            " WHERE e.id = ANY ($1::text[]::uuid[])",
            list(ids),
        )
        rows = [row for row in rows if row["id"] not in but and row["id"][14:16] == "8" + of.digit]
        spared = {row["id"] for row in rows if row["id"] in kept or placing(of) is not None}
        used.update(row["equipment"] for row in rows if row["id"] in spared)
        others = [row for row in rows if row["id"] not in spared]
        named = await _named(connection, of, others)
        used.update(row["equipment"] for row in others if row["equipment"] not in named.get(row["id"], ()))
    return used


async def _named(
    connection: Connection, entity: Entity, rows: Sequence[Record]
) -> Mapping[str, Collection[str]]:
    """Target id -> the equipment that a row names as it was last written, of rows (target ids, with those of
    their vessels in the target)."""
    if not rows:
        return {}
    owners = await connection.fetch(_OWNERS, sorted({row["vessel"] for row in rows}))
    own = f"{entity.tables[0].name}.{entity.tables[0].own_key}"
    these = pl.col(own).is_in([row["id"] for row in rows])
    written = await base.read(
        connection, [row["id"] for row in owners], entity.name, shape=lambda frame: frame.filter(these)
    )
    if written is None:
        return {}
    return {row[own]: ends_of(entity, make(entity, row)) for row in written.iter_rows(named=True)}


async def free(
    connection: Connection, own: Checkpoints, vessels: Sequence[str] | None = None
) -> Mapping[str, tuple[str, str]]:
    """Source id -> vessel, target id of the equipment of these vessels (or of all) that stayed and needn't
    any longer, or not as it is: logs of what stayed for a row decommission it."""
    rows = await connection.fetch(_HELD, [BY_LOGS, BY_ROW], None if vessels is None else list(vessels))
    if not rows:
        return {}
    graph = await own.read_graph(connection)
    for_rows = {row["id"] for row in rows if row["reason"] == BY_ROW}
    logged = await by_logs(connection, graph, [row["id"] for row in rows])
    stays = (logged - for_rows) | (await by_rows(connection, graph, for_rows) - logged)
    return {row["source"]: (row["vessel"], row["id"]) for row in rows if row["id"] not in stays}


async def may_go(connection: Connection, own: Checkpoints, moves: Moves) -> set[str]:
    """Equipment (target ids) that a sync may delete: what the source has no more, and what stayed, since any
    row may let go of it in this sync. What has logs stays, and so does what a conflict keeps."""
    rows = await connection.fetch(_HELD, [BY_LOGS, BY_ROW], None)
    stayed = {row["id"] for row in rows if row["vessel"] not in moves.apart}
    logged = await by_logs(connection, await own.read_graph(connection), stayed)
    return (moves.going | stayed).difference(logged, await conflicts.kept(connection))


async def anything_left(connection: Connection, graph: Graph, vessel: str) -> bool:
    """Whether anything but its own row is left of a vessel (target id), or refers to it."""
    scope, own = graph.vessels, {table.name for table in _WRITTEN["vessels"].tables}
    left = [
        f"EXISTS (SELECT FROM {table.name} t WHERE {scope.rows(table.name, [vessel])})"
        for table in scope.tables
        if table.name not in own
    ]
    left += [
        f"EXISTS (SELECT FROM {fk.child} t JOIN {scope.root} v ON v.{fk.parent_column} = t.{fk.column}"
        f" WHERE v.{scope.key} = '{vessel}'::uuid)"
        for fk in scope.into(scope.root)
        if fk.child not in own
    ]
    found: bool = await connection.fetchval(f"SELECT {' OR '.join(left)}")
    return found
