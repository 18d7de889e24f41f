"""The portal in PostgreSQL's shape: a temporary view of each table, with UUIDs for its integer ids, and
triggers that take changes to the view apart again.

Every row has its UUID in the table of ids: rows that bulkmig created the derived one, which a migration to
PostgreSQL would have given them, all others one made of table and number (`values.own_uuid`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import asdict

from bulkmig._core.declare import Kind
from bulkmig.entities import ENTITIES
from bulkmig.errors import PreflightError
from bulkmig.sqlite.translate import VIEW
from bulkmig.sqlite.values import printed, stored

IDS = "bulkmig_ids"
CREATE_IDS = (
    "CREATE TABLE {schema}.bulkmig_ids (tbl TEXT NOT NULL, id INTEGER NOT NULL, uuid TEXT NOT NULL,"
    " source_id TEXT, freed INTEGER NOT NULL DEFAULT 0, born TEXT, PRIMARY KEY (tbl, id)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX {schema}.bulkmig_ids_uuid ON bulkmig_ids (uuid);"
    "CREATE INDEX {schema}.bulkmig_ids_freed ON bulkmig_ids (tbl) WHERE freed"
)
_TYPES = {
    Kind.ID: "uuid",
    Kind.TEXT: "text",
    Kind.INTEGER: "int4",
    Kind.NUMERIC: "numeric",
    Kind.BOOLEAN: "bool",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "timestamptz",
    Kind.JSON: "jsonb",
}
# The words of a declared type that give a column its affinity, in this order; any others make it NUMERIC.
_AFFINITIES = {
    "INTEGER": ("INT",),
    "TEXT": ("CHAR", "CLOB", "TEXT"),
    "BLOB": ("BLOB",),
    "REAL": ("REAL", "FLOA", "DOUB"),
}
_KEEPS = {"TEXT": ("TEXT", "BLOB"), "INTEGER": ("INTEGER", "NUMERIC")}  # a column's values as they are
_NEVER_NUMBERS = ("timestamptz", "date")  # which so stay texts whatever their column's type
BORN = "created_at"
LAST = 2**63 - 1  # of the numbers that there are
NOWHERE = -(2**63)  # a reference that names no row: the foreign key refuses it


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
        return '"' + self.name.replace('"', '""') + '"'


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


@lru_cache(maxsize=1)
def contract() -> dict[tuple[str, str], str]:
    """(table, column) -> its type where the portal is on PostgreSQL, as the catalogue names it. A table that
    an entity fills and the schema doesn't know has the types of the source columns that its cells name."""
    sql = files("bulkmig.schemas").joinpath("maintenance.postgres.sql").read_text(encoding="utf-8")
    names = {"integer": "int4", "boolean": "bool"}
    found = {}
    for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\n\);", sql, re.DOTALL):
        for column, type_ in re.findall(r"^ {4}(\w+)\s+(\w+)", body, re.MULTILINE):
            if column != "PRIMARY":
                found[table, column] = names.get(type_, type_)
    known = {table for table, _ in found}
    for entity in ENTITIES:
        kinds = {column.name: column.kind for column in entity.columns}
        for filled in entity.tables:
            for name, cell in filled.cells.items() if filled.name not in known else ():
                found[filled.name, name] = _TYPES[kinds[cell.field]]
    return found


class Due(NamedTuple):
    """How the contract has a column of a file: its type, and whose numbers it holds if it holds any."""

    type: str
    own: bool
    parent: str | None


@lru_cache(maxsize=1)
def due() -> dict[tuple[str, str], Due]:
    """(table, column) -> how the contract has it in a file."""
    sql = files("bulkmig.schemas").joinpath("maintenance.sqlite.sql").read_text(encoding="utf-8")
    found = {}
    for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\n\);", sql, re.DOTALL):
        for column, type_, rest in re.findall(r"^ {4}(\w+)\s+(TEXT|INTEGER)\b(.*)", body, re.MULTILINE):
            parent = re.search(r"REFERENCES (\w+)", rest)
            own = "PRIMARY KEY" in rest and parent is None
            found[table, column] = Due(type_, own, parent[1] if parent else None)
    return found


def unlike(tables: dict[str, PortalTable]) -> list[str]:
    """What of these tables lacks the keys and references without which ids are no numbers and rows can't be
    told apart or found, or has a type by which SQLite would change values."""
    there = sorted({name for name, _ in due()} & tables.keys())
    problems = [f"table {name} has no primary key" for name in there if not tables[name].key]
    for (name, wanted), has in due().items():
        table = tables.get(name)
        column = next((c for c in table.columns if c.name == wanted), None) if table else None
        if table is None or column is None:
            continue
        if has.own and column is not table.own:
            problems.append(f"column {name}.{wanted} is no INTEGER PRIMARY KEY")
        elif has.parent and column.parent != has.parent:
            problems.append(f"column {name}.{wanted} doesn't refer to {has.parent}")
        elif column.affinity not in _KEEPS[has.type] and column.typed not in _NEVER_NUMBERS:
            problems.append(f"column {name}.{wanted} has type {column.declared}, which changes values")
    return problems


def read(connection: sqlite3.Connection) -> dict[str, PortalTable]:
    """The portal's tables; bulkmig's own are none of them, nor are those whose names statements can't have
    and that refer to no other. Raises PreflightError where one does."""
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM main.sqlite_master WHERE type = 'table'"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'bulkmig\\_%' ESCAPE '\\'"
            " AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
        )
    ]
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


