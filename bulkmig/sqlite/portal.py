"""The portal in PostgreSQL's shape: a temporary view of each table, with UUIDs for its integer ids, and
triggers that take changes to the view apart again.

Every row has its UUID in the table of ids: rows that bulkmig created the derived one, which a migration to
PostgreSQL would have given them, all others one made of table and number (`values.own_uuid`).
"""

from __future__ import annotations

from bulkmig.sqlite.numbering import IDS, next_free
from bulkmig.sqlite.tables import PortalColumn, PortalTable
from bulkmig.sqlite.translate import VIEW
from bulkmig.sqlite.values import printed, stored

NOWHERE = -(2**63)  # a reference that names no row: the foreign key refuses it


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
        f"coalesce({_into(table, c, f'NEW.{c.quoted}')}, {c.default})"
        if c.default and not c.nullable and c is not table.own
        else _into(table, c, f"NEW.{c.quoted}")
        for c in writable
    )
    this = " AND ".join(
        f"{column.quoted} IS {_into(table, column, f'OLD.{column.quoted}')}" for column in table.key
    )
    changed = ", ".join(
        f"{c.quoted} = CASE WHEN NEW.{c.quoted} IS OLD.{c.quoted} THEN {c.quoted}"
        f" ELSE {_into(table, c, f'NEW.{c.quoted}')} END"
        for c in writable
        if c is not table.own
    )
    note = _note_id(table) if table.own is not None else ""
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


def _into(table: PortalTable, column: PortalColumn, value: str) -> str:
    """SQL: what is stored in a column for a value as PostgreSQL prints it."""
    if column is table.own:
        return f"(SELECT id FROM {IDS} WHERE uuid = {value})"
    if column.parent is not None:
        return (
            f"CASE WHEN {value} IS NOT NULL THEN coalesce((SELECT id FROM {IDS} WHERE uuid = {value}),"
            f" own_number('{column.parent}', {value}), {NOWHERE}) END"
        )
    return stored(column.kind, value)


def _note_id(table: PortalTable) -> str:
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
