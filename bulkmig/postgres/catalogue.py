"""What columns a database really has, and which of them the role may use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bulkmig._core.unit import Catalogue, TargetColumn
from bulkmig.postgres.session import Connection

MISSING, BARRED = "is missing", "may not be"

# The tables are those that an unqualified name finds, as every statement of bulkmig uses it. A domain holds
# what the type does that it is made of.
_COLUMNS = """
SELECT c.relname, a.attname, t.typname, t.nullable, t.atttypmod,
       (SELECT string_agg(p, ', ') FROM unnest($2::text[]) p
         WHERE NOT CASE p WHEN 'DELETE' THEN has_table_privilege(c.oid, p)
                          ELSE has_column_privilege(c.oid, a.attnum, p) END) AS lacks
  FROM unnest($1::text[]) AS wanted (name)
  JOIN pg_class c ON c.oid = to_regclass(quote_ident(wanted.name))
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN LATERAL (
       WITH RECURSIVE made_of AS (
            SELECT t.typname, t.typbasetype, t.typtypmod, a.atttypmod,
                   NOT a.attnotnull AND NOT t.typnotnull AS nullable
              FROM pg_type t WHERE t.oid = a.atttypid
             UNION ALL
            SELECT t.typname, t.typbasetype, t.typtypmod, coalesce(nullif(m.atttypmod, -1), m.typtypmod),
                   m.nullable AND NOT t.typnotnull
              FROM made_of m JOIN pg_type t ON t.oid = m.typbasetype
       ) SELECT * FROM made_of WHERE typbasetype = 0) t ON true
 ORDER BY c.relname, a.attnum
"""


async def read_catalogue(
    connection: Connection, tables: Sequence[str], *, privileges: Sequence[str] = ("SELECT",)
) -> tuple[Catalogue, dict[tuple[str, str], str]]:
    """Returns table -> column -> what it is, and (table, column) -> those of the privileges that lack."""
    found: Catalogue = {}
    refused: dict[tuple[str, str], str] = {}
    for row in await connection.fetch(_COLUMNS, list(tables), list(privileges)):
        column = TargetColumn(row["typname"], row["nullable"], *_limits(row["typname"], row["atttypmod"]))
        found.setdefault(row["relname"], {})[row["attname"]] = column
        if row["lacks"]:
            refused[row["relname"], row["attname"]] = row["lacks"]
    return found, refused


def told(table: str, columns: Collection[str], faults: Mapping[str, str]) -> list[str]:
    """What is wrong with columns of a table; once for the table, where all of them may not be used alike."""
    first = next(iter(faults.values()), "")
    if len(faults) == len(columns) and set(faults.values()) == {first} and first.startswith(BARRED):
        return [f"table {table} {first}"]
    return [f"column {table}.{column} {what}" for column, what in faults.items()]


def _limits(type_: str, modifier: int) -> tuple[int | None, int | None]:
    if modifier < 4:
        return None, None
    if type_ in ("varchar", "bpchar"):
        return modifier - 4, None
    if type_ == "numeric":
        precision, scale = ((modifier - 4) >> 16) & 0xFFFF, (((modifier - 4) & 0x7FF) ^ 0x400) - 0x400
        return precision - scale, scale
    return None, None
