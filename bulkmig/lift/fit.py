"""Makes values of a SQLite portal what a direct migration to PostgreSQL would have written: cut and set to
NULL where the column can't hold them, repaired where PostgreSQL can't (mapping.md, "Lift")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime

import msgspec
import polars as pl

from bulkmig._core import jsontext
from bulkmig._core.unit import Catalogue, TargetColumn
from bulkmig.errors import BulkmigError
from bulkmig.sqlite.values import MARK, is_uuid, plain

REPLACEMENT = "\ufffd"
_INTEGERS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_TEXTS = frozenset({"text", "varchar", "bpchar"})
_JSON = frozenset({"json", "jsonb"})
# Years of four digits, but for leap days at the turn of a century.
_DATE = (
    r"([1-9]\d{3}-((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    r"|[1-9]\d(0[48]|[2468][048]|[13579][26])-02-29)"
)
_USUAL = {
    "date": rf"^{_DATE}$",
    "timestamptz": rf"^{_DATE}[ T]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{{1,6}})?(\+00|Z)$",
    "numeric": r"^-?\d{1,8}(\.\d{1,2})?$",
    "uuid": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "bool": r"^[tf]$",
}
_json = msgspec.json.Decoder(msgspec.Raw)

Found = tuple[str, str, list[str]]  # code, column, keys of the rows


class Unfit(BulkmigError):
    """A value that PostgreSQL's column can't hold and that may not be NULL. `cell`: its table and column;
    `row`: what names its row; `kind`: the column's type."""

    def __init__(self, cell: str, row: str, kind: str) -> None:
        super().__init__(
            f"{cell} of row {row} can't be held by PostgreSQL's column of type {kind}",
            "correct it in the SQLite portal, then lift again",
        )
        self.cell, self.row, self.kind = cell, row, kind


@dataclass
class Fit:
    """What PostgreSQL's columns hold. `found`: what had to be changed so far, by table."""

    catalogue: Catalogue
    found: dict[str, list[Found]] = field(default_factory=dict)

    def table(self, name: str, frame: pl.DataFrame, key: str, *, quiet: bool = False) -> pl.DataFrame:
        """A frame of a table's rows, as PostgreSQL can hold them. `key`: the column that names them; `quiet`:
        what is changed is known from the table itself. Raises Unfit."""
        for column in self.doubtful(name, frame):
            made, codes = self._column(
                frame[column], self.catalogue[name][column], f"{name}.{column}", frame[key]
            )
            frame = frame.with_columns(made.alias(column))
            if not quiet:
                self.found.setdefault(name, []).extend((code, column, keys) for code, keys in codes)
        return frame

    def doubtful(self, name: str, frame: pl.DataFrame) -> list[str]:
        """The columns of a table's rows in which there may be something that PostgreSQL's can't hold: one
        look at all of them, since nearly always there is none."""
        kinds = {
            column: kind for column, kind in self.catalogue.get(name, {}).items() if column in frame.columns
        }
        if not frame.height or not kinds:
            return []
        found = frame.select(_doubt(column, kind).any().alias(column) for column, kind in kinds.items())
        texts = {column for column, kind in kinds.items() if kind.type in _JSON}
        return [
            column
            for column, doubt in found.row(0, named=True).items()
            if doubt or (column in texts and not _all_json(frame[column]))
        ]

    def _column(
        self, values: pl.Series, kind: TargetColumn, where: str, keys: pl.Series
    ) -> tuple[pl.Series, list[tuple[str, list[str]]]]:
        codes: list[tuple[str, list[str]]] = []
        odd = values.str.starts_with(MARK).fill_null(value=False)
        if odd.any():
            values = _apply(values, odd, _as_text)
        if kind.type in _TEXTS:
            nul = values.str.contains("\0", literal=True).fill_null(value=False) | _broken(values, odd)
            if nul.any():
                values = values.str.replace_all("\0", REPLACEMENT, literal=True)
                codes.append(("text.unstorable_character", keys.filter(nul).to_list()))
            if kind.limit is not None:
                long = (values.str.len_chars() > kind.limit).fill_null(value=False)
                if long.any():
                    values = values.str.slice(0, kind.limit)
                    codes.append(("value.truncated", keys.filter(long).to_list()))
            return values, codes
        if kind.type in _JSON:
            texts, repaired = _repaired(values)
            values = texts
            if repaired.any():
                codes.append(("json.unstorable_character", keys.filter(repaired).to_list()))
        bad = _unfit(values, kind)
        if bad.any():
            if not kind.nullable:
                raise Unfit(where, keys.filter(bad)[0], kind.type)
            values = pl.select(pl.when(bad).then(None).otherwise(values)).to_series()
            codes.append(("value.out_of_range", keys.filter(bad).to_list()))
        return values, codes


