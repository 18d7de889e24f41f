"""What the contract has of the portal: its types on PostgreSQL, which a file's columns are shown in."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from bulkmig._core.declare import Kind
from bulkmig.entities import ENTITIES

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
