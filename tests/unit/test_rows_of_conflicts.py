"""What of two rows differs, which equipment a row names, and what its fields are called in conflicts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bulkmig.sync.row import differing, end_cells, ends_of, equal, equal_in, field_names, placing
from tests.unit.test_conflict_rules import THING, row

THINGS, PLACES = THING.tables


def test_rows_differ_in_the_cells_whose_values_differ() -> None:
    one, other = row(name="one", size="1", flag="t"), row(name="other", size="1", flag=None)
    assert {*differing(THING, one, other)} == {"things.name", "things.flag"}
    assert not equal(THING, one, other)


def test_json_that_is_only_written_otherwise_is_no_difference() -> None:
    one, other = row(extra='{"a": 1.50}'), row(extra='{"a":1.50}')
    assert [*differing(THING, one, other)] == []
    assert equal(THING, one, other)
    assert [*differing(THING, one, row(extra='{"a": 1.51}'))] == ["things.extra"]


def test_a_row_that_alone_is_in_a_table_differs_in_all_its_cells_there() -> None:
    placed, loose = row(placed=True, thing_places__shelf="3"), row()
    cells = {"thing_places.thing_id", "thing_places.shelf"}
    assert {*differing(THING, placed, loose)} == {*differing(THING, loose, placed)} == cells
    assert not equal(THING, row(placed=True), loose)  # though no value differs


def test_a_row_has_cells_of_the_tables_that_it_is_in_alone() -> None:
    assert {cell.partition(".")[0] for cell in row(thing_places__shelf="3").cells} == {"things"}
    assert {*differing(THING, row(thing_places__shelf="3"), row())} == set()
    placed = row(placed=True, thing_places__shelf="3")
    assert placed["thing_places.shelf"] == "3"


def test_rows_are_compared_in_one_table_alone() -> None:
    one = row(placed=True, name="one", thing_places__shelf="3")
    other = row(placed=True, name="other", thing_places__shelf="3")
    assert equal_in(THING, PLACES, one, other)
    assert not equal_in(THING, THINGS, one, other)
    assert equal_in(THING, THINGS, one, one)


@pytest.mark.parametrize(("one", "other", "same"), [(True, True, True), (True, False, False)])
def test_a_row_that_is_not_there_equals_only_one_that_is_not(one: bool, other: bool, same: bool) -> None:
    rows = [None if gone else row() for gone in (one, other)]
    assert equal(THING, *rows) == equal(THING, *reversed(rows)) == same


def test_a_row_names_the_equipment_in_its_cells_that_refer_to_some() -> None:
    assert end_cells(THING) == ["things.equipment_id"]
    assert ends_of(THING, row(equipment_id="e")) == {"e"}
    assert ends_of(THING, row()) == set()


def test_equipment_says_where_a_row_is_only_where_a_table_holds_not_all_of_them() -> None:
    assert placing(THING) == "things.equipment_id"
    assert placing(replace(THING, tables=(THINGS,))) is None
    assert placing(replace(THING, references=())) is None


def test_a_field_is_called_by_its_column_unless_two_tables_have_one_so_called() -> None:
    assert field_names(THING)["things.name"] == "name"
    both = replace(
        THING, tables=(THINGS, replace(PLACES, cells={**PLACES.cells, "name": THINGS.cells["name"]}))
    )
    names = field_names(both)
    assert (names["things.name"], names["thing_places.name"]) == ("things.name", "thing_places.name")
    assert names["thing_places.shelf"] == "shelf"
