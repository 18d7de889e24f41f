"""A Maintenance Portal on SQLite, read in the words of one on PostgreSQL, and one made of such rows.

What maintenance.sqlite.sql and mapping.md say of values is checked while reading: a value that has another
type or form than its column's stands in the rows as `<what it is>`, which nothing expects. Ids are
`table/number`, the numbers with leading zeros.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from tests.oracle.contract import INTEGERS, KEYS, TABLES
from tests.oracle.target import Column, Target, TargetRow, with_canonical_json

REFERENCES = {
    ("company_settings", "company_id"): "companies",
    ("users", "company_id"): "companies",
    ("user_metadata", "user_id"): "users",
    ("vessels", "company_id"): "companies",
    ("vessel_details", "vessel_id"): "vessels",
    ("equipment", "vessel_id"): "vessels",
    ("equipment_metadata", "equipment_id"): "equipment",
    ("critical_parts", "equipment_id"): "equipment",
    ("part_details", "part_id"): "critical_parts",
    ("equipment_documents", "equipment_id"): "equipment",
    ("vessel_documents", "vessel_id"): "vessels",
    ("vessel_documents", "document_id"): "equipment_documents",
    ("document_details", "document_id"): "equipment_documents",
    ("quality_scores", "vessel_id"): "vessels",
    ("quality_scores", "equipment_id"): "equipment",
    ("quality_scores", "assessed_by"): "users",
    ("cross_references", "vessel_id"): "vessels",
    ("cross_references", "source_equipment_id"): "equipment",
    ("cross_references", "target_equipment_id"): "equipment",
    ("maintenance_logs", "equipment_id"): "equipment",
    ("maintenance_logs", "performed_by"): "users",
}
BOOLEANS = {
    ("company_settings", "is_active"),
    ("users", "is_active"),
    ("critical_parts", "causes_failure"),
}
TIMES = {"created_at", "updated_at", "assessed_at", "performed_at"}
_FORM = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)\.(\d{6})Z")
_SAID = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00")


def path_of(url: str) -> str:
    """The path in a `sqlite:///` URL."""
    return unquote(url.removeprefix("sqlite:///"))


def read_file(url: str) -> Target:
    """Reads the tables of the Maintenance Portal in a file, and what its columns can hold."""
    connection = sqlite3.connect(path_of(url))
    found = Target()
    for table, columns in TABLES.items():
        rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
        found.tables[table] = [
            with_canonical_json(table, {c: _told(table, c, v) for c, v in zip(columns, row, strict=True)})
            for row in rows
        ]
    found.columns = read_columns(connection)
    connection.close()
    return found


def read_columns(connection: sqlite3.Connection) -> dict[tuple[str, str], Column]:
    """What the columns of the Maintenance Portal's tables can hold in this file."""
    found = {}
    for table in TABLES:
        for _, name, type_, notnull, _, key in connection.execute(f"PRAGMA table_info({table})"):
            kind = "bigint" if (table, name) in INTEGERS and type_ == "INTEGER" else "text"
            found[table, name] = Column(kind, nullable=not notnull and not key)
    return found


def _told(table: str, column: str, value: object) -> str | None:
    if value is None:
        return None
    parent = REFERENCES.get((table, column), table if column == "id" else None)
    if parent is not None:
        return f"{parent}/{value:020d}" if isinstance(value, int) else f"<{type(value).__name__} {value!r}>"
    if (table, column) in BOOLEANS:
        return (
            {0: "false", 1: "true"}.get(value, f"<{value!r}>") if isinstance(value, int) else f"<{value!r}>"
        )
    if (table, column) in INTEGERS:
        return str(value) if isinstance(value, int) else f"<{type(value).__name__} {value!r}>"
    if not isinstance(value, str):
        return f"<{type(value).__name__} {value!r}>"
    if column in TIMES:
        form = _FORM.fullmatch(value)
        if form:
            fraction = form[3].rstrip("0")
            return f"{form[1]} {form[2]}{'.' + fraction if fraction else ''}+00"
        return f"<{value!r}>" if _SAID.fullmatch(value) else value
    return value


def write_file(path: Path, schema: str, tables: Mapping[str, Sequence[TargetRow]]) -> str:
    """A portal on SQLite with these rows of one on PostgreSQL, numbered in order of their ids; its URL."""
    numbers: dict[str, int] = {}
    for table, rows in tables.items():
        if KEYS[table] == ("id",):
            numbers |= {id_: n for n, id_ in enumerate(sorted(row["id"] or "" for row in rows), 1)}
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(schema)
    for table, columns in TABLES.items():
        slots = ", ".join("?" for _ in columns)
        connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({slots})",
            [[_stored(table, c, row[c], numbers) for c in columns] for row in tables.get(table, ())],
        )
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def _stored(table: str, column: str, value: str | None, numbers: Mapping[str, int]) -> object:
    if value is None:
        return None
    if column == "id" or (table, column) in REFERENCES:
        return numbers[value]
    if (table, column) in BOOLEANS:
        return int(value == "true")
    if (table, column) in INTEGERS:
        return int(value)
    said = _SAID.fullmatch(value) if column in TIMES else None
    return f"{said[1]}T{said[2]}.{(said[3] or '').ljust(6, '0')}Z" if said else value
