"""Locations: paths, gaps, cycles."""

from __future__ import annotations

from tests.oracle.expect import Expectation
from tests.oracle.sample import Sample, found


def path_of(outcome: Expectation) -> object:
    """The location of the only equipment."""
    [row] = outcome.tables["equipment"]
    return row["location"]


def test_a_path_goes_from_the_root_down_also_across_vessels() -> None:
    sample = Sample()
    vessel, other = sample.vessel(), sample.vessel(onboarding_status="REJECTED", imo_number=None)
    root = sample.add("locations", vessel_id=other, name="Hull")
    deck = sample.add("locations", vessel_id=vessel, parent_id=root, name=" Deck > 1 ")
    sample.add("equipment", vessel_id=vessel, location_id=deck)
    assert path_of(sample.expect()) == "Hull >  Deck > 1 "


def test_a_parent_that_does_not_exist_ends_the_path_and_is_found_once_on_its_child() -> None:
    sample = Sample()
    vessel, other = sample.vessel(), sample.vessel(onboarding_status="REJECTED", imo_number=None)
    root = sample.add("locations", vessel_id=other, parent_id=sample.new_id(), name="A")
    sample.add("locations", vessel_id=other, parent_id=sample.new_id(), name="not looked at")
    leaf = sample.add("locations", vessel_id=vessel, parent_id=root, name="B")
    sample.add("locations", vessel_id=vessel, parent_id=root, name="C")
    sample.add("equipment", vessel_id=vessel, location_id=leaf)
    outcome = sample.expect()
    assert path_of(outcome) == "A > B"
    assert found(outcome, "location") == {("location.parent_missing", root, "parent_id")}
    assert outcome.lossiness["location.parent_missing"] == 1


def test_a_cycle_ends_the_path_before_a_repeat_and_is_found_on_its_members() -> None:
    sample = Sample()
    vessel = sample.vessel()
    first, second = sample.new_id(4), sample.new_id(4)
    sample.add("locations", id=first, vessel_id=vessel, parent_id=second, name="1")
    sample.add("locations", id=second, vessel_id=vessel, parent_id=first, name="2")
    hanging = sample.add("locations", vessel_id=vessel, parent_id=first, name="3")
    alone = sample.new_id(4)
    sample.add("locations", id=alone, vessel_id=vessel, parent_id=alone, name="4")
    sample.add("equipment", vessel_id=vessel, location_id=hanging)
    outcome = sample.expect()
    assert path_of(outcome) == "2 > 1 > 3"
    members = {first, second, alone}
    assert found(outcome, "location") == {("location.cycle", member, "parent_id") for member in members}


def test_an_equipment_without_location_has_none_and_one_on_another_vessel_is_an_error() -> None:
    sample = Sample()
    vessel, other = sample.vessel(), sample.vessel(onboarding_status="REJECTED", imo_number=None)
    elsewhere = sample.add("locations", vessel_id=other)
    nowhere = sample.add("equipment", vessel_id=vessel)
    wrong = sample.add("equipment", vessel_id=vessel, location_id=elsewhere)
    dangling = sample.add("equipment", vessel_id=vessel, location_id=sample.new_id())
    outcome = sample.expect(on_error="quarantine")
    assert found(outcome, "equipment") == {
        ("equipment.location_missing", nowhere, "location_id"),
        ("equipment.location_unknown", wrong, "location_id"),
        ("equipment.location_unknown", dangling, "location_id"),
    }
    assert path_of(outcome) is None
