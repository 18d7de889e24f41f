"""Vessels: IMO numbers, status, what the columns can hold."""

from __future__ import annotations

import pytest

from tests.oracle.draft import Ref
from tests.oracle.sample import YEAR, Sample, found
from tests.oracle.target import Column


@pytest.mark.parametrize("imo", ["9074729", "IMO9074729"])
def test_a_right_imo_number_is_no_finding(imo: str) -> None:
    sample = Sample()
    sample.vessel(imo_number=imo)
    assert found(sample.expect()) == set()


@pytest.mark.parametrize("imo", ["9074728", "907472", "90747290", "imo9074729", " 9074729", "٩٠٧٤٧٢٩", "x"])
def test_a_wrong_one_is_copied_and_found(imo: str) -> None:
    sample = Sample()
    vessel = sample.vessel(imo_number=imo)
    outcome = sample.expect()
    assert found(outcome) == {("vessel.imo_invalid", vessel, "imo_number")}
    assert outcome.tables["vessels"][0]["imo_number"] == imo


@pytest.mark.parametrize("imo", [None, ""])
def test_none_is_missing(imo: str | None) -> None:
    sample = Sample()
    vessel = sample.vessel(imo_number=imo)
    assert found(sample.expect()) == {("vessel.imo_missing", vessel, "imo_number")}


def test_a_vessel_of_the_target_with_the_imo_number_is_adopted_at_whichever_company() -> None:
    sample = Sample()
    own = sample.own("vessels", company_id=sample.own("companies", slug="other"), imo_number="9074729")
    vessel = sample.vessel()
    equipment = sample.add("equipment", vessel_id=vessel)
    outcome = sample.expect()
    [row] = outcome.tables["vessels"]
    assert (row["id"], row["name"]) == (own, "Vessel")
    assert isinstance(row["company_id"], Ref)
    assert outcome.tables["vessel_details"][0]["vessel_id"] == own
    assert outcome.tables["equipment"][0]["vessel_id"] == own
    assert ("vessel.adopted", vessel, "imo_number") in found(outcome)
    assert outcome.tables["equipment"][0]["id"] == Ref("equipment", equipment)


def test_an_empty_imo_number_is_no_key_and_may_be_taken() -> None:
    sample = Sample()
    sample.own("vessels", company_id=sample.own("companies", slug="other"), imo_number="")
    vessel = sample.vessel(imo_number="")
    codes = {code for code, _, _ in found(sample.expect())}
    assert codes == {"vessel.imo_missing", "vessel.imo_taken"}
    assert sample.expect().failed_vessels == {vessel}
    assert sample.expect(on_error="quarantine").quarantined == {("vessel", vessel): {"vessel.imo_taken"}}


@pytest.mark.parametrize(
    ("status", "mapped"),
    [
        ("APPROVED", "operational"),
        ("NOT_STARTED", "onboarding"),
        ("IN_PROGRESS", "onboarding"),
        ("SUBMITTED", "onboarding"),
        ("REJECTED", "inactive"),
        ("LOST", "onboarding"),
    ],
)
def test_status(status: str, mapped: str) -> None:
    sample = Sample()
    vessel = sample.vessel(onboarding_status=status)
    outcome = sample.expect(selection={vessel})
    assert outcome.tables["vessels"][0]["status"] == mapped
    assert outcome.tables["vessel_details"][0]["original_status"] == status
    assert ("vessel.status_unknown" in outcome.by_code()) == (status == "LOST")


@pytest.mark.parametrize(
    ("year", "plausible"), [(1849, False), (1850, True), (YEAR + 3, True), (YEAR + 4, False), (None, True)]
)
def test_year_built(year: int | None, plausible: bool) -> None:
    sample = Sample()
    sample.vessel(year_built=year)
    assert ("vessel.year_built_implausible" in sample.expect().by_code()) != plausible


def test_a_number_that_the_column_has_no_room_for_becomes_null_or_an_error() -> None:
    sample = Sample()
    vessel = sample.vessel(gross_tonnage="12345.50", year_built="2000")
    sample.target.columns["vessel_details", "gross_tonnage"] = Column("numeric", precision=6, scale=2)
    sample.target.columns["vessel_details", "year_built"] = Column("smallint")
    outcome = sample.expect()
    assert found(outcome) == {("value.out_of_range", vessel, "gross_tonnage")}
    assert outcome.tables["vessel_details"][0]["gross_tonnage"] is None
    assert outcome.tables["vessel_details"][0]["year_built"] == "2000"
    tight = Column("numeric", precision=6, scale=2, nullable=False)
    sample.target.columns["vessel_details", "gross_tonnage"] = tight
    assert found(sample.expect()) == {("value.unstorable", vessel, "gross_tonnage")}
    assert sample.expect().failed_vessels == {vessel}


@pytest.mark.parametrize("value", ["12.50", "-0.01", "NaN", "99999999.99"])
def test_decimals_are_copied(value: str) -> None:
    sample = Sample()
    sample.vessel(gross_tonnage=value)
    assert sample.expect().tables["vessel_details"][0]["gross_tonnage"] == value


def test_only_approved_vessels_are_selected_by_all() -> None:
    sample = Sample()
    sample.vessel(onboarding_status="SUBMITTED")
    assert sample.expect().done_vessels == set()
