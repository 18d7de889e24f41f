"""One source row on its way into the target: a cell is put into a column, which may refuse or cut it."""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.oracle import jsontext
from tests.oracle.jsontext import Json, Reading
from tests.oracle.rules import Findings
from tests.oracle.source import Source, SourceRow, identity, required
from tests.oracle.target import Column, Target, TargetRow


class Ref(NamedTuple):
    """The id that a source row gets; the oracle knows which row it is, not how the id is made."""

    entity: str
    source_id: str


Cell = str | Ref | None
Row = dict[str, Cell]

_INTEGER_LIMIT = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_EXACT = decimal.Context(
    prec=200_000, rounding=decimal.ROUND_HALF_UP, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN
)


@dataclass
class World:
    """What every entity's rules may look at, and where they note what they find."""

    source: Source
    target: Target
    year: int
    findings: Findings = field(default_factory=Findings)
    adopted: dict[Ref, str] = field(default_factory=dict)

    def target_id(self, entity: str, source_id: str) -> Cell:
        """The id of the row in the target: an adopted row's own, else a new one."""
        ref = Ref(entity, source_id)
        return self.adopted.get(ref, ref)

    def adopt(self, entity: str, source_id: str, row: TargetRow) -> None:
        """From now on the source row's id is that of the target's row."""
        self.adopted[Ref(entity, source_id)] = required(row, "id")

    def column(self, table: str, column: str) -> Column:
        """What the target really has."""
        return self.target.columns.get((table, column), Column())


def _numeric(value: str, column: Column) -> str | None:
    """The value as numeric(precision, scale) stores it, None where it is too large."""
    if column.precision is None or value == "NaN":
        return value
    scale = column.scale or 0
    exact = decimal.Decimal(value)
    if not exact.is_finite():
        return None
    stored = _EXACT.quantize(exact, decimal.Decimal(1).scaleb(-scale))
    if abs(stored) >= decimal.Decimal(10) ** (column.precision - scale):
        return None
    return format(abs(stored) if stored.is_zero() else stored, "f")


def too_large(value: str, column: Column) -> bool:
    """Whether the column has no room for the number."""
    if column.type in _INTEGER_LIMIT:
        limit = _INTEGER_LIMIT[column.type]
        return not -limit <= int(value) < limit
    return column.type == "numeric" and _numeric(value, column) is None


class Draft:
    """The target rows of one source row, one a table."""

    def __init__(self, world: World, entity: str, source: SourceRow) -> None:
        self.world = world
        self.entity = entity
        self.source = source
        self.source_id = identity(source)
        self.rows: dict[str, Row] = {}

    def note(self, code: str, field: str | None = None) -> None:
        """A finding on this row."""
        self.world.findings.note(code, self.entity, self.source_id, field)

    def json(self, column: str) -> Reading:
        """The JSON of a source column, repaired; what was repaired or can't be is found."""
        reading = jsontext.read(self.source[column])
        if reading.unstorable:
            self.note("json.unstorable", column)
        elif reading.repaired:
            self.note("json.unstorable_character", column)
        return reading

    def refer(self, table: str, columns: Mapping[str, Cell]) -> None:
        """Ids and references: they fit."""
        self.rows.setdefault(table, {}).update(columns)

    def put(self, table: str, column: str, value: str | None, field: str) -> None:
        """A value, which comes from the source column `field`, as the target's column can hold it."""
        kind = self.world.column(table, column)
        if value is None:
            if not kind.nullable:
                self.note("value.unstorable", field)
        elif too_large(value, kind):
            self.note("value.out_of_range" if kind.nullable else "value.unstorable", field)
            value = None
        elif kind.type == "numeric":
            value = _numeric(value, kind)
        elif kind.length is not None and len(value) > kind.length:
            self.note("value.truncated", field)
            value = value[: kind.length]
        self.rows.setdefault(table, {})[column] = value

    def copy(self, table: str, *columns: str) -> None:
        """Columns that have the same name on both sides."""
        for column in columns:
            self.put(table, column, self.source[column], column)

    def put_json(self, table: str, column: str, value: Json) -> None:
        """A JSON value."""
        self.rows.setdefault(table, {})[column] = jsontext.canonical(value)

    def copy_json(self, table: str, column: str, reading: Reading) -> None:
        """A whole JSON cell, SQL NULL as SQL NULL."""
        text = None if reading.sql_null else reading.canonical
        self.rows.setdefault(table, {})[column] = text
