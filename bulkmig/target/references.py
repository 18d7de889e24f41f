"""Set-wise proof of foreign keys (`--fk-check set`): one query over the new rows of a vessel, an anti-join a
reference.

The rows of a vessel share an id prefix, so each of these is a range scan of the child's primary key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from bulkmig._core.ids import id_range
from bulkmig._core.unit import Decisions
from bulkmig.entities import PER_VESSEL
from bulkmig.errors import VesselError
from bulkmig.postgres.session import Connection
from bulkmig.sqlite.session import on_file

_FOREIGN_KEYS = """
SELECT con.conname, child.relname, a.attname, parent.relname, b.attname
  FROM pg_constraint con
  JOIN pg_class child ON child.oid = con.conrelid
  JOIN pg_class parent ON parent.oid = con.confrelid
  JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1]
  JOIN pg_attribute b ON b.attrelid = con.confrelid AND b.attnum = con.confkey[1]
 WHERE con.contype = 'f' AND cardinality(con.conkey) = 1
   AND con.conrelid = ANY (SELECT to_regclass(quote_ident(name)) FROM unnest($1::text[]) AS wanted (name))
 ORDER BY con.conname
"""


class ForeignKey(Struct, frozen=True):
    """A foreign key of a table that vessels' rows go into."""

    constraint: str
    child: str
    column: str
    parent: str
    parent_column: str


class Lost(Struct, frozen=True):
    """A reference that leads nowhere: the child's table, id and column, and the table it names no row of."""

    constraint: str
    child: str
    id: str
    column: str
    parent: str


@lru_cache(maxsize=1)
def _own_key() -> dict[str, str]:
    """Target table -> the column that holds the row's own derived id."""
    return {table.name: table.own_key for entity in PER_VESSEL for table in entity.tables}


async def foreign_keys(connection: Connection, decisions: Decisions) -> list[ForeignKey]:
    """The foreign keys that the target has, read from its catalogue once a run."""
    file = on_file(connection)
    if decisions.foreign_keys is None and file is not None:
        decisions.foreign_keys = [
            ForeignKey(f"{name}.{column}", name, column, parent, to)
            for name in _own_key()
            for column, parent, to, _ in file.tables[name].references
        ]
    if decisions.foreign_keys is None:
        rows = await connection.fetch(_FOREIGN_KEYS, list(_own_key()))
        decisions.foreign_keys = [ForeignKey(*row) for row in rows]
    found: list[ForeignKey] = decisions.foreign_keys
    return found


async def prove(connection: Connection, vessel_id: str, decisions: Decisions) -> None:
    """Raises VesselError naming the first reference of the vessel's rows that leads nowhere; what the others
    lead to stays until the commit."""
    keys = await foreign_keys(connection, decisions)
    await _hold(connection, keys, vessel_id)
    for lost in await dangling(connection, keys, (vessel_id,)):
        raise VesselError(
            f"{lost.child} {lost.id}: {lost.column} names no row of {lost.parent}"
            f" [constraint {lost.constraint}]",
            "the row it refers to was deleted in the target meanwhile: run the command again",
            phase="load",
            vessel_id=vessel_id,
            entity=lost.child,
            field=lost.column,
        )


async def _hold(connection: Connection, keys: Sequence[ForeignKey], vessel_id: str) -> None:
    """Locks the companies and users that a vessel's rows lead to, as foreign keys would: until the commit
    nobody deletes one, nor has anybody who hasn't committed that yet. All else was written with the rows."""
    if on_file(connection) is not None:
        return  # it has one writer
    ours, own = [id_range(vessel_id)], _own_key()
    for key in keys:
        if key.parent not in own:
            parent, rows = f"p.{key.parent_column}", _within(f"c.{own[key.child]}", ours)
            # No join, as in `dangling`: the planner would go through the vessel's rows for each parent.
            named = f"ARRAY (SELECT DISTINCT c.{key.column} FROM {key.child} c WHERE {rows})"
            await connection.execute(
                f"SELECT FROM {key.parent} p WHERE {parent} = ANY ({named}) ORDER BY {parent} FOR KEY SHARE"
            )


async def dangling(connection: Connection, keys: Sequence[ForeignKey], vessels: Sequence[str]) -> list[Lost]:
    """Of each kind of reference one that leads nowhere, among the rows of these vessels, if there is any.

    No step is a join of which the planner could choose the way: of rows that have just been written, with
    what it knows from before them, it expects one, and would go through all of them for each reference; or it
    would read a parent's whole table for every vessel."""
    ranges = [id_range(vessel) for vessel in vessels]
    far, asked = [], []
    for number, key in enumerate(keys):
        own, column, parent = f"c.{_own_key()[key.child]}", f"c.{key.column}", f"p.{key.parent_column}"
        rows = f"FROM {key.child} c WHERE ({_within(own, ranges)})"
        named = f"SELECT DISTINCT {column} AS parent {rows} AND {column} IS NOT NULL"
        if key.parent in _own_key():  # most lead to rows of these vessels
            named += f" EXCEPT SELECT {parent} FROM {key.parent} p WHERE {_within(parent, ranges)}"
        far.append(f"far{number} AS MATERIALIZED ({named})")
        asked.append(
            f"SELECT {number} AS number, min((SELECT min({own}::text) {rows} AND {column} = f.parent)) AS id"
            f" FROM far{number} f WHERE NOT EXISTS"
            f" (SELECT FROM {key.parent} p WHERE {parent} = f.parent LIMIT 1 OFFSET 0)"  # OFFSET: one by one
        )
    if not keys:
        return []
    found = await connection.fetch(f"WITH {', '.join(far)} {' UNION ALL '.join(asked)}")
    lost = [(keys[row["number"]], row["id"]) for row in found if row["id"] is not None]
    return [Lost(key.constraint, key.child, id_, key.column, key.parent) for key, id_ in lost]


def _within(key: str, ranges: Sequence[tuple[str, str]]) -> str:
    return " OR ".join(f"{key} BETWEEN '{low}' AND '{high}'" for low, high in ranges)
