"""What becomes of a row that two sides may have changed (mapping.md § Sync), and of each of its cells in a
merge: the rules alone, without a database."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Literal

import polars as pl
import pytest

from bulkmig._core.declare import Cell, Entity, Reference, Table
from bulkmig.sync.decide import Conflict, Verdict, decide
from bulkmig.sync.row import Row, make
from bulkmig.sync.strategies import STRATEGIES
from bulkmig.sync.strategies.merge import merge

Side = Literal["as base", "changed", "otherwise", "gone"]

NOTHING = pl.lit(None)
#: One column of each kind that a merge tells apart.
TYPES = {
    "things.id": "uuid",
    "things.vessel_id": "uuid",
    "things.equipment_id": "uuid",
    "things.name": "text",
    "things.extra": "jsonb",
    "things.status": "text",
    "things.size": "numeric",
    "things.count": "int4",
    "things.day": "date",
    "things.moment": "timestamptz",
    "things.flag": "bool",
    "thing_places.thing_id": "uuid",
    "thing_places.shelf": "text",
}
RANKS = ("fault", "maintenance", "operational")
THING = Entity(
    name="thing",
    source="things",
    digit="f",
    columns=(),
    references=(
        Reference("vessel", "vessel_id", "@vessel"),
        Reference("equipment", "equipment_id", "@equipment"),
    ),
    tables=(
        Table(
            "things",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "vessel_id": Cell(NOTHING, "vessel_id"),
                "equipment_id": Cell(NOTHING, "equipment_id"),
                "name": Cell(NOTHING, "name"),
                "extra": Cell(NOTHING, "extra", json=True),
                "status": Cell(NOTHING, "status", ranks=RANKS),
                "size": Cell(NOTHING, "size"),
                "count": Cell(NOTHING, "count"),
                "day": Cell(NOTHING, "day"),
                "moment": Cell(NOTHING, "moment"),
                "flag": Cell(NOTHING, "flag"),
            },
        ),
        Table(
            "thing_places",
            ("thing_id",),
            {"thing_id": Cell(pl.col("@id"), "id"), "shelf": Cell(NOTHING, "shelf")},
            when=pl.col("equipment_id").is_not_null(),
        ),
    ),
)
BASE = {"things.id": "1", "things.name": "base", "things.extra": '{"a": 1, "b": 2}'}


def row(placed: bool = False, **values: str | None) -> Row:
    """A row of the entity; a key is a column of its main table, or `table__column`."""
    cells: dict[str, object] = dict.fromkeys(TYPES)
    cells |= BASE | {"?thing_places": placed}
    for name, value in values.items():
        cells[name.replace("__", ".") if "__" in name else f"things.{name}"] = value
    return make(THING, cells)


ROWS: Mapping[Side, Row | None] = {
    "as base": row(extra='{"b":2,"a":1}'),  # JSON is compared as JSON
    "changed": row(name="changed"),
    "otherwise": row(name="otherwise"),
    "gone": None,
}


def verdict(strategy: str, base: Row | None, source: Row | None, target: Row | None) -> Verdict:
    return decide(THING, TYPES, STRATEGIES[strategy], base, source, target)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("target", ROWS)
def test_what_the_source_left_alone_stays_as_the_portal_has_it(strategy: str, target: Side) -> None:
    base = row()
    assert verdict(strategy, base, ROWS["as base"], ROWS[target]) == Verdict(False, ROWS[target], base)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("source", ["changed", "gone"])
def test_what_the_portal_left_alone_becomes_as_the_source_has_it(strategy: str, source: Side) -> None:
    found = verdict(strategy, row(), ROWS[source], ROWS["as base"])
    assert found == Verdict(True, ROWS[source], ROWS[source])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("target", ["changed", "otherwise", "gone"])
def test_a_row_without_a_base_is_written_unless_it_stands_there_already(strategy: str, target: Side) -> None:
    source = row(name="changed")
    found = verdict(strategy, None, source, ROWS[target])
    assert found == Verdict(target != "changed", source, source)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("both", ["changed", "gone"])
def test_what_both_sides_did_alike_is_no_conflict(strategy: str, both: Side) -> None:
    here, there = (None, None) if both == "gone" else (row(name="changed"), row(name="changed"))
    assert verdict(strategy, row(), here, there) == Verdict(False, there, here)


@pytest.mark.parametrize(
    ("strategy", "result"), [("source_wins", "changed"), ("target_wins", "otherwise"), ("merge", "changed")]
)
def test_what_both_sides_changed_is_decided_and_the_source_counts_as_written(
    strategy: str, result: Side
) -> None:
    base, source, target, stands = row(), ROWS["changed"], ROWS["otherwise"], ROWS[result]
    found = verdict(strategy, base, source, target)
    conflict = Conflict("both_changed", base, source, target, stands, strategy, open=False)
    assert found == Verdict(result != "otherwise", stands, source, conflict)


@pytest.mark.parametrize(
    ("strategy", "goes"), [("source_wins", True), ("merge", True), ("target_wins", False)]
)
def test_a_changed_row_that_the_source_deleted_goes_or_stays_and_is_forgotten(
    strategy: str, goes: bool
) -> None:
    base, target = row(), ROWS["changed"]
    stands = None if goes else target
    conflict = Conflict("deleted_in_source", base, None, target, stands, strategy, open=False)
    assert verdict(strategy, base, None, target) == Verdict(goes, stands, None, conflict)


@pytest.mark.parametrize(
    ("strategy", "anew"), [("source_wins", True), ("merge", True), ("target_wins", False)]
)
def test_a_changed_row_that_the_portal_deleted_comes_anew_or_stays_away(strategy: str, anew: bool) -> None:
    base, source = row(), ROWS["changed"]
    stands = source if anew else None
    conflict = Conflict("deleted_by_portal", base, source, None, stands, strategy, open=False)
    assert verdict(strategy, base, source, None) == Verdict(anew, stands, source, conflict)


@pytest.mark.parametrize(
    ("source", "target", "kind", "stands"),
    [
        ("changed", "otherwise", "both_changed", "otherwise"),
        ("gone", "changed", "deleted_in_source", "changed"),
        ("changed", "gone", "deleted_by_portal", "gone"),
    ],
)
def test_a_conflict_left_to_a_person_writes_nothing_and_keeps_the_base(
    source: Side, target: Side, kind: str, stands: Side
) -> None:
    base = row()
    found = verdict("manual", base, ROWS[source], ROWS[target])
    assert (found.write, found.row, found.base) == (False, ROWS[stands], base)
    assert found.conflict is not None
    assert (found.conflict.kind, found.conflict.open) == (kind, True)


def merged(
    column: str, base: str | None, source: str | None, target: str | None, type_: str | None = None
) -> str | None:
    """A cell of the merged row; `type_`: its column's, where that is not the one in `TYPES`."""
    cell = f"things.{column}"
    sides = [row(False, **{column: value}) for value in (base, source, target)]
    return merge(THING, {**TYPES, cell: type_ or TYPES[cell]}, *sides)[cell]


