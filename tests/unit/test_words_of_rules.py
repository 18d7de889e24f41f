"""The words that rules of entities are made of, and longer QR codes where short ones meet."""

from __future__ import annotations

import hashlib

import polars as pl
import pytest

from bulkmig.decide.qr_codes import assign
from bulkmig.entities._rules import collapsed, mapped, out_of, unknown

STATES = {"ACTIVE": "on", "DRAFT": "off", "OLD": "off", "LOST": "gone"}


def told(expression: pl.Expr, *values: str | None) -> list[object]:
    return pl.DataFrame({"c": values}, schema={"c": pl.String}).select(expression).to_series().to_list()


def test_a_distinction_is_lost_where_two_values_have_one_target() -> None:
    assert told(collapsed("c", STATES), *STATES, "OTHER") == [False, True, True, False, False]


def test_a_value_that_the_map_does_not_know_and_null_get_the_default_and_are_unknown() -> None:
    assert told(mapped("c", STATES, "none"), "ACTIVE", "OTHER", None) == ["on", "none", "none"]
    assert told(unknown("c", STATES), "ACTIVE", "OTHER", None) == [False, True, True]


def test_a_number_is_out_of_its_range_only_beyond_its_ends() -> None:
    assert told(out_of("c", 0, 100), "-1", "0", "100", "101") == [True, False, False, True]


ONE, OTHER = "20000000-0000-4000-8000-000000003155", "20000000-0000-4000-8000-000000003181"
DIGITS = {one: hashlib.sha256(one.encode()).hexdigest() for one in (ONE, OTHER)}
PLAIN = f"PUMP-{DIGITS[ONE][:6]}"


def longer(one: str) -> str:
    return f"PUMP-{DIGITS[one][:8]}"


@pytest.mark.parametrize(
    ("candidates", "assigned", "taken", "codes"),
    [
        ([ONE, OTHER], [], [], {ONE: longer(ONE), OTHER: longer(OTHER)}),
        ([ONE], [], [], {}),
        ([ONE], [], [PLAIN], {ONE: longer(ONE)}),
        ([ONE, OTHER], [OTHER], [], {}),
        ([ONE, OTHER], [OTHER], [PLAIN], {ONE: longer(ONE)}),
        ([ONE, OTHER], [ONE, OTHER], [PLAIN], {}),
        ([ONE], [], [PLAIN, longer(ONE)], {ONE: f"PUMP-{DIGITS[ONE][:10]}"}),
    ],
)
def test_equipment_gets_a_longer_code_where_its_code_is_anothers(
    candidates: list[str], assigned: list[str], taken: list[str], codes: dict[str, str]
) -> None:
    assert DIGITS[ONE][:6] == DIGITS[OTHER][:6]
    assert assign([(one, "PUMP") for one in candidates], assigned, taken) == codes
