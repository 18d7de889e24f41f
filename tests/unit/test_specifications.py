"""The JSON that equipment gets made for it: its specifications with three columns, and who verified it."""

from __future__ import annotations

import json
from decimal import Decimal

import polars as pl
import pytest

from bulkmig.entities import _specifications

COLUMNS = ("specifications", "criticality", "classification", "maintenance_interval_days")
ALL = ("HIGH", "A", "30")
ADDED = {"criticality": "HIGH", "classification": "A", "maintenance_interval_days": 30}


def merged(*rows: tuple[str | None, str | None, str | None, str | None]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")
    return _specifications.merge(frame)


def meant(text: str) -> object:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@pytest.mark.parametrize(
    ("source", "columns", "expected"),
    [
        (None, (None, None, None), {}),
        ("{}", (None, None, None), {}),
        ('{"power": 1.50}', (None, None, None), {"power": Decimal("1.50")}),
        (None, ALL, ADDED),
        ("{}", ALL, ADDED),
        (" { } ", ALL, ADDED),
        ("{\n}\t", ALL, ADDED),
        ('{"power": 1.50}', ALL, {"power": Decimal("1.50"), **ADDED}),
        ('\n{"power": {"kW": 2}}\r\n', ALL, {"power": {"kW": 2}, **ADDED}),
        ('{"a": "}"}', ALL, {"a": "}", **ADDED}),
        ("{}", ("HIGH", None, None), {"criticality": "HIGH"}),
        ("{}", (None, "A", None), {"classification": "A"}),
        ("{}", (None, None, "30"), {"maintenance_interval_days": 30}),
        ("{}", (None, None, "-1"), {"maintenance_interval_days": -1}),
        ("{}", ("", None, None), {"criticality": ""}),
        ("{}", ('a "quoted" \\ \n word', None, None), {"criticality": 'a "quoted" \\ \n word'}),
    ],
)
def test_a_column_is_added_where_it_is_not_null(
    source: str | None, columns: tuple[str | None, str | None, str | None], expected: object
) -> None:
    (text,) = merged((source, *columns))["~specifications"]
    assert meant(text) == expected


@pytest.mark.parametrize("key", _specifications.MERGED)
@pytest.mark.parametrize("value", ['"own"', "null", "0", "{}"])
def test_a_member_that_is_there_already_is_kept_whatever_it_is(key: str, value: str) -> None:
    (text,) = merged((f'{{"{key}": {value}}}', *ALL))["~specifications"]
    assert meant(text) == {**ADDED, key: meant(value)}


def test_a_member_counts_as_there_however_its_name_is_spelled_and_only_at_the_top() -> None:
    escaped, nested, mentioned = merged(
        (r'{"critic\u0061lity": 1}', *ALL),
        ('{"inner": {"criticality": 1}}', *ALL),
        ('{"note": "criticality"}', *ALL),
    )["~specifications"]
    assert meant(escaped) == {**ADDED, "criticality": 1}
    assert meant(nested) == {"inner": {"criticality": 1}, **ADDED}
    assert meant(mentioned) == {"note": "criticality", **ADDED}


@pytest.mark.parametrize("source", ["null", "[]", '[{"criticality": 1}]', '"text"', '" {"', "12.50", "true"])
def test_what_is_no_object_becomes_the_member_value(source: str) -> None:
    frame = merged((f"\n {source}\t", *ALL))
    assert meant(frame["~specifications"][0]) == {"value": meant(source), **ADDED}
    assert frame["~wrapped"].to_list() == [True]


def test_objects_and_null_are_not_wrapped() -> None:
    frame = merged(("{}", *ALL), (' {"value": 1}', *ALL), (None, *ALL))
    assert frame["~wrapped"].fill_null(value=False).to_list() == [False, False, False]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            (None, None, None),
            '{"verified_by": null, "last_verified_at": null, "next_verification_date": null}',
        ),
        (
            ("2024-05-01 13:24:05.25+00", "2025-01-02", "00000002-0000-4000-8000-000000000001"),
            '{"verified_by": "00000002-0000-4000-8000-000000000001", '
            '"last_verified_at": "2024-05-01T13:24:05.25+00:00", "next_verification_date": "2025-01-02"}',
        ),
        (
            ("0044-03-15 12:00:00+00 BC", "0044-03-15 BC", None),
            '{"verified_by": null, "last_verified_at": "0044-03-15T12:00:00+00:00 BC", '
            '"next_verification_date": "0044-03-15 BC"}',
        ),
        (
            ("infinity", "-infinity", None),
            '{"verified_by": null, "last_verified_at": "infinity", "next_verification_date": "-infinity"}',
        ),
    ],
)
def test_verification_data_is_what_jsonb_prints_of_the_three_columns(
    row: tuple[str | None, ...], expected: str
) -> None:
    names = ("last_verified_at", "next_verification_date", "verified_by")
    frame = pl.DataFrame([row], schema=dict.fromkeys(names, pl.String), orient="row")
    assert frame.select(_specifications.verification_data()).item() == expected
