"""Which numbers of JSON every target can hold."""

from __future__ import annotations

import polars as pl
import pytest

from bulkmig._core.jsontext import same, storable, suspicious, unlike


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


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "not json", "{bad", "]", "{]", "[1] 2", '{"a": 1', '{"a"}', '["\\ud800"]x', "NaN", "1 2",
        "[1,,2]", "\ufdd0sqlite:int:7",
    ],
)  # fmt: skip
@pytest.mark.parametrize("other", ["{}", "[1]", '{"a": 1}', "null", "[1, 2]", "[" * 900 + "]" * 900])
def test_what_is_no_json_means_only_itself(text: str, other: str) -> None:
    assert same(text, text)
    assert not same(text, other)
    assert not same(other, text)
    assert unlike([text, other], [text, text]) == [1]


def test_json_deeper_than_any_parser_follows_is_compared() -> None:
    deep = "[" * 5_000 + "1.0" + "]" * 5_000
    assert same(deep, deep.replace("1.0", " 1.0"))
    assert not same(deep, deep.replace("1.0", "1"))
