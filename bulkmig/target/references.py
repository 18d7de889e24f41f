"""Set-wise proof of foreign keys (`--fk-check set`): one anti-join per reference over a vessel's new rows.

The rows of a vessel share an id prefix, so each query is a range scan of the child's primary key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

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


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of a table that vessels' rows go into."""

    constraint: str
    child: str
    column: str
    parent: str
    parent_column: str


@dataclass(frozen=True)
class Lost:
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
            for column, parent, to in file.tables[name].references
        ]
    if decisions.foreign_keys is None:
        rows = await connection.fetch(_FOREIGN_KEYS, list(_own_key()))
        decisions.foreign_keys = [ForeignKey(*row) for row in rows]
    found: list[ForeignKey] = decisions.foreign_keys
    return found


async def prove(connection: Connection, vessel_id: str, decisions: Decisions) -> None:
    """Raises VesselError naming the first reference of the vessel's rows that leads nowhere."""
    for key in await foreign_keys(connection, decisions):
        lost = await dangling(connection, key, (vessel_id,))
        if lost is not None:
            raise VesselError(
                f"{lost.child} {lost.id}: {lost.column} names no row of {lost.parent}"
                f" [constraint {lost.constraint}]",
                "the row it refers to was deleted in the target meanwhile: run the command again",
                phase="load",
                vessel_id=vessel_id,
                entity=lost.child,
                field=lost.column,
            )


async def dangling(connection: Connection, key: ForeignKey, vessels: Sequence[str]) -> Lost | None:
    """A reference of this kind that leads nowhere, among the rows of these vessels, if there is any."""
    own = f"c.{_own_key()[key.child]}"
    ranges = [id_range(vessel) for vessel in vessels]
    within = " OR ".join(f"{own} BETWEEN '{low}' AND '{high}'" for low, high in ranges)
    id_ = await connection.fetchval(
        f"SELECT {own}::text FROM {key.child} c WHERE ({within}) AND c.{key.column} IS NOT NULL"
        f" AND NOT EXISTS (SELECT FROM {key.parent} p WHERE p.{key.parent_column} = c.{key.column}) LIMIT 1"
    )
    return None if id_ is None else Lost(key.constraint, key.child, id_, key.column, key.parent)
