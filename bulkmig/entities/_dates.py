"""Dates as PostgreSQL prints them: `YYYY-MM-DD`, more digits, ` BC`, `infinity`, `-infinity`."""

from __future__ import annotations

import re
from datetime import date

import polars as pl

from bulkmig._core import jsontext

_WRITTEN = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ][0-9]{2}:[0-9]{2}.*)?", re.DOTALL)
_FIRST_DAY = -719_162  # 0001-01-01, in days since 1970-01-01
_LAST_DAY = 2_932_896  # 9999-12-31
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def last_maintenance(metadata: str | None) -> str | None:
    """`metadata.last_maintenance_date` as a date; None where missing or null, '' where it is no date."""
    value = jsontext.members(metadata).get("last_maintenance_date")
    if value is None or value == "null":
        return None
    match = _WRITTEN.fullmatch(jsontext.string(value) or "")
    if match is None:
        return ""
    try:
        return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
    except ValueError:
        return ""


def plus_days(base: pl.Expr, days: pl.Expr) -> pl.Expr:
    """A date of the years 1 to 9999 so many days later; null for other bases, days and results."""
    plain = pl.when(base.str.contains(_ISO)).then(base).str.to_date("%Y-%m-%d", strict=False)
    day = plain.to_physical().cast(pl.Int64) + days
    usable = (plain.to_physical() >= _FIRST_DAY) & (days > 0) & (day <= _LAST_DAY)
    return pl.when(usable).then(day).cast(pl.Int32).cast(pl.Date).cast(pl.String)


def before(column: str, other: str) -> pl.Expr:
    """Whether one date lies before another, in PostgreSQL's order of all its dates."""
    return _ordinal(column) < _ordinal(other)


def _ordinal(column: str) -> pl.Expr:
    value = pl.col(column)
    year = value.str.extract(r"^([0-9]+)-", 1).cast(pl.Int64, strict=False)
    month = value.str.extract(r"^[0-9]+-([0-9]{2})-", 1).cast(pl.Int64, strict=False)
    day = value.str.extract(r"^[0-9]+-[0-9]{2}-([0-9]{2})", 1).cast(pl.Int64, strict=False)
    signed = pl.when(value.str.ends_with(" BC")).then(1 - year).otherwise(year)
    return (
        pl.when(value == "infinity")
        .then(pl.lit(2**60))
        .when(value == "-infinity")
        .then(pl.lit(-(2**60)))
        .otherwise(signed * 10_000 + month * 100 + day)
    )