@pytest.mark.parametrize(
    ("column", "less", "more"),
    [
        ("size", "9", "10"),
        ("size", "-10", "-9"),
        ("size", "10", "NaN"),
        ("size", "Infinity", "NaN"),
        ("size", "0.30", "0.31"),
        ("count", "9", "10"),
        ("day", "2021-02-03", "2021-02-04"),
        ("day", "9999-12-31", "10000-01-01"),
        ("day", "0044-03-15 BC", "0043-03-15 BC"),
        ("day", "0044-03-14 BC", "0044-03-15 BC"),
        ("day", "0001-01-01 BC", "0001-01-01"),
        ("day", "-infinity", "4713-01-01 BC"),
        ("day", "294276-12-31", "infinity"),
        ("moment", "2021-02-03 04:05:06+00", "2021-02-03 04:05:06.1+00"),
        # The form of maintenance.sqlite.sql's defaults beside what bulkmig has read of the six digits.
        ("moment", "2021-02-03T04:05:06.000Z", "2021-02-03 18:00:00.25+00"),
        ("moment", "2021-02-03 04:05:06+00", "2021-02-03T18:00:00.000Z"),
        ("moment", "2021-02-03T04:05:06.120Z", "2021-02-03 04:05:06.120001+00"),
        ("day", "2021-02-03T04:05:06.120Z", "2021-02-04"),
        # What a file lets in that PostgreSQL doesn't.
        ("moment", "", "-infinity"),
        ("day", "unknown", "4713-01-01 BC"),
        ("count", "unknown", "-9"),
        ("size", "unknown", "-Infinity"),
    ],
)
def test_of_two_numbers_the_larger_stands_and_of_two_moments_the_later(
    column: str, less: str, more: str
) -> None:
    assert merged(column, None, less, more) == more
    assert merged(column, None, more, less) == more


