"""How a file's tables differ from the contract's where bulkmig can't do with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from bulkmig.sqlite.tables import PortalTable

_KEEPS = {"TEXT": ("TEXT", "BLOB"), "INTEGER": ("INTEGER", "NUMERIC")}  # a column's values as they are
_NEVER_NUMBERS = ("timestamptz", "date")  # which so stay texts whatever their column's type


class _Due(NamedTuple):
    """How the contract has a column of a file: its type, and whose numbers it holds if it holds any."""

    type: str
    own: bool
    parent: str | None


@lru_cache(maxsize=1)
def _due() -> dict[tuple[str, str], _Due]:
    """(table, column) -> how the contract has it in a file."""
    sql = files("bulkmig.schemas").joinpath("maintenance.sqlite.sql").read_text(encoding="utf-8")
    found = {}
    for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\n\);", sql, re.DOTALL):
        for column, type_, rest in re.findall(r"^ {4}(\w+)\s+(TEXT|INTEGER)\b(.*)", body, re.MULTILINE):
            parent = re.search(r"REFERENCES (\w+)", rest)
            own = "PRIMARY KEY" in rest and parent is None
            found[table, column] = _Due(type_, own, parent[1] if parent else None)
    return found


def unlike(tables: Mapping[str, PortalTable]) -> list[str]:
    """What of these tables lacks the keys and references without which ids are no numbers and rows can't be
    told apart or found, or has a type by which SQLite would change values."""
    there = sorted({name for name, _ in _due()} & tables.keys())
    problems = [f"table {name} has no primary key" for name in there if not tables[name].key]
    for (name, wanted), has in _due().items():
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