def views(tables: dict[str, PortalTable]) -> list[str]:
    """The statements that create the views and their triggers."""
    return [statement for table in tables.values() if table.shaped for statement in _view(table)]


def select(table: PortalTable, *, times: bool = True) -> str:
    """The query of a table's rows as PostgreSQL prints them; without `times`, these stay as they are stored,
    for `values.show`."""
    joins, shown = [], []
    for n, column in enumerate(table.columns):
        at = f"t.{column.quoted}"
        holder = table.name if column is table.own else column.parent
        if holder is None:
            kind = column.kind if times or column.kind != "timestamptz" else "text"
            shown.append(f"{printed(kind, at)} AS {column.quoted}")
            continue
        outer = "LEFT JOIN" if column.nullable else "JOIN"
        joins.append(f"{outer} {IDS} i{n} ON i{n}.tbl = '{holder}' AND i{n}.id = {at}")
        shown.append(f"i{n}.uuid AS {column.quoted}")
    return f'SELECT {", ".join(shown)} FROM main."{table.name}" t {" ".join(joins)}'


def _view(table: PortalTable) -> list[str]:
    name = f"{VIEW}{table.name}"
    writable = [column for column in table.columns if column.writable]
    names = ", ".join(column.quoted for column in writable)
    new = ", ".join(
        f"coalesce({into(table, c, f'NEW.{c.quoted}')}, {c.default})"
        if c.default and not c.nullable and c is not table.own
        else into(table, c, f"NEW.{c.quoted}")
        for c in writable
    )
    this = " AND ".join(
        f"{column.quoted} IS {into(table, column, f'OLD.{column.quoted}')}" for column in table.key
    )
    changed = ", ".join(
        f"{c.quoted} = CASE WHEN NEW.{c.quoted} IS OLD.{c.quoted} THEN {c.quoted}"
        f" ELSE {into(table, c, f'NEW.{c.quoted}')} END"
        for c in writable
        if c is not table.own
    )
    note = note_id(table) if table.own is not None else ""
    made = [f"CREATE TEMP VIEW {name} AS {select(table)}"]
    made.append(
        f"CREATE TEMP TRIGGER {name}_i INSTEAD OF INSERT ON {name} BEGIN {note}"
        f' INSERT INTO "{table.name}" ({names}) VALUES ({new}); END'
    )
    if this and changed:
        made.append(
            f"CREATE TEMP TRIGGER {name}_u INSTEAD OF UPDATE ON {name} BEGIN"
            f' UPDATE "{table.name}" SET {changed} WHERE {this}; END'
        )
    if table.born is not None and table.own is not None:
        born = table.born.quoted
        made.append(
            f"CREATE TEMP TRIGGER {name}_b INSTEAD OF UPDATE OF {born} ON {name}"
            f" WHEN NEW.{born} IS NOT OLD.{born} BEGIN{_note_born(table, f'OLD.{table.own.quoted}')} END"
        )
    if this:
        freed = f"UPDATE {IDS} SET freed = 1 WHERE uuid = OLD.{table.own.quoted};" if table.own else ""
        made.append(
            f"CREATE TEMP TRIGGER {name}_d INSTEAD OF DELETE ON {name} BEGIN {freed}"
            f' DELETE FROM "{table.name}" WHERE {this}; END'
        )
    return made


def into(table: PortalTable, column: PortalColumn, value: str) -> str:
    """SQL: what is stored in a column for a value as PostgreSQL prints it."""
    if column is table.own:
        return f"(SELECT id FROM {IDS} WHERE uuid = {value})"
    if column.parent is not None:
        return (
            f"CASE WHEN {value} IS NOT NULL THEN coalesce((SELECT id FROM {IDS} WHERE uuid = {value}),"
            f" own_number('{column.parent}', {value}), {NOWHERE}) END"
        )
    return stored(column.kind, value)


def note_id(table: PortalTable) -> str:
    """The trigger's statements that give a new row its number: its own, or the next that is free."""
    new = f"NEW.{table.own.quoted if table.own else 'rowid'}"
    own = f"own_number('{table.name}', {new})"
    return (
        f"INSERT INTO {IDS} (tbl, id, uuid) SELECT '{table.name}', coalesce({own}, {next_free(table)}), {new}"
        f" WHERE NOT EXISTS (SELECT 1 FROM {IDS} WHERE uuid = {new});"
        f" UPDATE {IDS} SET id = {next_free(table)} WHERE uuid = {new} AND {own} IS NULL"
        f' AND EXISTS (SELECT 1 FROM "{table.name}" t WHERE t.{table.own.quoted if table.own else "rowid"} ='
        f" {IDS}.id);"
        f" UPDATE {IDS} SET freed = 0 WHERE uuid = {new} AND freed;{_note_born(table, new)}"
    )


def _note_born(table: PortalTable, uuid: str) -> str:
    """The trigger's statement that notes what tells a row of bulkmig's from a later one."""
    if table.born is None:
        return ""
    value = stored(table.born.kind, f"NEW.{table.born.quoted}")
    return f" UPDATE {IDS} SET born = {value} WHERE uuid = {uuid} AND source_id IS NOT NULL;"


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
