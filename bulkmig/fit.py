"""Fits values to the columns that the target really has (mapping.md, "A value too large …").

What can't be held becomes NULL where the column allows it, else the row has an error; text is cut, and
decimals are rounded.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext

import polars as pl

from bulkmig._core.declare import Cell, Entity, Kind, Table
from bulkmig._core.unit import Catalogue, Check, TargetColumn

_INTEGERS = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_MOST_DIGITS = 10**6  # more than any numeric has


def checks(entity: Entity, target: Catalogue, source: Catalogue) -> list[Check]:
    """The checks that the two catalogues make necessary; most columns need none."""
    found: list[Check] = []
    kinds = {c.name: c.kind for c in entity.columns}
    for table in entity.tables:
        for name, cell in table.cells.items():
            column = target[table.name][name]
            origin = source.get(entity.source, {}).get(_plain(cell) or "")
            found += _column_checks(table, name, cell, column, origin, kinds)
    return found


def _plain(cell: Cell) -> str | None:
    """The source column, if the cell is nothing but that column."""
    return cell.expr.meta.output_name() if cell.expr.meta.is_column() else None


def _column_checks(
    table: Table,
    name: str,
    cell: Cell,
    column: TargetColumn,
    origin: TargetColumn | None,
    kinds: dict[str, Kind],
) -> list[Check]:
    key = f"{table.name}.{name}"
    value = pl.col(key)
    where = f"{table.name}.{name} ({column.type}{f', {column.limit}' if column.limit else ''})"
    made: list[Check] = []
    if column.type in ("varchar", "bpchar") and column.limit is not None:
        if origin is None or origin.limit is None or origin.limit > column.limit:
            too_long = value.str.len_chars() > column.limit
            made.append(
                Check(key, cell.field, "value.truncated", too_long, value.str.slice(0, column.limit), where)
            )
    elif column.type in _INTEGERS and kinds.get(cell.field) in (Kind.INTEGER, Kind.NUMERIC):
        if origin is None or _INTEGERS.get(origin.type, 2**64) > _INTEGERS[column.type]:
            made.append(_out_of_range(key, cell.field, _beyond(value, column.type), column, where))
    elif column.type == "numeric" and column.limit is not None and column.scale is not None:
        if origin is None or origin.scale != column.scale:
            scale, before = column.scale, value
            value = before.map_elements(lambda text: at_scale(text, scale), return_dtype=pl.String)
            lost = before.map_elements(lambda text: loses(text, scale), return_dtype=pl.Boolean)
            cut = lost & ~_too_many_digits(value, column.limit)
            made.append(Check(key, cell.field, "value.truncated", cut, value, where))
            made.append(Check(key, cell.field, "", value != before, value, where))
        if origin is None or origin.scale != column.scale or (origin.limit or 0) > column.limit:
            too_large = _too_many_digits(value, column.limit)
            made.append(_out_of_range(key, cell.field, too_large, column, where))
    if not column.nullable:
        missing = value.is_null()
        if table.when is not None:
            missing = missing & pl.col(f"?{table.name}")
        made.append(Check(key, cell.field, "value.unstorable", missing, None, where))
    return made


def _out_of_range(key: str, field: str, bad: pl.Expr, column: TargetColumn, where: str) -> Check:
    if column.nullable:
        return Check(key, field, "value.out_of_range", bad, pl.lit(None, dtype=pl.String), where)
    return Check(key, field, "value.unstorable", bad, None, where)


def _beyond(value: pl.Expr, type_: str) -> pl.Expr:
    bound = _INTEGERS[type_]
    number = value.cast(pl.Int64, strict=False)
    return value.is_not_null() & (number.is_null() | (number < -bound) | (number >= bound))


def _too_many_digits(value: pl.Expr, digits: int) -> pl.Expr:
    before_point = value.str.extract(r"^-?0*([0-9]*)", 1).str.len_bytes()
    return (value.str.contains("^-?[0-9]") & (before_point > digits)) | value.str.contains("Infinity")


def at_scale(text: str, scale: int) -> str:
    """A decimal as a numeric of so many places prints it: rounded half away from zero, or longer."""
    number = Decimal(text)
    if not number.is_finite():
        return text
    with localcontext(prec=_MOST_DIGITS):
        return format(number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP) + 0, "f")  # no -0


def loses(text: str, scale: int) -> bool:
    """Whether rounding changes its value."""
    number = Decimal(text)
    return number.is_finite() and number != Decimal(at_scale(text, scale))
