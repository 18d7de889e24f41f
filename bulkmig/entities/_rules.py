"""Expressions that several entities use."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from bulkmig._core.unit import Unit

#: Python's and Rust's `\s` differ from Unicode's White_Space only in Python's extra U+001C to U+001F.
WHITE_SPACE = r"^\s*$"
_EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"


def integer(column: str) -> pl.Expr:
    """A column of integers as numbers."""
    return pl.col(column).cast(pl.Int64, strict=False)


def due(frame: pl.DataFrame, unit: Unit) -> pl.Series:
    """`~due`: whether the row's `equipment_id` names an equipment of its vessel that isn't quarantined."""
    out = unit.keys.find(frame["equipment_id"], frame["vessel_id"])
    return (~out).fill_null(value=False).alias("~due")


def blank(column: str) -> pl.Expr:
    """NULL or ''."""
    return pl.col(column).is_null() | (pl.col(column) == "")


def bad_email(column: str) -> pl.Expr:
    """A text that is no e-mail address; NULL is not bad."""
    return ~pl.col(column).str.contains(_EMAIL)


def mapped(column: str, values: Mapping[str, str], default: str) -> pl.Expr:
    """The column through a map; `default` for NULL and what the map doesn't know."""
    return pl.col(column).replace_strict(dict(values), default=default, return_dtype=pl.String)


def unknown(column: str, values: Mapping[str, str]) -> pl.Expr:
    """Whether the map doesn't know a value; NULL counts as unknown."""
    return ~pl.col(column).is_in(list(values)).fill_null(value=False)


def collapsed(column: str, values: Mapping[str, str]) -> pl.Expr:
    """Where the map gives several source values the same target value: the distinction is lost there."""
    targets = list(values.values())
    many = [key for key, value in values.items() if targets.count(value) > 1]
    return pl.col(column).is_in(many)


def out_of(column: str, low: int, high: int) -> pl.Expr:
    """A number outside low to high."""
    number = integer(column)
    return (number < low) | (number > high)


def true_or_false(condition: pl.Expr) -> pl.Expr:
    """A boolean expression as PostgreSQL's text; null counts as false."""
    return pl.when(condition).then(pl.lit("t")).otherwise(pl.lit("f"))
