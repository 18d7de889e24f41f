"""The target's tables in memory: rows by key, what hangs on what, and what a deletion takes along."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

from tests.oracle.contract import KEYS, TABLES, THINGS, Thing
from tests.oracle.draft import Cell, Ref, Row

THING_OF: dict[str, Thing] = {thing.entity: thing for thing in THINGS}
Unit = dict[str, Row]
"""The rows of one thing: by table, the main row and its detail rows."""


class Link(NamedTuple):
    """A reference of the target: `child.column` names a row of `parent`."""

    child: str
    column: str
    parent: str
    cascades: bool = True


LINKS = (
    Link("company_settings", "company_id", "companies"),
    Link("users", "company_id", "companies", cascades=False),
    Link("user_metadata", "user_id", "users"),
    Link("vessels", "company_id", "companies", cascades=False),
    Link("vessel_details", "vessel_id", "vessels"),
    Link("equipment", "vessel_id", "vessels", cascades=False),
    Link("equipment_metadata", "equipment_id", "equipment"),
    Link("critical_parts", "equipment_id", "equipment"),
    Link("part_details", "part_id", "critical_parts"),
    Link("equipment_documents", "equipment_id", "equipment"),
    Link("vessel_documents", "vessel_id", "vessels"),
    Link("vessel_documents", "document_id", "equipment_documents"),
    Link("document_details", "document_id", "equipment_documents"),
    Link("quality_scores", "vessel_id", "vessels"),
    Link("quality_scores", "equipment_id", "equipment"),
    Link("quality_scores", "assessed_by", "users", cascades=False),
    Link("cross_references", "vessel_id", "vessels"),
    Link("cross_references", "source_equipment_id", "equipment"),
    Link("cross_references", "target_equipment_id", "equipment"),
    Link("maintenance_logs", "equipment_id", "equipment"),
    Link("maintenance_logs", "performed_by", "users", cascades=False),
)

Key = tuple[Cell, ...]


class Tables:
    """Every table of the portal: key -> row. Rows are never changed in place."""

    def __init__(self) -> None:
        self.of: dict[str, dict[Key, Row]] = {table: {} for table in TABLES}

    def copy(self) -> Tables:
        """One that shares no row's place with this one."""
        made = Tables()
        made.of = {table: dict(rows) for table, rows in self.of.items()}
        return made

    def rows(self, table: str) -> list[Row]:
        """All rows of a table."""
        return list(self.of[table].values())

    def get(self, table: str, id_: Cell) -> Row | None:
        """The row with this id, of a table whose key is one column."""
        return self.of[table].get((id_,))

    def put(self, table: str, row: Row) -> None:
        """Inserts the row, or replaces the one with its key."""
        self.of[table][key_of(table, row)] = dict(row)

    def unit(self, thing: Thing, id_: Cell) -> Unit | None:
        """The main row and its detail rows; None where there is no main row."""
        main = self.get(thing.table, id_)
        if main is None:
            return None
        found: Unit = {thing.table: main}
        for table, column in thing.details.items():
            for row in self.of[table].values():
                if row[column] == id_:
                    found[table] = row
        return found

    def put_unit(self, thing: Thing, unit: Unit) -> None:
        """Writes a thing as it is given; detail rows that it hasn't are deleted."""
        id_ = unit[thing.table]["id"]
        for table, column in thing.details.items():
            for row in [row for row in self.of[table].values() if row[column] == id_]:
                del self.of[table][key_of(table, row)]
        for table, row in unit.items():
            self.put(table, row)

    def refers(self, table: str, id_: Cell) -> Iterator[tuple[Link, Row]]:
        """The rows that name this row."""
        for link in LINKS:
            if link.parent == table:
                for row in list(self.of[link.child].values()):
                    if row[link.column] == id_:
                        yield link, row

    def is_used(self, table: str, id_: Cell) -> bool:
        """Whether rows that wouldn't go along name this row."""
        return any(not link.cascades for link, _ in self.refers(table, id_))

    def delete(self, table: str, row: Row) -> None:
        """Deletes a row and what the target's cascades take along."""
        if self.of[table].pop(key_of(table, row), None) is None or "id" not in row:
            return
        for link, child in self.refers(table, row["id"]):
            if link.cascades:
                self.delete(link.child, child)

    def dangling(self, unit: Unit) -> bool:
        """Whether the rows name something that isn't there."""
        own = {(table, row.get("id")) for table, row in unit.items()}
        for link in LINKS:
            row = unit.get(link.child)
            named = None if row is None else row[link.column]
            if named is not None and (link.parent, named) not in own and self.get(link.parent, named) is None:
                return True
        return False


def key_of(table: str, row: Row) -> Key:
    """The row's key."""
    return tuple(row[column] for column in KEYS[table])


def same_cells(one: Unit | None, other: Unit | None) -> bool:
    """Whether every cell is the same."""
    return one == other


def copy_unit(unit: Unit) -> Unit:
    """Rows of one's own."""
    return copy.deepcopy(unit)


def vessel_of(tables: Tables, table: str, row: Row) -> Cell:
    """The vessel that a row of the target belongs to, None if to none."""
    if table in ("vessels",):
        return row["id"]
    if "vessel_id" in row:
        return row["vessel_id"]
    for column, parent in (
        ("equipment_id", "equipment"),
        ("part_id", "critical_parts"),
        ("document_id", "equipment_documents"),
    ):
        if row.get(column) is not None:
            above = tables.get(parent, row[column])
            return None if above is None else vessel_of(tables, parent, above)
    if table == "equipment_documents":
        for listed in tables.rows("vessel_documents"):
            if listed["document_id"] == row["id"]:
                return listed["vessel_id"]
    return None


def thing_ref(entity: str, source_id: str) -> Ref:
    """A source row's name."""
    return Ref(entity, source_id)
