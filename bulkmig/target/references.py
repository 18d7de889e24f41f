"""Set-wise proof of foreign keys (`--fk-check set`): one anti-join per reference over a vessel's new rows.

The rows of a vessel share an id prefix, so each query is a range scan of the child's primary key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from bulkmig._core.ids import id_range
from bulkmig.entities import PER_VESSEL
from bulkmig.errors import VesselError
from bulkmig.postgres.session import Connection

_FOREIGN_KEYS = """
SELECT con.conname, child.relname AS child, parent.relname AS parent, a.attname AS child_column,
       b.attname AS parent_column
  FROM pg_constraint con
  JOIN pg_class child ON child.oid = con.conrelid
  JOIN pg_class parent ON parent.oid = con.confrelid
  JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = con.conkey[1]
  JOIN pg_attribute b ON b.attrelid = con.confrelid AND b.attnum = con.confkey[1]
 WHERE con.contype = 'f' AND cardinality(con.conkey) = 1
   AND con.conrelid = ANY (SELECT to_regclass(quote_ident(name)) FROM unnest($1::text[]) AS wanted (name))
 ORDER BY con.conname
"""


@lru_cache(maxsize=1)
def _own_key() -> dict[str, str]:
    """Target table -> the column that holds the row's own derived id."""
    return {table.name: table.own_key for entity in PER_VESSEL for table in entity.tables}


async def prove(connection: Connection, vessel_id: str) -> None:
    """Raises VesselError naming the first reference of the vessel's rows that leads nowhere."""
    async for lost in dangling(connection, (vessel_id,)):
        raise VesselError(
            f"{lost.child} {lost.id}: {lost.column} names no row of {lost.parent}"
            f" [constraint {lost.constraint}]",
            "the row it refers to was deleted in the target meanwhile: run the command again",
            phase="load",
            vessel_id=vessel_id,
            entity=lost.child,
            field=lost.column,
        )


@dataclass(frozen=True)
class Lost:
    """A reference that leads nowhere: the child's table, id and column, and the table it names no row of."""

    constraint: str
    child: str
    id: str
    column: str
    parent: str


async def dangling(connection: Connection, vessels: Sequence[str]) -> AsyncIterator[Lost]:
    """One reference that leads nowhere for each foreign key that has any, among the rows of these vessels."""
    keys = _own_key()
    ranges = [id_range(vessel) for vessel in vessels]
    for row in await connection.fetch(_FOREIGN_KEYS, list(keys)):
        child, parent, column = row["child"], row["parent"], row["child_column"]
        key = f"c.{keys[child]}"
        within = " OR ".join(f"{key} BETWEEN '{low}' AND '{high}'" for low, high in ranges)
        lost = await connection.fetchval(
            f"SELECT {key}::text FROM {child} c WHERE ({within}) AND c.{column} IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM {parent} p WHERE p.{row['parent_column']} = c.{column}) LIMIT 1"
        )
        if lost is not None:
            yield Lost(row["conname"], child, lost, column, parent)
