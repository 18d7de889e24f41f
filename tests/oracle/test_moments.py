"""Dates and times as text: their order, and the dates that the rules compute."""

from __future__ import annotations

import datetime
from itertools import pairwise

import asyncpg
import pytest

from tests.oracle.moments import as_to_jsonb, days_later, moment_key, ordinary_date, written_date

IN_ORDER = [
    "-infinity",
    "0044-03-15 10:00:00.5+00 BC",
    "0001-12-31 23:59:59+00 BC",
    "0001-01-01 00:00:00+00",
    "2024-05-01 12:00:00+00",
    "2024-05-01 12:00:00.000001+00",
    "2024-05-01 12:00:00.5+00",
    "9999-12-31 23:59:59+00",
    "20000-01-01 00:00:00+00",
    "infinity",
]


def test_infinities_years_bc_and_microseconds_are_in_order() -> None:
    assert all(moment_key(earlier) < moment_key(later) for earlier, later in pairwise(IN_ORDER))


@pytest.mark.parametrize("text", ["infinity", "-infinity", "0001-01-01 BC", "10000-01-01", None])
def test_a_date_outside_the_years_1_to_9999_is_none_to_compute_with(text: str | None) -> None:
    assert ordinary_date(text) is None


def test_days_are_added_up_to_the_last_of_9999() -> None:
    last = ordinary_date("9999-12-30")
    assert last is not None
    assert days_later(last, 1) == datetime.date.max
    assert days_later(last, 2) is None
    assert days_later(last, 10**18) is None


@pytest.mark.parametrize(
    "text", ["2024-02-29", "2024-02-29T10:00", "2024-02-29 99:99 whatever\nnext line", "0001-01-01"]
)
def test_a_written_date_may_be_followed_by_a_time(text: str) -> None:
    date = written_date(text)
    assert date is not None
    assert date.isoformat() == text[:10]


@pytest.mark.parametrize(
    "text",
    [
        *("", "2023-02-29", "0000-01-01", "2024-2-29", "2024-02-29\n", " 2024-02-29", "2024-02-29t10:00"),
        *("2024-02-29T", "2024-02-29T1:00", "2024-02-29Z", "٢٠٢٤-02-29", "20240-02-29", "infinity"),
    ],
)
def test_anything_else_is_no_written_date(text: str) -> None:
    assert written_date(text) is None


@pytest.mark.all_versions
async def test_to_jsonb_writes_the_same(maintenance_url: str) -> None:
    connection: asyncpg.Connection = await asyncpg.connect(
        maintenance_url, server_settings={"TimeZone": "UTC", "DateStyle": "ISO, YMD"}
    )
    try:
        for text in IN_ORDER:
            row = await connection.fetchrow(
                "SELECT $1::text::timestamptz::text, to_jsonb($1::text::timestamptz) #>> '{}',"
                " $1::text::timestamptz::date::text, to_jsonb($1::text::timestamptz::date) #>> '{}'",
                text,
            )
            assert row is not None
            assert row[0] == text
            assert as_to_jsonb(row[0]) == row[1]
            assert as_to_jsonb(row[2]) == row[3]
    finally:
        await connection.close()
