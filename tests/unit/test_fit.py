"""Decimals as the target's column can hold them."""

from __future__ import annotations

import polars as pl
import pytest

from bulkmig._core.unit import TargetColumn
from bulkmig.entities import entity
from bulkmig.fit import checks

COLUMN = "vessel_details.gross_tonnage"
VESSEL = entity("vessel")
ANYTHING = TargetColumn("text", True)


@pytest.mark.parametrize(
    ("value", "code", "held"),
    [
        ("12.5", None, "12.5"),
        ("12.50", None, "12.5"),
        ("12", None, "12.0"),
        ("12.55", "value.truncated", "12.6"),
        ("-0.05", "value.truncated", "-0.1"),
        ("-0.04", "value.truncated", "0.0"),
        ("99999.94", "value.truncated", "99999.9"),
        ("99999.95", "value.out_of_range", None),
        ("Infinity", "value.out_of_range", None),
        ("NaN", None, "NaN"),
        (None, None, None),
    ],
)
def test_a_decimal_is_rounded_and_one_that_is_too_large_then_is_null(
    value: str | None, code: str | None, held: str | None
) -> None:
    target = {table.name: dict.fromkeys(table.cells, ANYTHING) for table in VESSEL.tables}
    target["vessel_details"]["gross_tonnage"] = TargetColumn("numeric", True, 5, 1)
    source = {VESSEL.source: {"gross_tonnage": TargetColumn("numeric", True)}}
    image = pl.DataFrame({COLUMN: [value]}, schema={COLUMN: pl.String})
    found = [c for c in checks(VESSEL, target, source) if image.select(c.bad.fill_null(value=False)).item()]
    assert {check.code for check in found} - {""} == ({code} if code else set())
    for check in found:
        assert check.mended is not None
        image = image.with_columns(check.mended.alias(COLUMN))
    assert image.item() == held
