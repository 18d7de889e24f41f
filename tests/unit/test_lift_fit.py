"""One look at a table's columns finds all that lift has to change in them."""

from __future__ import annotations

import polars as pl
import pytest

from bulkmig._core.unit import TargetColumn
from bulkmig.lift.fit import Fit, Unfit
from bulkmig.sqlite.values import odd

TEXTS = ["", "plain", "long " * 9, "nul\0", odd(b"\xff"), odd(7)]
NUMBERS = ["0", "-32768", "32768", "-32769", "9223372036854775807", "9223372036854775808", "1.5", "x", ""]
DATES = [
    *("2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29", "2024-04-30", "2024-04-31", "2024-12-31"),
    *("2024-13-01", "2024-00-10", "0000-01-01", "0001-01-01", "12345-01-01", "0044-03-15 BC", "infinity"),
    *("yesterday", "", "2024-01-01\n"),
]
MOMENTS = [f"{day}{time}" for day in DATES for time in (" 12:00:00+00", "T23:59:60Z", "T12:00:00.1234567Z")]
JSON = ["{}", "[1", "1 2", "", " ", '"\\u0000"', '"a\0"', "[" * 901 + "]" * 901, "1e9999", "null", '{"a": 1}']
KINDS = [
    (TargetColumn("varchar", True, 20), TEXTS),
    (TargetColumn("text", True), TEXTS),
    (TargetColumn("int2", True), NUMBERS),
    (TargetColumn("int4", True), NUMBERS),
    (TargetColumn("int8", True), NUMBERS),
    (TargetColumn("numeric", True, 8, 2), [*NUMBERS, "NaN", "99999999.99", "123456789.5", "-", "."]),
    (TargetColumn("date", True), DATES),
    (TargetColumn("timestamptz", True), [*DATES, *MOMENTS]),
    (TargetColumn("bool", True), ["t", "f", "1", "true", ""]),
    (TargetColumn("uuid", True), ["00000000-0000-8000-8000-000000000000", "none", ""]),
    (TargetColumn("jsonb", True), JSON),
]


@pytest.mark.parametrize(("kind", "values"), KINDS, ids=lambda one: getattr(one, "type", ""))
def test_a_value_that_is_in_no_doubt_is_one_that_would_not_be_changed(
    kind: TargetColumn, values: list[str]
) -> None:
    fit = Fit({"table": {"column": kind}})
    changed = 0
    for value in (*values, None):
        frame = pl.DataFrame({"id": ["1"], "column": [value]}, schema_overrides={"column": pl.String})
        made, codes = fit._column(frame["column"], kind, "table.column", frame["id"])
        same = made.to_list() == [value] and not codes
        changed += not same
        assert same or fit.doubtful("table", frame) == ["column"], value
        assert fit.table("table", frame, "id")["column"].to_list() == made.to_list(), value
    assert changed or kind.type == "text"


def test_a_value_that_fits_nowhere_among_many_is_named() -> None:
    fit = Fit({"table": {"column": TargetColumn("int4", False)}})
    frame = pl.DataFrame({"id": ["1", "2", "3"], "column": ["7", "x", "8"]})
    with pytest.raises(Unfit, match=r"table\.column of row 2"):
        fit.table("table", frame, "id")
    assert fit.doubtful("table", frame.filter(pl.col("id") != "2")) == []
