"""Makes values of a SQLite portal what a direct migration to PostgreSQL would have written: cut and set to
NULL where the column can't hold them, repaired where PostgreSQL can't (mapping.md, "Lift")."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from decimal import Decimal

import msgspec
import polars as pl
from msgspec import Struct, field, structs

from bulkmig._core import jsontext
from bulkmig._core.unit import Catalogue, TargetColumn
from bulkmig.errors import BulkmigError
from bulkmig.fit import at_scale, loses
from bulkmig.sqlite.values import MARK, plain

REPLACEMENT = "\ufffd"
_INTEGERS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_TEXTS = frozenset({"text", "varchar", "bpchar"})
_JSON = frozenset({"json", "jsonb"})
_D = "[0-9]"
# Years of four digits, but for leap days at the turn of a century.
_DATE = (
    rf"([1-9]{_D}{{3}}-((0[1-9]|1[0-2])-(0[1-9]|1{_D}|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    rf"|[1-9]{_D}(0[48]|[2468][048]|[13579][26])-02-29)"
)
_USUAL = {
    "date": rf"^{_DATE}$",
    "timestamptz": rf"^{_DATE}[ T]([01]{_D}|2[0-3]):[0-5]{_D}:[0-5]{_D}(\.{_D}{{1,6}})?(\+00|Z)$",
    "uuid": r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    "bool": r"^[tf]$",
}
# What else PostgreSQL takes, of the forms that ISO 8601 has.
_ENDLESS = ("infinity", "-infinity")
_DAY = r"(?P<year>\d{4,7})-(?P<month>\d\d)-(?P<day>\d\d)"
_ERA = r"(?P<era> BC)?"
_CLOCK = (
    r"(([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?|([01]\d|2[0-3])[0-5]\d[0-5]\d(\.\d+)?|24:00(:00(\.0+)?)?)"
)
_ZONE = r"([Zz]|\+00(:?00)?|(?P<offset>[+-](0\d|1[0-5])(:?[0-5]\d)?))"
_MOMENT = f"{_DAY}([T ]{_CLOCK}{_ZONE}?)?{_ERA}"
_FIRST_DAY = (-4713, 11, 24)  # of PostgreSQL's days and moments; there is a year 0
_LAST_YEAR = {"date": 5_874_897, "timestamptz": 294_276}
_DECIMAL = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?"
_UUID = r"(?i)[0-9a-f]{4}(-?[0-9a-f]{4}){7}"
_json = msgspec.json.Decoder(msgspec.Raw)

Found = tuple[str, str, list[str]]  # code, column, keys of the rows


class Unfit(BulkmigError):
    """A value that PostgreSQL's column can't hold and that may not be NULL. `cell`: its table and column;
    `row`: what names its row; `kind`: the column's type; `checkpoint`: which one holds it."""

    def __init__(self, cell: str, row: str, kind: str, checkpoint: str = "") -> None:
        before = f", as checkpoint {checkpoint} has it from before," if checkpoint else ""
        super().__init__(
            f"{cell} of row {row}{before} can't be held by PostgreSQL's column of type {kind}",
            "once a later change is synchronised, delete it: bulkmig checkpoints prune --keep 1 --days 0"
            if checkpoint
            else "correct it in the SQLite portal, then lift again",
        )
        self.cell, self.row, self.kind = cell, row, kind


class Fit(Struct):
    """What PostgreSQL's columns hold. `found`: what had to be changed so far, by table."""

    catalogue: Catalogue
    found: dict[str, list[Found]] = field(default_factory=dict)

    def whatever_stood(self) -> Fit:
        """The same for what once stood in the portal, and needn't any longer: NULL for what PostgreSQL can't
        hold, wherever it is. What stands now is there by now, or it is something else."""
        return Fit(
            {
                table: {name: structs.replace(column, nullable=True) for name, column in columns.items()}
                for table, columns in self.catalogue.items()
            }
        )

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
            broken = _broken(values, odd)
            values, repaired = _repaired(values)
            repaired |= broken
            if repaired.any():
                codes.append(("json.unstorable_character", keys.filter(repaired).to_list()))
        bad = _unfit(values, kind)
        if kind.type == "numeric" and kind.scale is not None:
            values, cut = _rounded(values, ~bad, _usual(kind) or "", kind.scale)
            if cut.any():
                codes.append(("value.truncated", keys.filter(cut).to_list()))
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
    usual = _usual(kind)
    return doubt if usual is None else doubt | ~value.str.contains(usual)


def _usual(kind: TargetColumn) -> str | None:
    """A pattern of values that a column of the type holds as they are; None where it holds all of them."""
    if kind.type != "numeric":
        return _USUAL.get(kind.type)
    fraction = rf"(\.{_D}{{1,{kind.scale}}})?" if kind.scale else ""
    return rf"^-?{_D}{{1,{max(kind.limit or 1, 1)}}}{fraction}$"


def _all_json(values: pl.Series) -> bool:
    try:
        for text in values.drop_nulls().to_list():
            _json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
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
    usual = _usual(kind)
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
    except (msgspec.DecodeError, RecursionError, ValueError):
        return False
    return "\0" not in text and jsontext.numbers_storable(text)


def _rounded(values: pl.Series, those: pl.Series, usual: str, scale: int) -> tuple[pl.Series, pl.Series]:
    """Decimals with the column's places, and which were of more."""
    unusual = those & ~values.str.contains(usual).fill_null(value=True)
    lost = [False] * len(values)
    for index in unusual.arg_true():
        lost[index] = loses(values[index], scale)
    return _apply(values, unusual, lambda text: at_scale(text, scale)), pl.Series(lost, dtype=pl.Boolean)


def _is_date(text: str, kind: TargetColumn) -> bool:
    found = re.fullmatch(_DAY + _ERA, text, re.ASCII)
    return text in _ENDLESS or (found is not None and _is_day(found, _LAST_YEAR["date"]))


def _is_moment(text: str, kind: TargetColumn) -> bool:
    found = re.fullmatch(_MOMENT, text, re.ASCII)
    if found is None:
        return text in _ENDLESS
    # With an offset it may be beyond the last day that there is.
    return _is_day(found, _LAST_YEAR["timestamptz"] - (found["offset"] is not None))


def _is_day(found: re.Match[str], last: int) -> bool:
    year, month, day = (int(found[name]) for name in ("year", "month", "day"))
    if not (1 <= year <= last and 1 <= month <= 12):
        return False
    if found["era"]:
        year = 1 - year
    return 1 <= day <= calendar.monthrange(year, month)[1] and (year, month, day) >= _FIRST_DAY


def _is_numeric(text: str, kind: TargetColumn) -> bool:
    if text == "NaN":
        return True
    if not re.fullmatch(_DECIMAL, text, re.ASCII):
        return False
    number = Decimal(text)
    before = jsontext.MAX_BEFORE_POINT if kind.limit is None else kind.limit
    if number and number.adjusted() < before and kind.scale is not None:
        number = Decimal(at_scale(text, kind.scale))  # which may have one digit more
    return not number or number.adjusted() < before


_HOLDS: dict[str, Callable[[str, TargetColumn], bool]] = {
    "date": _is_date,
    "timestamptz": _is_moment,
    "numeric": _is_numeric,
    "uuid": lambda text, _: re.fullmatch(_UUID, text) is not None,
    "bool": lambda text, _: text in ("t", "f"),
}
