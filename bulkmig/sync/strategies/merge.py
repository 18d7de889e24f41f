"""Field by field: where one side alone changed it, its value; where both did, by the kind of value."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from bulkmig._core.declare import Entity
from bulkmig._core.moments import later
from bulkmig.sync.row import Row, cells_of, placing, same
from bulkmig.sync.strategies._strategy import Strategy, Types

_MOMENTS = frozenset({"date", "timestamp", "timestamptz"})
_NUMBERS = frozenset({"int2", "int4", "int8", "numeric", "float4", "float8"})


def merge(entity: Entity, types: Types, base: Row, source: Row, target: Row) -> Row:
    """The merged row. It is in the tables in which the side has it that says what it belongs to."""
    place = placing(entity)
    if place is None or same(entity, place, source[place], target[place]):
        tables = frozenset(
            table.name
            for table in entity.tables
            if _one_side(table.name in base.tables, table.name in source.tables, table.name in target.tables)
        )
    else:
        stands = _cell(entity, types, place, base[place], source[place], target[place])
        tables = (source if same(entity, place, stands, source[place]) else target).tables
    cells = {
        cell: _cell(entity, types, cell, base[cell], source[cell], target[cell])
        for cell, (table, _) in cells_of(entity).items()
        if table.name in tables
    }
    return Row(tables, cells)


def _one_side(base: bool, source: bool, target: bool) -> bool:
    return target if source == base else source


def _cell(
    entity: Entity, types: Types, cell: str, base: str | None, source: str | None, target: str | None
) -> str | None:
    if same(entity, cell, source, base):
        return target
    if same(entity, cell, target, base):
        return source
    if source is None or target is None:
        return target if source is None else source
    ranks = cells_of(entity)[cell][1].ranks
    if ranks:
        return next((value for value in ranks if value in (source, target)), source)
    if types[cell] in _MOMENTS:
        return later(source, target)
    if types[cell] in _NUMBERS:
        return max(source, target, key=_order)
    return source


def _order(text: str) -> tuple[int, Decimal]:
    # PostgreSQL's order: NaN is larger than all others, infinity too. What is no number, which SQLite lets
    # in, gives way to one.
    try:
        number = Decimal(text)
    except InvalidOperation:
        return -1, Decimal(0)
    return (1, Decimal(0)) if number.is_nan() else (0, number)


STRATEGY = Strategy("merge", both=merge, deleted_in_source=True, deleted_by_portal=True)
