"""The portal's tables as a file has them: columns, keys, references, and whose numbers a column holds."""

from __future__ import annotations

import re
import sqlite3
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import asdict

from bulkmig.errors import PreflightError
from bulkmig.sqlite.contract import contract

BORN = "created_at"

# The words of a declared type that give a column its affinity, in this order; any others make it NUMERIC.
_AFFINITIES = {
    "INTEGER": ("INT",),
    "TEXT": ("CHAR", "CLOB", "TEXT"),
    "BLOB": ("BLOB",),
    "REAL": ("REAL", "FLOA", "DOUB"),
}


class PortalColumn(Struct, frozen=True):
    """A column as the file has it. `kind`: how its values are spelled; `parent`: the table whose numbers it
    holds; `typed`: PostgreSQL's type of the same column."""

    name: str
    kind: str
    typed: str
    nullable: bool
    key: int
    writable: bool
    parent: str | None = None
    default: str | None = None
    declared: str = ""

    @property
    def affinity(self) -> str:
        """What SQLite makes of values where it can (sqlite.org/datatype3.html, 3.1)."""
        declared = self.declared.upper()
        for affinity, words in _AFFINITIES.items():
            if any(word in declared for word in words):
                return affinity
        return "NUMERIC" if declared else "BLOB"

    @property
    def quoted(self) -> str:
        return quoted(self.name)


class Link(NamedTuple):
    """A foreign key: of several columns the pair that names the parent's row alone, if there is one."""

    column: str
    parent: str
    to: str
    cascades: bool


class PortalTable(Struct):
    """A table; `own`: the column with the numbers that it gives itself, none of them twice if it is
    `sequential`; `holds`: column -> the table and column of which it holds values."""

    name: str
    columns: list[PortalColumn]
    own: PortalColumn | None = None
    sequential: bool = False
    unique: list[tuple[str, ...]] = field(default_factory=list)
    references: list[Link] = field(default_factory=list)
    holds: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def key(self) -> list[PortalColumn]:
        return sorted((c for c in self.columns if c.key), key=lambda c: c.key)

    @property
    def born(self) -> PortalColumn | None:
        """The column that tells a row from a later one with its number."""
        return next((c for c in self.columns if c.name == BORN), None) if self.own is not None else None

    @property
    def shaped(self) -> bool:
        """Whether PostgreSQL would show it differently."""
        return self.own is not None or any(c.parent or c.kind != "text" for c in self.columns)


def names_of(connection: sqlite3.Connection) -> list[str]:
    """What the portal's tables are called; bulkmig's own are none of them."""
    return [
        name
        for (name,) in connection.execute(
            "SELECT name FROM main.sqlite_master WHERE type = 'table'"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'bulkmig\\_%' ESCAPE '\\'"
            " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        )
    ]


def quoted(name: str) -> str:
    """A name as statements have it, whatever its characters."""
    return '"' + name.replace('"', '""') + '"'


def read(connection: sqlite3.Connection) -> dict[str, PortalTable]:
    """The portal's tables, but for those whose names statements can't have and that refer to no other.
    Raises PreflightError where one does."""
    names = names_of(connection)
    tables = {name: _table(connection, name) for name in names}
    for name in [name for name in names if not re.fullmatch(r"\w+", name)]:
        if tables.pop(name).references:
            raise PreflightError(
                f"the portal's table {name!r} refers to other tables, and its name is no single word",
                "rename it: letters, digits and underscores",
            )
    roots = {name: table.own for name, table in tables.items()}
    for table in tables.values():
        columns = []
        for column in table.columns:
            parent = _root(tables, *table.holds[column.name]) if column.name in table.holds else None
            columns.append(
                PortalColumn(**{**asdict(column), "parent": parent if parent and roots[parent] else None})
            )
        table.columns = columns
        if table.own is not None:
            own = next(column for column in columns if column.name == table.own.name)
            table.own = None if own.parent else own
    return tables


def _root(tables: dict[str, PortalTable], parent: str, column: str) -> str | None:
    """The table that gives the numbers which a column of `parent` holds."""
    for _ in range(len(tables)):
        if parent not in tables:
            return None
        up = tables[parent].holds.get(column)
        if up is None:
            own = tables[parent].own
            return parent if own is not None and own.name == column else None
        parent, column = up
    return None


def _table(connection: sqlite3.Connection, name: str) -> PortalTable:
    rows = connection.execute("SELECT * FROM pragma_table_xinfo(?1, 'main')", (name,)).fetchall()
    typed = contract()
    columns = []
    for _, column, type_, notnull, default, key, hidden in rows:
        if hidden == 1:
            continue
        kind, shown = _kind(type_, typed.get((name, column)))
        columns.append(
            PortalColumn(column, kind, shown, not notnull and not key, key, hidden == 0, None, default, type_)
        )
    table = PortalTable(name, columns)
    keys = table.key
    declared = {column: type_ for _, column, type_, *_ in rows}
    if len(keys) == 1 and declared[keys[0].name].upper() == "INTEGER":
        table.own = keys[0]
        (made,) = connection.execute("SELECT sql FROM main.sqlite_master WHERE name = ?1", (name,)).fetchone()
        table.sequential = re.search(r"\bAUTOINCREMENT\b", made, re.IGNORECASE) is not None
    links: dict[int, list[Link]] = {}
    for id_, place, parent, column, to, _, deleted in connection.execute(
        'SELECT id, seq, "table", "from", "to", on_update, on_delete'
        " FROM pragma_foreign_key_list(?1, 'main') ORDER BY id, seq",
        (name,),
    ).fetchall():
        named = to or (*_key_of(connection, parent), "rowid")[place]
        links.setdefault(id_, []).append(Link(column, parent, named, deleted == "CASCADE"))
    for link in sorted(links.values(), key=len):
        alone = [pair for pair in link if [pair.to] == _key_of(connection, pair.parent)]
        table.references.append((alone or link)[0])
        for pair in link:
            table.holds.setdefault(pair.column, (pair.parent, pair.to))
    written = {column.name for column in columns if column.writable}
    for index, unique, origin, partial in connection.execute(
        "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1, 'main')", (name,)
    ).fetchall():
        if unique and origin != "pk" and not partial:
            parts = connection.execute(
                "SELECT name FROM pragma_index_info(?1, 'main') ORDER BY seqno", (index,)
            ).fetchall()
            if all(part in written for (part,) in parts):
                table.unique.append(tuple(part for (part,) in parts))
    return table


def _key_of(connection: sqlite3.Connection, table: str) -> list[str]:
    query = "SELECT name FROM pragma_table_info(?1, 'main') WHERE pk ORDER BY pk"
    return [str(name) for (name,) in connection.execute(query, (table,))]


def _kind(declared: str, typed: str | None) -> tuple[str, str]:
    """How values are spelled, and what the type is called: lengths and ranges are SQLite's."""
    if typed == "timestamptz" or typed == "bool":
        return typed, typed
    if typed == "int4" or (typed is None and "INT" in declared.upper()):
        return "integer", "int8"
    return "text", "text" if typed in (None, "varchar") else typed