def _doubt(column: str, kind: TargetColumn) -> pl.Expr:
    """True for every value that `Fit._column` would change, of JSON but for what is none, and perhaps for
    others."""
    value = pl.col(column)
    doubt = value.str.starts_with(MARK)
    if kind.type in _TEXTS:
        doubt |= value.str.contains("\0", literal=True)
        return doubt if kind.limit is None else doubt | (value.str.len_chars() > kind.limit)
    if kind.type in _INTEGERS:
        number, bound = value.cast(pl.Int64, strict=False), _INTEGERS[kind.type]
        return doubt | (value.is_not_null() & ~number.is_between(-bound, bound - 1).fill_null(value=False))
    if kind.type in _JSON:
        return doubt | value.str.contains("\0", literal=True) | jsontext.suspicious(column)
    usual = _USUAL.get(kind.type)
    return doubt if usual is None else doubt | ~value.str.contains(usual)


def _all_json(values: pl.Series) -> bool:
    try:
        for text in values.drop_nulls().to_list():
            _json.decode(text)
    except (msgspec.DecodeError, ValueError):
        return False
    return True


def _apply(values: pl.Series, where: pl.Series, function: Callable[[str], str | None]) -> pl.Series:
    texts = values.to_list()
    for index in where.arg_true():
        texts[index] = function(texts[index])
    return pl.Series(values.name, texts, dtype=pl.String)


def _as_text(text: str) -> str | None:
    value = plain(text)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _broken(values: pl.Series, odd: pl.Series) -> pl.Series:
    """Bytes in a text column that were no UTF-8."""
    return odd & values.str.contains(REPLACEMENT, literal=True).fill_null(value=False)


def _repaired(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    frame = pl.DataFrame({"v": values})
    suspicious = frame.select(jsontext.suspicious("v").alias("s"))["s"]
    changed = [False] * len(values)
    texts = values.to_list()
    for index in suspicious.arg_true():
        # Specifications may be one level deeper than their source: what is too deep, `_is_json` says.
        texts[index], changed[index], _ = jsontext.repair(texts[index])
    return pl.Series(values.name, texts, dtype=pl.String), pl.Series(changed, dtype=pl.Boolean)


def _unfit(values: pl.Series, kind: TargetColumn) -> pl.Series:
    there = values.is_not_null()
    if kind.type in _INTEGERS:
        number = values.cast(pl.Int64, strict=False)
        bound = _INTEGERS[kind.type]
        return there & (number.is_null() | (number < -bound) | (number > bound - 1))
    if kind.type in _JSON:
        return pl.Series([text is not None and not _is_json(text) for text in values], dtype=pl.Boolean)
    usual = _USUAL.get(kind.type)
    if usual is None:
        return pl.Series([False], dtype=pl.Boolean).new_from_index(0, len(values))
    unusual = there & ~values.str.contains(usual).fill_null(value=True)
    if not unusual.any():
        return unusual
    holds = _HOLDS[kind.type]
    marks = [False] * len(values)
    for index in unusual.arg_true():
        marks[index] = not holds(values[index], kind)
    return pl.Series(marks, dtype=pl.Boolean)


def _is_json(text: str) -> bool:
    try:
        _json.decode(text)
    except (msgspec.DecodeError, ValueError):
        return False
    return "\0" not in text


def _is_date(text: str, kind: TargetColumn) -> bool:
    if text in ("infinity", "-infinity"):
        return True
    year, _, rest = text.removesuffix(" BC").partition("-")
    try:
        date.fromisoformat(f"{2000 if int(year) % 4 == 0 else 2001}-{rest}")
    except ValueError:
        return False
    return len(year) >= 4 and int(year) > 0


def _is_moment(text: str, kind: TargetColumn) -> bool:
    day, blank, time = text.replace("T", " ").removesuffix(" BC").partition(" ")
    if not blank:
        return _is_date(text, kind)
    try:
        datetime.fromisoformat(f"2000-01-01T{time.replace('Z', '+00:00')}")
    except ValueError:
        return False
    return _is_date(day, kind)


def _is_numeric(text: str, kind: TargetColumn) -> bool:
    if text == "NaN":
        return True
    whole, _, fraction = text.removeprefix("-").partition(".")
    digits = (whole + fraction).isascii() and (whole + fraction).isdigit()
    return digits and (kind.limit is None or len(whole.lstrip("0")) <= kind.limit)


_HOLDS: dict[str, Callable[[str, TargetColumn], bool]] = {
    "date": _is_date,
    "timestamptz": _is_moment,
    "numeric": _is_numeric,
    "uuid": lambda text, _: is_uuid(text),
    "bool": lambda text, _: text in ("t", "f"),
}
