"""Vessels: what their columns become, where fleets of approved vessels don't tell."""

from __future__ import annotations

import polars as pl
import pytest

from bulkmig._core.unit import Decisions, Unit
from bulkmig.entities.vessel import ENTITY, valid_imo
from bulkmig.transform import Outcome, transform

ID = "00000003-0000-4000-8000-000000000001"


def become(**columns: str | None) -> Outcome:
    row = dict.fromkeys(ENTITY.column_names) | {"id": ID, "vessel_id": ID} | columns
    frame = pl.DataFrame([row], schema=dict.fromkeys(ENTITY.column_names, pl.String))
    decisions = Decisions("quarantine", {}, {}, current_year=2024, checks={"vessel": []})
    return transform(ENTITY, frame, Unit(decisions, (ID,)))


@pytest.mark.parametrize(
    ("status", "becomes", "unknown"),
    [
        ("APPROVED", "operational", False),
        ("NOT_STARTED", "onboarding", False),
        ("IN_PROGRESS", "onboarding", False),
        ("SUBMITTED", "onboarding", False),
        ("REJECTED", "inactive", False),
        ("SCRAPPED", "onboarding", True),
        (None, "onboarding", True),
    ],
)
def test_a_status_becomes_one_of_the_portals(status: str | None, becomes: str, unknown: bool) -> None:
    outcome = become(onboarding_status=status)
    assert outcome.image["vessels.status"].to_list() == [becomes]
    assert ("vessel.status_unknown" in outcome.findings["code"]) == unknown
    assert outcome.lossiness["vessel.status_unknown"] == unknown
    several = becomes == "onboarding" and not unknown
    assert outcome.lossiness["vessel.status_collapsed"] == several
    assert "vessel.status_collapsed" not in outcome.findings["code"]


@pytest.mark.parametrize(
    ("year", "implausible"),
    [("1849", True), ("1850", False), ("2024", False), ("2027", False), ("2028", True), (None, False)],
)
def test_a_year_is_implausible_before_1850_or_more_than_three_years_ahead(
    year: str | None, implausible: bool
) -> None:
    assert ("vessel.year_built_implausible" in become(year_built=year).findings["code"]) == implausible


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("9074729", True),
        ("IMO9074729", True),
        ("9074728", False),
        ("IMO 9074729", False),
        ("907472", False),
        ("90747290", False),
        ("٩٠٧٤٧٢٩", False),
        ("", False),
        (None, False),
    ],
)
def test_a_number_is_seven_digits_of_which_the_last_is_right(number: str | None, valid: bool) -> None:
    assert valid_imo(number) == valid
