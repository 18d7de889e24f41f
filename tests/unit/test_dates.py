"""Dates of equipment: the last maintenance in its metadata, the next one, and what lies before what."""

from __future__ import annotations

import polars as pl
import pytest

from bulkmig.entities import _dates

NO_DATE = ""  # it is there and is none
KEY = "last_maintenance_date"


def last_maintenance(*metadata: str | None) -> list[str | None]:
    found: list[str | None] = _dates.last_maintenance(pl.Series(metadata, dtype=pl.String)).to_list()
    return found


@pytest.mark.parametrize(
    ("written", "date"),
    [
        ('"2024-02-29"', "2024-02-29"),
        ('"0001-01-01"', "0001-01-01"),
        ('"9999-12-31"', "9999-12-31"),
        ('"2024-01-02T10:00"', "2024-01-02"),
        ('"2024-01-02 23:59:59.5+05:30"', "2024-01-02"),
        ('"2024-01-02T99:99 or so"', "2024-01-02"),
        (r'"2024-01-02T10:00\nand \"more\""', "2024-01-02"),
        (r'"2024\u002d01-02"', "2024-01-02"),
        ('"2023-02-29"', NO_DATE),
        ('"0000-01-01"', NO_DATE),
        (r'"0000\u002d01-01"', NO_DATE),
        ('"10000-01-01"', NO_DATE),
        ('"2024-1-2"', NO_DATE),
        ('"2024-01-02 "', NO_DATE),
        ('" 2024-01-02"', NO_DATE),
        ('"2024-01-02T"', NO_DATE),
        ('"2024-01-02T1:00"', NO_DATE),
        ('"2024-01-02T10:0"', NO_DATE),
        ('"2024-01-02_10:00"', NO_DATE),
        ('"2024-01-02\\n"', NO_DATE),
        ('"２０２４-01-02"', NO_DATE),
        ('""', NO_DATE),
        ("20240102", NO_DATE),
        ("true", NO_DATE),
        ('["2024-01-02"]', NO_DATE),
        ('{"date": "2024-01-02"}', NO_DATE),
        ("null", None),
    ],
)
def test_the_last_maintenance_is_the_date_as_it_is_written(written: str, date: str | None) -> None:
    assert last_maintenance(f'{{"{KEY}": {written}}}') == [date]
    assert last_maintenance(f'{{"other": 1, "{KEY}": {written}, "more": "x"}}') == [date]


@pytest.mark.parametrize(
    ("metadata", "date"),
    [
        (None, None),
        ("{}", None),
        ("null", None),
        ('{"other": "2024-01-02"}', None),
        (f'{{"nested": {{"{KEY}": "2024-01-02"}}}}', None),
        (f'[{{"{KEY}": "2024-01-02"}}]', None),
        (f'"{KEY}"', None),
        (f'{{"note": "{KEY}: 2024-01-02"}}', None),
        (f' \t\r\n{{"{KEY}": "2024-01-02"}}', "2024-01-02"),
        (r'{"last\u005fmaintenance_date": "2024-01-02"}', "2024-01-02"),
        (f'{{"{KEY}": "no", "{KEY}": "2024-01-02"}}', "2024-01-02"),
        (f'{{"{KEY}": "2024-01-02", "{KEY}": null}}', None),
    ],
)
def test_only_a_member_of_the_object_itself_counts_and_the_last_of_its_name(
    metadata: str | None, date: str | None
) -> None:
    assert last_maintenance(metadata) == [date]


def test_each_row_has_the_date_of_its_own_metadata() -> None:
    dated, wrong = f'{{"{KEY}": "2024-01-02"}}', f'{{"{KEY}": "soon"}}'
    assert last_maintenance(None, dated, "{}", wrong, dated) == [
        None,
        "2024-01-02",
        None,
        NO_DATE,
        "2024-01-02",
    ]
    assert last_maintenance() == []


@pytest.mark.parametrize(
    ("base", "days", "later"),
    [
        ("2024-02-28", 2, "2024-03-01"),
        ("0001-01-01", 1, "0001-01-02"),
        ("9999-12-30", 1, "9999-12-31"),
        ("9999-12-31", 1, None),
        ("2024-01-01", 2**31 - 1, None),
        ("2024-01-01", 0, None),
        ("2024-01-01", -1, None),
        ("2024-01-01", None, None),
        (None, 1, None),
        ("infinity", 1, None),
        ("-infinity", 1, None),
        ("0001-12-31 BC", 1, None),
        ("10000-01-01", 1, None),
    ],
)
def test_the_next_maintenance_lies_in_the_years_1_to_9999_or_nowhere(
    base: str | None, days: int | None, later: str | None
) -> None:
    frame = pl.DataFrame({"base": [base], "days": [days]}, schema={"base": pl.String, "days": pl.Int64})
    assert frame.select(_dates.plus_days(pl.col("base"), pl.col("days"))).item() == later


IN_ORDER = [
    "-infinity",
    "10000-01-01 BC",
    "0002-01-01 BC",
    "0001-01-01 BC",
    "0001-01-02 BC",
    "0001-02-01 BC",
    "0001-01-01",
    "2023-12-31",
    "2024-01-01",
    "2024-01-02",
    "2024-02-01",
    "9999-12-31",
    "10000-01-01",
    "10000-01-02",
    "10000-02-01",
    "5874897-12-31",
    "infinity",
]


def test_dates_have_the_order_of_postgresql() -> None:
    pairs = [(one, other) for one in IN_ORDER for other in IN_ORDER]
    frame = pl.DataFrame(pairs, schema={"one": pl.String, "other": pl.String}, orient="row")
    found = frame.select(_dates.before("one", "other")).to_series().to_list()
    assert found == [IN_ORDER.index(one) < IN_ORDER.index(other) for one, other in pairs]


@pytest.mark.parametrize("known", ["2024-01-01", "infinity"])
def test_nothing_is_known_of_the_order_where_a_date_is_missing(known: str) -> None:
    frame = pl.DataFrame(
        {"one": [known, None, None], "other": [None, known, None]},
        schema_overrides={"one": pl.String, "other": pl.String},
    )
    found = frame.select(_dates.before("one", "other")).to_series().fill_null(value=False).to_list()
    assert found == [False, False, False]