@pytest.mark.parametrize(
    ("type_", "less", "more"),
    [
        *((name, "9", "10") for name in ("int2", "int4", "int8", "numeric", "float4", "float8")),
        *((name, "9999-12-31", "10000-01-01") for name in ("date", "timestamp", "timestamptz")),
    ],
)
def test_so_it_is_for_every_type_of_numbers_and_moments(type_: str, less: str, more: str) -> None:
    assert merged("name", None, less, more, type_) == more
    assert merged("name", None, more, less, type_) == more


@pytest.mark.parametrize(
    ("column", "source", "target"),
    [
        ("name", "a", "z"),
        ("name", "z", "a"),
        ("flag", "f", "t"),
        ("flag", "t", "f"),
        ("extra", '{"a": 1}', '{"z": 9}'),
        ("extra", '{"z": 9}', '{"a": 1}'),
    ],
)
def test_of_two_other_values_the_sources_stands(column: str, source: str, target: str) -> None:
    assert merged(column, "base" if column == "name" else None, source, target) == source


@pytest.mark.parametrize(("one", "other"), [(i, j) for i, j in product(range(3), repeat=2) if i < j])
def test_of_two_states_the_one_that_ranks_first_stands(one: int, other: int) -> None:
    assert merged("status", None, RANKS[one], RANKS[other]) == RANKS[one]
    assert merged("status", None, RANKS[other], RANKS[one]) == RANKS[one]


def test_of_two_states_without_a_rank_the_sources_stands() -> None:
    assert merged("status", "fault", "of its own", "the portal's") == "of its own"


@pytest.mark.parametrize(
    "column", [name.partition(".")[2] for name in TYPES if name.startswith("things.")][3:]
)
def test_a_value_beats_none_whichever_side_has_it(column: str) -> None:
    assert merged(column, "0", "1", None) == "1"
    assert merged(column, "0", None, "1") == "1"


@pytest.mark.parametrize("column", ["name", "status", "size", "day", "flag"])
def test_a_cell_that_one_side_alone_changed_is_that_sides_even_where_it_would_lose(column: str) -> None:
    high, low = ("fault", "operational") if column == "status" else ("2", "1")
    for changed in (low, None):
        assert merged(column, high, changed, high) == changed
        assert merged(column, high, high, changed) == changed


def test_json_that_is_only_written_otherwise_is_not_a_change() -> None:
    assert merged("extra", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"c": 3}') == '{"c": 3}'
    assert merged("extra", '{"a": 1, "b": 2}', '{"c": 3}', '{"b": 2, "a": 1}') == '{"c": 3}'


PLACED, LOOSE = {"things", "thing_places"}, {"things"}


@pytest.mark.parametrize(
    ("base", "source", "target", "stands"),
    [
        (True, True, True, PLACED),
        (True, True, False, LOOSE),
        (True, False, True, LOOSE),
        (False, True, False, PLACED),
        (False, False, True, PLACED),
        (False, False, False, LOOSE),
    ],
)
def test_a_merged_row_is_in_the_table_that_one_side_put_it_into_or_took_it_out_of(
    base: bool, source: bool, target: bool, stands: set[str]
) -> None:
    sides = [
        row(placed, name=name, thing_places__thing_id="1")
        for placed, name in ((base, "base"), (source, "source"), (target, "target"))
    ]
    found = merge(THING, TYPES, *sides)
    assert found.tables == stands
    assert {cell.partition(".")[0] for cell in found.cells} == stands


@pytest.mark.parametrize(
    ("base", "source", "target", "stands"),
    [
        ("a", "b", "a", "b"),
        ("a", "a", "b", "b"),
        ("a", "b", "c", "b"),
        ("a", None, "c", "c"),
        ("a", "b", None, "b"),
        ("a", None, "a", None),
        ("a", "a", None, None),
        (None, None, "c", "c"),
        (None, "b", None, "b"),
    ],
)
def test_a_merged_row_lies_where_the_side_has_it_whose_equipment_it_names(
    base: str | None, source: str | None, target: str | None, stands: str | None
) -> None:
    sides = [
        row(end is not None, equipment_id=end, name=name, thing_places__shelf=end)
        for end, name in ((base, "base"), (source, "source"), (target, "target"))
    ]
    found = merge(THING, TYPES, *sides)
    assert found["things.equipment_id"] == stands
    assert found.tables == (LOOSE if stands is None else PLACED)
