"""Values and rows as the driver for PostgreSQL takes and gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import orjson
import polars as pl

from bulkmig._core.frames import to_csv
from bulkmig.sqlite import functions

_STAMP = "2024-05-01T07:30:00.123456Z"
# The ledger's columns of these names hold what isn't text, number or bytes.
_TIMES = frozenset(
    {"started_at", "finished_at", "created_at", "detected_at", "resolved_at", "granted_at", "since", "at"}
)
_FLAGS = frozenset({"adopted", "absent", "encrypted", "incidental", "holds"})
_LISTS = frozenset({"roots", "base", "together", "columns", "ids"})
_SPELLED = _TIMES | _FLAGS | _LISTS


class Row(tuple[Any, ...]):
    """A row by place and by name."""

    names: tuple[str, ...] = ()

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)

    def keys(self) -> Sequence[str]:
        return self.names

    def values(self) -> Iterator[Any]:
        return iter(self)

    def items(self) -> Iterator[tuple[str, Any]]:
        return zip(self.names, self, strict=True)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self.names else default


def rows_of(names: tuple[str, ...], found: Iterator[tuple[Any, ...]]) -> list[Row]:
    """A query's rows."""
    kind = type("Row", (Row,), {"names": names})
    spelled = [n for n, name in enumerate(names) if name in _SPELLED]
    if not spelled:
        return [kind(row) for row in found]
    rows = []
    for row in found:
        cells = list(row)
        for n in spelled:
            cells[n] = _read(names[n], cells[n])
        rows.append(kind(cells))
    return rows


def bound(value: Any) -> Any:
    """A parameter as SQLite takes it; arrays as JSON."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return orjson.dumps([v.hex() if isinstance(v, bytes) else v for v in value]).decode()
    if isinstance(value, datetime):
        return functions.stamp(value)
    return value


def frame_of(rows: list[tuple[Any, ...]], names: Sequence[str]) -> pl.DataFrame:
    """Rows as a frame of texts."""
    columns = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        try:
            columns[name] = pl.Series(values, dtype=pl.String, strict=True)
        except TypeError:
            columns[name] = pl.Series([None if v is None else str(v) for v in values], dtype=pl.String)
    return pl.DataFrame(columns)


def csv_of(rows: list[tuple[Any, ...]]) -> bytes:
    """Rows as COPY prints them."""
    return to_csv(frame_of(rows, [str(n) for n in range(len(rows[0]))]))


def _read(name: str, value: Any) -> Any:
    if name in _FLAGS:
        return bool(value) if isinstance(value, int) else value
    if not isinstance(value, str):
        return value
    if name in _LISTS:
        return orjson.loads(value)
    # The portal's columns of that name are shown as PostgreSQL prints them.
    return functions.moment(value) if value.endswith("Z") and len(value) == len(_STAMP) else value
