"""A row as all target tables of its entity hold it together: what conflicts are about."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import polars as pl
from msgspec import Struct

from bulkmig._core import jsontext
from bulkmig._core.declare import Cell, Entity, Table


class Row(Struct, frozen=True):
    """`cells`: `table.column` -> text, of the tables that the row is in."""

    tables: frozenset[str]
    cells: Mapping[str, str | None]

    def __getitem__(self, cell: str) -> str | None:
        return self.cells.get(cell)


def make(entity: Entity, values: Mapping[str, object]) -> Row:
    """A row of an image's values: `?table` tells whether it is in a table that doesn't hold all rows."""
    inside = frozenset(table.name for table in entity.tables if values.get(f"?{table.name}", True))
    cells = {
        name: None if values[name] is None else str(values[name])
        for name, (table, _) in cells_of(entity).items()
        if table.name in inside
    }
    return Row(inside, cells)


@lru_cache(maxsize=64)
def cells_of(entity: Entity) -> Mapping[str, tuple[Table, Cell]]:
    """`table.column` -> its declaration, for every cell of an entity."""
    return {
        f"{table.name}.{name}": (table, cell) for table in entity.tables for name, cell in table.cells.items()
    }


def key_of(table: Table, row: Row | Mapping[str, str | None] | None) -> str:
    """A row's primary key in a table, its columns joined as `removed` parts have them."""
    return "/".join(str(row[f"{table.name}.{column}"]) for column in table.key) if row is not None else ""


def same(entity: Entity, cell: str, one: str | None, other: str | None) -> bool:
    """Whether two texts are one value."""
    return one == other or (cells_of(entity)[cell][1].json and jsontext.same(one, other))


def differing(entity: Entity, one: Row, other: Row) -> Iterator[str]:
    """The cells in which two rows are not the same; all cells of a table that only one of them is in."""
    for cell, (table, _) in cells_of(entity).items():
        apart = (table.name in one.tables) != (table.name in other.tables)
        if apart or not same(entity, cell, one[cell], other[cell]):
            yield cell


def equal_in(entity: Entity, table: Table, one: Row, other: Row) -> bool:
    """Whether two rows, both in a table, are the same there."""
    return _agree(entity, one, other, _cells_in(table))


def equal(entity: Entity, one: Row | None, other: Row | None) -> bool:
    """Whether two rows are the same in every cell; a row that isn't there equals only one that isn't."""
    if one is None or other is None:
        return one is other
    return one.tables == other.tables and _agree(entity, one, other, cells_of(entity))


@lru_cache(maxsize=64)
def _cells_in(table: Table) -> Sequence[str]:
    return [f"{table.name}.{name}" for name in table.cells]


def _agree(entity: Entity, one: Row, other: Row, cells: Collection[str]) -> bool:
    """Whether two rows of the same tables have the same values in these cells."""
    pairs = zip(cells, map(one.cells.get, cells), map(other.cells.get, cells), strict=True)
    return all(same(entity, cell, here, there) for cell, here, there in pairs if here != there)


@lru_cache(maxsize=64)
def placing(entity: Entity) -> str | None:
    """The cell that says whether a row is in the table that doesn't hold all rows: its equipment, if any."""
    if all(table.when is None for table in entity.tables):
        return None
    main = entity.tables[0]
    columns = {reference.column for reference in entity.references if reference.entity == "equipment"}
    return next((f"{main.name}.{c}" for c, cell in main.cells.items() if cell.field in columns), None)


def ends_of(entity: Entity, row: Row) -> set[str]:
    """Target ids of the equipment that a row names."""
    return {end for cell in end_cells(entity) if (end := row[cell])}


@lru_cache(maxsize=64)
def end_cells(entity: Entity) -> Sequence[str]:
    """The cells that name equipment."""
    named = {reference.column for reference in entity.references if reference.entity == "equipment"}
    return [name for name, (_, cell) in cells_of(entity).items() if cell.field in named]


@lru_cache(maxsize=64)
def field_names(entity: Entity) -> Mapping[str, str]:
    """`table.column` -> the name of the field in conflicts: the column, where no other table has one so
    called."""
    columns = [name.partition(".")[2] for name in cells_of(entity)]
    return {
        name: column if columns.count(column) == 1 else name
        for name, column in zip(cells_of(entity), columns, strict=True)
    }


def frame_of(entity: Entity, rows: Iterable[tuple[str, str, Row]]) -> pl.DataFrame:
    """Rows (vessel, source id, row) as an image, the way the base keeps them."""
    listed = list(rows)
    return pl.DataFrame(
        {
            "vessel_id": [owner for owner, _, _ in listed],
            "source_id": [source for _, source, _ in listed],
            **{
                f"?{table.name}": [table.name in row.tables for _, _, row in listed]
                for table in entity.tables
                if table.when is not None
            },
            **{
                cell: pl.Series([row.cells.get(cell) for _, _, row in listed], dtype=pl.String)
                for cell in cells_of(entity)
            },
        }
    )
