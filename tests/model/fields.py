"""Three-way decisions, field by field."""

from __future__ import annotations

from decimal import Decimal

from tests.model.rules import Hits
from tests.model.state import Field, Strategy, Values
from tests.model.tables import Unit
from tests.oracle.draft import Cell
from tests.oracle.moments import moment_key

MOMENTS = frozenset(
    {
        "created_at", "updated_at", "assessed_at", "installation_date", "last_maintenance_date",
        "next_maintenance_date", "warranty_expiry",
    }
)  # fmt: skip
NUMBERS = frozenset(
    {
        "gross_tonnage", "year_built", "quality_score", "maintenance_interval_days", "current_stock",
        "minimum_stock", "quantity_per_equipment", "file_size", "score",
    }
)  # fmt: skip
STATUS_ORDER = ("fault", "maintenance", "operational", "decommissioned")


def cells(unit: Unit | None) -> dict[Field, Cell]:
    """Every cell of a thing's rows."""
    return {(table, column): cell for table, row in (unit or {}).items() for column, cell in row.items()}


def both_changed(field: Field, source: Cell, target: Cell, hit: Hits) -> Cell:
    """The value of a field that both sides have changed."""
    if source is None or target is None:
        hit("merge, value")
        return target if source is None else source
    _, column = field
    if column in MOMENTS and isinstance(source, str) and isinstance(target, str):
        hit("merge, later")
        return max(source, target, key=moment_key)
    if column in NUMBERS and isinstance(source, str) and isinstance(target, str):
        hit("merge, larger")
        return max(source, target, key=Decimal)
    if field == ("equipment", "status"):
        hit("merge, status")
        return min(source, target, key=lambda status: STATUS_ORDER.index(str(status)))
    hit("merge, source's")
    return source


def merged(field: Field, base: Cell, source: Cell, target: Cell, hit: Hits) -> Cell:
    """The value of a field under `merge`."""
    if source == target:
        return source
    if target == base:
        hit("merge, one side")
        return source
    if source == base:
        hit("merge, one side")
        return target
    return both_changed(field, source, target, hit)


def decided(strategy: Strategy, base: Unit, source: Unit, target: Unit, hit: Hits) -> dict[Field, Values]:
    """The values of every field that isn't the same on all three sides."""
    was, ours, theirs = cells(base), cells(source), cells(target)
    found: dict[Field, Values] = {}
    for field in sorted(was.keys() | ours.keys() | theirs.keys()):
        one, two, three = was.get(field), ours.get(field), theirs.get(field)
        if one == two == three:
            continue
        if strategy == "source_wins":
            result = two
        elif strategy == "merge":
            result = merged(field, one, two, three, hit)
        else:
            result = three
        found[field] = Values(one, two, three, result)
    return found
