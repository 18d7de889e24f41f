"""Set-wise proof of foreign keys (`--fk-check set`): one anti-join per reference over a vessel's new rows.

The rows of a vessel share an id prefix, so each query is a range scan of the child's primary key."""

from __future__ import annotations

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
    keys = _own_key()
    low, high = id_range(vessel_id)
    for row in await connection.fetch(_FOREIGN_KEYS, list(keys)):
        child, parent = row["child"], row["parent"]
        column, parent_column = row["child_column"], row["parent_column"]
        lost = await connection.fetchval(
            f"SELECT c.{keys[child]}::text FROM {child} c WHERE c.{keys[child]} BETWEEN $1 AND $2"
            f" AND c.{column} IS NOT NULL AND NOT EXISTS"
            f" (SELECT FROM {parent} p WHERE p.{parent_column} = c.{column}) LIMIT 1",
            low,
            high,
        )
        if lost is not None:
            raise VesselError(
                f"{child} {lost}: {column} names no row of {parent} [constraint {row['conname']}]",
                "the row it refers to was deleted in the target meanwhile: run the command again",
                phase="load",
                vessel_id=vessel_id,
                entity=child,
                field=column,
            )
