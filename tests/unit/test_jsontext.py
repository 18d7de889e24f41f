"""Which numbers of JSON every target can hold."""

from __future__ import annotations

import polars as pl
import pytest

from bulkmig._core.jsontext import storable, suspicious


@pytest.mark.parametrize(
    ("number", "held"),
    [
        ("1e131071", True),
        ("1e131072", False),
        ("1e-16383", True),
        ("1.0e-16383", False),
        ("0e9999", True),
        ("1e+0000000000000000005", True),
        ("-1E-0000000000000016384", False),
        ("0e99999999999999", False),
        ("1e0000", True),
    ],
)
def test_a_number_is_storable_by_its_value_and_scale(number: str, held: bool) -> None:
    assert storable(f'{{"a": {number}, "suspect": 1e1000}}') == held


@pytest.mark.parametrize("after", ["", " ", "\n", ",", "]", "}", "\t"])
def test_a_number_with_a_large_exponent_is_suspicious_wherever_it_stands(after: str) -> None:
    texts = pl.DataFrame(
        {"text": [f"1.5e9999{after}", f"2E+0010000{after}", "1e999", '"1a3e1234"', '"3e12345f-"']}
    )
    assert texts.select(suspicious("text"))["text"].to_list() == [True, True, False, False, False]
