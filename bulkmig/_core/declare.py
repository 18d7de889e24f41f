"""How an entity says what it is: the columns it reads, its rules, the target tables it fills.

The mapping is stated once, in `bulkmig/entities/`, with the words of this module; extraction, validation,
transform, load, verification and the ledger all read that one statement.

Frames hold strings: every source column as PostgreSQL prints it, NULL as null. A target cell is an
expression over the *prepared* source frame that yields the target's text. Besides its source columns a
prepared frame has

    @id        the row's own target id            @vessel, @company, @equipment, …   target ids of references
    @digest    SHA-256 of the row's source id     whatever the entity's own `prepare` adds
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import polars as pl
from msgspec import Struct, field

from bulkmig._core.findings import Severity

if TYPE_CHECKING:
    from bulkmig._core.unit import Unit

Scope = Literal["fleet", "vessel"]


class Kind(StrEnum):
    """What a source column holds; everything travels as text all the same."""

    ID = "id"
    TEXT = "text"
    INTEGER = "integer"
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    JSON = "json"


class Column(Struct, frozen=True, eq=False):
    """A source column. `sql` (over the table's alias `t`) where what is read is not the column itself;
    `personal`: its values are masked wherever people read them."""

    name: str
    kind: Kind = Kind.TEXT
    sql: str = ""
    personal: bool = False


class Reference(Struct, frozen=True, eq=False):
    """A reference to another entity: `column` names its source id, the prepared frame gets `as_`.

    A reference within the vessel is derived like the row's own id; one to a fleet-wide entity (company,
    user, vessel) is looked up and is null where that row is not in the target."""

    entity: str
    column: str
    as_: str


class Rule(Struct, frozen=True, eq=False):
    """One finding: where `when` (a boolean over the prepared frame) holds, the row has it.

    An `error` keeps the row out of the target, as `quarantine` does for a warning. `lossy` rules count in
    the lossiness ledger. A rule without `reported` is lossy bookkeeping only and is no finding. A `sound` one
    says what becomes of a row without errors, so it doesn't hold for others."""

    code: str
    field: str
    when: pl.Expr
    message: str
    severity: Severity = "warning"
    quarantine: bool = False
    lossy: bool = False
    reported: bool = True
    sound: bool = False


class Cell(Struct, frozen=True, eq=False):
    """A target cell: an expression over the prepared frame, and the source column to name in findings.

    `json`: compared as JSON, not as text. `kept`: assigned once, so what was written stands whatever the rule
    would give now. `ranks`: where both sides of a merge changed it, the value that comes first here."""

    expr: pl.Expr
    field: str
    personal: bool = False
    json: bool = False
    kept: bool = False
    ranks: tuple[str, ...] = ()


class Table(Struct, frozen=True, eq=False, dict=True):
    """A target table an entity fills: one row a source row, or one where `when` holds. `key`: the columns
    of its primary key, in `cells`. `holds`: business rules that verification checks on the target's rows."""

    name: str
    key: tuple[str, ...]
    cells: Mapping[str, Cell]
    when: pl.Expr | None = None
    holds: Mapping[str, pl.Expr] = field(default_factory=dict)

    @cached_property
    def own_key(self) -> str:
        """The key column that holds the row's own id."""
        return next(c for c in self.key if self.cells[c].expr.meta.root_names() == ["@id"])


class Entity(Struct, frozen=True, eq=False):
    """One kind of row that moves. See the module's docstring and CONTRIBUTING.md.

    name, source   its name in findings and the ledger, its source table
    digit          its hex digit in target ids; none shared
    owner          the source column whose row owns it: ids cluster by it
    scope          `fleet` entities are loaded before any vessel, `vessel` ones in the vessel's transaction
    after          entities that come before it
    through        (entity, column): rows belong to a vessel through that parent, not by a column of their own
    ancestors      the column of the parent: all ancestors are read too, wherever they belong
    joins          further SQL in FROM, for columns whose `sql` reads other tables
    prepare        adds what cells and rules need
    publish        hands what later entities need to the unit, after each batch
    waits          rows that can't be loaded yet because of other vessels: they become pending
    stats          figures of the report: name -> boolean over the source frame, counted
    late_rules     findings that need every row of a vessel: called once after the last batch
    """

    name: str
    source: str
    digit: str
    columns: tuple[Column, ...]
    scope: Scope = "vessel"
    owner: str = "vessel_id"
    after: tuple[str, ...] = ()
    through: tuple[str, str] | None = None
    ancestors: str = ""
    joins: str = ""
    references: tuple[Reference, ...] = ()
    rules: tuple[Rule, ...] = ()
    tables: tuple[Table, ...] = ()
    prepare: Callable[[pl.DataFrame, Unit], pl.DataFrame] | None = None
    publish: Callable[[pl.DataFrame, Unit], None] | None = None
    late_rules: Callable[[Unit], pl.DataFrame] | None = None
    waits: pl.Expr | None = None
    stats: Mapping[str, pl.Expr] = field(default_factory=dict)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def json_columns(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.kind is Kind.JSON)


def text(column: str, *, personal: bool = False, json: bool = False) -> Cell:
    """The source column as it is."""
    return Cell(pl.col(column), column, personal, json)


def copied(*columns: str, personal: tuple[str, ...] = ()) -> dict[str, Cell]:
    """Cells of the same name as their source columns."""
    return {c: text(c, personal=c in personal) for c in columns}
