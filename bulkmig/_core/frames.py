"""Between PostgreSQL's CSV and columnar frames of strings, every value kept.

The first column of every CSV read here must be an id: the reader drops a byte order mark at the very
start of its input, which is data in any other column.
"""

from __future__ import annotations

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
    return frame.write_csv(None, include_header=False, quote_style="non_numeric").encode()


def any_true(mask: pl.Series) -> bool:
    """Whether a boolean series holds a True; nulls count as False."""
    return bool(mask.any())
