"""A row with its detail rows, as one unit, on the expected and on the actual side alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.oracle.contract import TABLES, Thing
from tests.oracle.draft import Cell, Ref, Row

Tables = Mapping[str, Sequence[Mapping[str, Cell]]]
Ids = Mapping[Ref, str]
Cells = dict[tuple[str, int, str], str | None]


@dataclass
class Unit:
    """The rows of one thing by table: one of the main table, and those that hang on it."""

    thing: Thing
    id: Cell
    rows: dict[str, list[Row]]

    def value(self, table: str, column: str) -> Cell:
        """A cell of the table's first row, None if there is no row."""
        return self.rows[table][0][column] if self.rows[table] else None

    def __str__(self) -> str:
        name = f"{self.id.entity} {self.id.source_id}" if isinstance(self.id, Ref) else self.id
        return f"{self.thing.table} {name}"


def resolve(cell: Cell, ids: Ids) -> str | None:
    """The cell as the target has it; a reference to a row that wasn't found there stands for itself."""
    if isinstance(cell, Ref):
        return ids.get(cell, f"<{cell.entity} {cell.source_id}>")
    return cell


def units(tables: Tables, thing: Thing) -> list[Unit]:
    """The units of a thing; a detail row without its main row makes a unit of its own."""
    found: dict[Cell, Unit] = {}
    for table, key in {thing.table: "id", **thing.details}.items():
        for row in tables[table]:
            empty = Unit(thing, row[key], {name: [] for name in (thing.table, *thing.details)})
            found.setdefault(row[key], empty).rows[table].append(dict(row))
    return list(found.values())


def cells(unit: Unit, ids: Ids) -> Cells:
    """Every cell but the unit's own id, references resolved."""
    keys = {unit.thing.table: "id", **unit.thing.details}
    found: Cells = {}
    for table, rows in unit.rows.items():
        columns = [column for column in TABLES[table] if column != keys[table]]
        values = [[resolve(row[column], ids) for column in columns] for row in rows]
        for number, row_values in enumerate(sorted(values, key=repr)):
            found[table, number, "(row)"] = "there"
            for column, value in zip(columns, row_values, strict=True):
                found[table, number, column] = value
    return found
