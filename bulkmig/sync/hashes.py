"""Rows told apart by a hash of their cells: images as the base keeps them, and what of the base it takes."""

from __future__ import annotations

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig.ledger import base

HASH = "~hash"


def kept_cells(entity: Entity) -> list[str]:
    """The cells that are assigned once."""
    return [f"{t.name}.{name}" for t in entity.tables for name, cell in t.cells.items() if cell.kept]


def normal(entity: Entity, image: pl.DataFrame) -> pl.DataFrame:
    """The image as the base keeps it: null in the cells of tables that a row is not in."""
    return image.with_columns(
        pl.when(f"?{table.name}").then(f"{table.name}.{name}").alias(f"{table.name}.{name}")
        for table in entity.tables
        if table.when is not None
        for name in table.cells
    )


def hashes(entity: Entity, image: pl.DataFrame) -> pl.Series:
    """A hash of each row's cells; the same within a process alone."""
    flags = [f"?{table.name}" for table in entity.tables if table.when is not None]
    cells = [f"{table.name}.{name}" for table in entity.tables for name in table.cells]
    return image.select(*flags, pl.col(cells).cast(pl.String)).hash_rows()


def index(entity: Entity) -> list[str]:
    """The columns of the base that tell whether a row changed: the hash, and the cells that are kept."""
    return ["source_id", HASH, *(f"{cell}~kept" for cell in kept_cells(entity))]


def indexed(entity: Entity, which: pl.Expr, *, whole: bool) -> base.Shape:
    """Such rows of the base with what tells whether they changed; alone, or else the `whole` rows."""

    def shape(frame: pl.DataFrame) -> pl.DataFrame:
        rows = frame.filter(which)
        kept = (pl.col(cell).alias(f"{cell}~kept") for cell in kept_cells(entity))
        rows = rows.with_columns(hashes(entity, rows).alias(HASH), *kept)
        return rows if whole else base.only(*index(entity))(rows)

    return shape
