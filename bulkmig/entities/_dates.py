"""Dates as PostgreSQL prints them: `YYYY-MM-DD`, more digits, ` BC`, `infinity`, `-infinity`."""

from __future__ import annotations

import re
from datetime import date

import msgspec
import polars as pl

from bulkmig._core import jsontext

_WRITTEN = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ][0-9]{2}:[0-9]{2}.*)?", re.DOTALL)
_PLAIN = r'^"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ][0-9]{2}:[0-9]{2}[^"\\]*)?"$'
_OBJECT = r"^[ \t\r\n]*\{"
_LAST_DAY = 2_932_896  # 9999-12-31, in days since 1970-01-01
_ISO = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


class _Dated(msgspec.Struct):
    """Of an object's members only the one: others are passed over without being read."""

    last_maintenance_date: msgspec.Raw = msgspec.Raw(b"null")


_dated = msgspec.json.Decoder(_Dated)


def last_maintenance(metadata: pl.Series) -> pl.Series:
    """`metadata.last_maintenance_date` as a date; null where missing or null, '' where it is no date."""
    # The key may be spelled with escapes, so a backslash needs the look as well.
    looked_at = metadata.str.contains_any(["last_maintenance_date", "\\u"]) & metadata.str.contains(_OBJECT)
    places = looked_at.arg_true()
    values = [bytes(_dated.decode(text).last_maintenance_date) for text in metadata.gather(places)]
    written = pl.Series(values, dtype=pl.Binary).cast(pl.String)
    made = pl.select(_plain_date(written)).to_series()
    for index in (made.is_null() & (written != "null")).arg_true():
        made[index] = _any_date(written[index])
    return pl.Series([None], dtype=pl.String).new_from_index(0, len(metadata)).scatter(places, made)


def _plain_date(written: pl.Series) -> pl.Expr:
    """Almost all are plain, and for these no string is decoded one by one."""
    found = pl.lit(written).str.extract(_PLAIN, 1)
    return pl.when(found.str.to_date("%Y-%m-%d", strict=False).dt.year() > 0).then(found)


def _any_date(written: str) -> str:
    match = _WRITTEN.fullmatch(jsontext.string(written) or "")
    if match is None:
        return ""
    try:
        return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
    except ValueError:
        return ""


def plus_days(base: pl.Expr, days: pl.Expr) -> pl.Expr:
    """A date of the years 1 to 9999 so many days later; null for other bases, days and results."""
    plain = pl.when(base.str.contains(_ISO)).then(base).str.to_date("%Y-%m-%d", strict=False)
    day = plain.to_physical() + days
    usable = (days > 0) & (day <= _LAST_DAY)
    return pl.when(usable).then(day).cast(pl.Date).cast(pl.String)


def before(column: str, other: str) -> pl.Expr:
    """Whether one date lies before another, in PostgreSQL's order of all its dates."""
    # Dates of four-digit years compare as texts; only the rest is taken apart.
    plain = pl.all_horizontal(pl.col(c).str.contains(_ISO) for c in (column, other))
    rest = [_ordinal(pl.when(~plain).then(c)) for c in (column, other)]
    return pl.when(plain).then(pl.col(column) < pl.col(other)).otherwise(rest[0] < rest[1])


def _ordinal(value: pl.Expr) -> pl.Expr:
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
