"""SQL about the numbers of a table's rows: which are free, which have no UUID yet, which name no row."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from bulkmig.entities import ENTITIES
from bulkmig.sqlite.tables import BORN, PortalColumn, PortalTable

IDS = "bulkmig_ids"
CREATE_IDS = (
    "CREATE TABLE {schema}.bulkmig_ids (tbl TEXT NOT NULL, id INTEGER NOT NULL, uuid TEXT NOT NULL,"
    " source_id TEXT, freed INTEGER NOT NULL DEFAULT 0, born TEXT, PRIMARY KEY (tbl, id)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX {schema}.bulkmig_ids_uuid ON bulkmig_ids (uuid);"
    "CREATE INDEX {schema}.bulkmig_ids_freed ON bulkmig_ids (tbl) WHERE freed"
)
LAST = 2**63 - 1  # of the numbers that there are


def strangers(table: PortalTable, tables: Collection[str]) -> str:
    """The numbers of rows that the portal has added and that have no UUID yet: none at all, or (the second
    column) that of a row of bulkmig's that isn't there: deleted, or not written yet."""
    own = table.own.quoted if table.own else "rowid"
    other = ""
    if table.born is not None:
        detail = _details().get(table.name)
        # People change rows, and their details; a row that they add has no details of bulkmig's.
        if detail is not None and detail[0] in tables:
            new = f"NOT EXISTS (SELECT 1 FROM main.{detail[0]} d WHERE d.{detail[1]} = t.{own})"
        else:
            new = f"t.{BORN} IS t.updated_at" if "updated_at" in {c.name for c in table.columns} else "0"
        other = f" OR i.born IS NOT NULL AND i.born IS NOT t.{BORN} AND {new}"
    return (
        f"SELECT t.{own}, i.uuid FROM main.\"{table.name}\" t LEFT JOIN {IDS} i ON i.tbl = '{table.name}'"
        f" AND i.id = t.{own} WHERE i.id IS NULL OR i.freed{other}"
    )


def astray(table: PortalTable, column: PortalColumn, parent: PortalTable) -> str:
    """FROM and WHERE of a table's rows `t` whose column names a row that its parent hasn't: SQLite refuses
    them only where it is asked to."""
    own = parent.own.quoted if parent.own else "rowid"
    numbers = f'SELECT {own} FROM main."{parent.name}"'
    at = f"t.{column.quoted}"
    return f'FROM main."{table.name}" t WHERE {at} IS NOT NULL AND {at} NOT IN ({numbers})'


def unheard(table: PortalTable, column: PortalColumn, parent: PortalTable) -> str:
    """The numbers without a UUID that a column holds, of rows that aren't there."""
    at = f"t.{column.quoted}"
    return (
        f"SELECT DISTINCT {at} {astray(table, column, parent)} AND typeof({at}) = 'integer'"
        f" AND NOT EXISTS (SELECT 1 FROM {IDS} i WHERE i.tbl = '{parent.name}' AND i.id = {at})"
    )


@lru_cache(maxsize=1)
def _details() -> dict[str, tuple[str, str]]:
    """Table -> the table that has a row for each of its rows, and the column that names it."""
    found = {}
    for entity in ENTITIES:
        always = [table for table in entity.tables[1:] if table.when is None]
        if always:
            found[entity.tables[0].name] = (always[0].name, always[0].own_key)
    return found


def unnumbered(table: PortalTable) -> str:
    """Of a list of UUIDs the places of those that have no number, and of those whose number is another row's
    by now."""
    own = table.own.quoted if table.own else "rowid"
    return (
        "SELECT j.key, i.id FROM json_each(?1) j"
        f" LEFT JOIN {IDS} i ON i.uuid = j.value"
        f' LEFT JOIN main."{table.name}" t ON t.{own} = i.id'
        f" WHERE i.id IS NULL OR t.{own} IS NOT NULL ORDER BY j.key"
    )


def next_free(table: PortalTable, rows: str = "1") -> str:
    """SQL: the first of so many numbers in a row that neither the portal nor bulkmig has given to a row of
    the table: those behind all others or, where the portal has taken the last that there are, in a gap."""
    own = table.own.quoted if table.own else "rowid"
    given = [
        f"SELECT max(id) FROM {IDS} WHERE tbl = '{table.name}'",
        f'SELECT max({own}) FROM "{table.name}"',
    ]
    if table.sequential:
        given.append(f"SELECT seq FROM main.sqlite_sequence WHERE name = '{table.name}'")
    greatest = ", ".join(f"coalesce(({one}), 0)" for one in given)
    taken = (
        f"SELECT 0 AS n UNION SELECT {LAST} UNION SELECT id FROM {IDS} WHERE tbl = '{table.name}' AND id > 0"
        f' UNION SELECT {own} FROM "{table.name}" WHERE {own} > 0'
    )
    gap = (
        f"SELECT n + 1 FROM (SELECT n, lead(n) OVER (ORDER BY n) AS up FROM ({taken}))"
        f" WHERE up - n > {rows} ORDER BY n LIMIT 1"
    )
    return (
        f"(SELECT CASE WHEN n <= {LAST} - {rows} THEN n + 1 ELSE ({gap}) END"
        f" FROM (SELECT max({greatest}) AS n))"
    )
