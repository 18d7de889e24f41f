"""What one batch has become for one vessel: ready to be loaded, or to be compared."""

from __future__ import annotations

import polars as pl
from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv, last_lines


class TableLoad(Struct):
    """CSV for one target table. `columns` in the order of the CSV's fields, `key` its primary key,
    `source_ids` one per row; `frame`: the same rows as a file stores them (`sqlite/values.py`),
    where the target is one."""

    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    source_ids: pl.Series
    data: bytes
    frame: pl.DataFrame | None = None

    @property
    def rows(self) -> int:
        return len(self.source_ids)

    def source_id_at(self, line: int) -> str:
        """The source id of the row that holds a line of the CSV; rows may span lines."""
        index = int((last_lines(from_csv(self.data, self.columns)) < line).sum())
        return str(self.source_ids[index]) if index < len(self.source_ids) else ""


class Parcel(Struct):
    """One vessel's share of an outcome; `vessel_id` is None for companies, users and rows of no vessel.

    `findings`, `quarantined`, `waiting`: frames as `unit` and `transform` define them. `elsewhere`: findings
    of rows of other vessels that were read along, which several vessels may come across. `rows`: how many the
    image had before it was encoded; `whole`: the unit has no other rows of the entity."""

    entity: Entity
    vessel_id: str | None
    image: pl.DataFrame
    findings: pl.DataFrame
    quarantined: pl.DataFrame
    waiting: pl.DataFrame
    elsewhere: pl.DataFrame | None = None
    loads: list[TableLoad] = field(default_factory=list)
    base: bytes = b""
    rows: int = 0
    whole: bool = False
