"""Between PostgreSQL's CSV and columnar frames of strings, every value kept.

The first column of every CSV read here must be an id: the reader drops a byte order mark at the very
start of its input, which is data in any other column.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import polars as pl

EMPTY = pl.DataFrame()


def from_csv(data: bytes, columns: Sequence[str]) -> pl.DataFrame:
    """A frame of strings from headerless CSV: an unquoted empty field is null, a quoted one is ''."""
    schema: dict[str, type[pl.String]] = dict.fromkeys(columns, pl.String)
    if not data:
        return pl.DataFrame(schema=schema)
    return pl.read_csv(data, has_header=False, schema=schema)


def to_csv(frame: pl.DataFrame) -> bytes:
    r"""Headerless CSV for COPY: null is an empty field, every string is quoted.

    Quoting all strings matters: PostgreSQL before version 18 ends the input at an unquoted `\.`."""
    # Into a buffer: as a string the text would be checked, copied and encoded once more.
    buffer = io.BytesIO()
    frame.write_csv(buffer, include_header=False, quote_style="non_numeric")
    return buffer.getvalue()


def last_lines(frame: pl.DataFrame) -> pl.Series:
    """The line of the CSV, counted from 1, on which each row ends: rows may span lines."""
    breaks = pl.sum_horizontal(
        pl.col(column).str.count_matches("\n", literal=True).fill_null(0) for column in frame.columns
    )
    return frame.select((breaks.cast(pl.Int64) + 1).cum_sum().alias("n"))["n"]


def runs(column: pl.Series) -> list[tuple[str | None, int]]:
    """The values of a column and how often each repeats in a row. The rows of a vessel come and go together,
    so there are few, and what is to be found out about a vessel is found out once."""
    return [(run["value"], run["len"]) for run in column.rle().to_list()]


def spread(values: pl.Series, lengths: Sequence[int]) -> pl.Series:
    """A column in which each value repeats that often: what `runs` took apart."""
    if len(values) == 1:
        return values.new_from_index(0, lengths[0])
    times = pl.Series(lengths, dtype=pl.UInt32)
    places = pl.int_range(len(values), dtype=pl.UInt32).repeat_by(times).explode(empty_as_null=False)
    return values.gather(pl.select(places).to_series())


def any_true(mask: pl.Series) -> bool:
    """Whether a boolean series holds a True; nulls count as False."""
    return bool(mask.any())
