"""What a sync notes of rows that go from one vessel to another, where it looks at vessels once more."""

from __future__ import annotations

import pytest

from bulkmig.entities import entity
from bulkmig.sync.decide import Conflict
from bulkmig.sync.moves import Moves
from tests.unit.test_conflict_rules import row

CONFLICT = Conflict(
    kind="both_changed",
    base=row(name="a pump"),
    source=row(name="the pump"),
    target=row(name="our pump"),
    result=None,
    strategy="manual",
    open=True,
)


@pytest.fixture
def moves() -> Moves:
    """A pump goes from the old vessel to the new one."""
    made = Moves(vanished=frozenset({"gone"}), apart=frozenset({"aside"}), releases=True)
    made.came["new"]["equipment"]["pump"] = "old"
    made.left["old"]["equipment"].add("pump")
    made.ids["equipment"]["pump"] = "1"
    made.join("old", "new")
    return made


def test_a_row_that_stays_neither_comes_nor_leaves_until_that_is_looked_at_anew(moves: Moves) -> None:
    moves.stay("new", "equipment", ["pump"])
    assert not moves.receives("new")
    assert not moves.left["old"]["equipment"]
    assert moves.concern("old")
    moves.look_anew(["old"])
    assert moves.receives("new")
    assert moves.left["old"]["equipment"] == {"pump"}


def test_a_conflict_about_it_is_told_once_however_often_it_is_looked_at(moves: Moves) -> None:
    for _ in range(2):
        moves.look_anew(["old", "new"])
        moves.keep_there("new", "equipment", ("pump", "1", CONFLICT))
    assert moves.kept["old"]["equipment"] == [("pump", "1", CONFLICT)]


def test_for_a_second_look_the_same_vessels_give_decide_and_keep(moves: Moves) -> None:
    moves.away["old"]["documents"].add("manual")
    moves.stay("new", "equipment", ["pump"])
    again = moves.still_due()
    assert again.giving == {"gone", "aside"}
    assert again.apart == {"aside"}
    assert again.decides("gone", entity("cross_reference"))
    assert not again.decides("aside", entity("equipment"))
    assert again.away["old"]["documents"] == {"manual"}
    assert again.unsettled == {"old"}
    assert again.ids["equipment"] == {"pump": "1"}
    assert again.came["new"]["equipment"] == {"pump": "old"}
    assert again.partners("old") == {"old", "new"}
