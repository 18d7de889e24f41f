"""What a lift takes for a value of PostgreSQL's column, PostgreSQL takes too; nothing else is lost."""

from __future__ import annotations

import random

import asyncpg
import polars as pl
import pytest

from bulkmig._core.unit import TargetColumn
from bulkmig.lift.fit import Fit

# By type: texts that its column can hold, and texts that it can't or that are in no form of ISO 8601.
HELD = {
    "date": (
        *("2025-01-01", "2024-02-29", "2000-02-29", "0001-01-01", "10000-02-29", "5874897-12-31"),
        *("0005-02-28 BC", "0005-02-29 BC", "4714-11-24 BC", "infinity", "-infinity"),
    ),
    "timestamptz": (
        *("2025-01-01 10:00:00+00", "2025-01-01T10:00:00.123Z", "2025-01-01", "2025-01-01T10:00"),
        *("2025-01-01 10:00:00.1234567", "2025-01-01T10:00:00z", "2025-01-01T24:00:00Z", "2025-01-01T100000"),
        *("2025-01-01T10:00:00+05:30", "2025-01-01T10:00-0530", "2025-01-01T10:00:00+15:59"),
        *("0044-03-15 10:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "4714-11-24 00:00:00+00 BC"),
        *("infinity", "-infinity"),
    ),
    "numeric(10,2)": (
        "1",
        "12.50",
        "-99999999.994",
        ".5",
        "5.",
        "+5",
        "1e5",
        "1.0e-05",
        "0000000001.0",
        "NaN",
    ),
    "uuid": (
        "00000000-0000-0000-0000-000000000000",
        "ABCDEF00-0000-0000-0000-000000000000",
        "00000000000000000000000000000000",
    ),
    "int4": ("0", "-2147483648", "2147483647"),
    "boolean": ("t", "f"),
    "jsonb": (
        *("{}", ' {"a": [1.50, 1E+2]} ', '{"a":1,"a":2}', "1e131071", "1e-16383", '"1e999999"'),
        *("[" * 901 + "]" * 901, "9" * 131_072, "null"),
    ),
}
NOT_HELD = {
    "date": (
        *("1900-02-29", "2025-02-29", "2025-W01-1", "2025-13-01", "0000-01-01", "5874898-01-01", "today", ""),
        *("4714-11-23 BC", "0004-02-29 BC", "２０２５-01-01", "+2025-01-01", "2025-01-01\n", "1/2/2025"),
    ),
    "timestamptz": (
        *("2025-01-01 10", "2025-01-01T10:00:00,5", "2025-01-01T10:00:00+16:00", "2025-01-01T10:00:00-23:59"),
        *("294277-01-01 00:00:00+00", "294276-12-31 23:59:59-05", "1900-02-29T10:00:00Z", "now", "yesterday"),
        *("2025-01-01T25:00", "2025-01-01T10:61", "4714-11-23 23:59:59+00 BC", "２０２５-01-01"),
    ),
    "numeric(10,2)": (
        *("99999999.995", "-99999999.999", "123456789", "1e8", "9" * 2_000_000, "١", "1.5\n", "."),
        *("Infinity", "-", "", "1_000", "0x10"),
    ),
    "uuid": (
        *("urn:uuid:00000000-0000-0000-0000-000000000000", "0-0000000-0000-0000-0000-000000000000"),
        *("{{00000000000000000000000000000000}}", "0000000000000000000000000000000", "pump 7"),
    ),
    "int4": ("2147483648", "-2147483649", "3.7", "five", "", "٣", "9007199254740993"),
    "boolean": ("2", "yes", ""),
    "jsonb": (
        *("no json", "1e131072", '{"a": [1e200000]}', "1e-16384", '{"a":1e99999999999}', "9" * 131_073),
        *("[" * 2000 + "]" * 2000, "[" * 200_000, '"a\tb"', "01", "NaN", "", "{} {}", "\v1"),
    ),
}
COLUMNS = {
    "date": TargetColumn("date", nullable=True),
    "timestamptz": TargetColumn("timestamptz", nullable=True),
    "numeric(10,2)": TargetColumn("numeric", nullable=True, limit=8, scale=2),
    "uuid": TargetColumn("uuid", nullable=True),
    "int4": TargetColumn("int4", nullable=True),
    "boolean": TargetColumn("bool", nullable=True),
    "jsonb": TargetColumn("jsonb", nullable=True),
}
MADE_UP = 1500
PIECES = [*'0123456789-:+TZ .,Bet{}[]"\\\t\n', " BC", "00", "W", "1e", "infinity"]


def fitted(type_: str, texts: list[str]) -> list[str | None]:
    """What a lift makes of these values of a column."""
    fit = Fit({"rows": {"value": COLUMNS[type_]}})
    frame = pl.DataFrame({"key": [str(n) for n in range(len(texts))], "value": texts})
    made: list[str | None] = fit.table("rows", frame, "key")["value"].to_list()
    return made


def made_up(type_: str) -> list[str]:
    """Texts that are nearly of the type."""
    chance = random.Random(7)
    found = []
    begun = [text for text in (*HELD[type_], *NOT_HELD[type_]) if len(text) < 100]
    for _ in range(MADE_UP):
        text = [*chance.choice(begun)]
        for _ in range(chance.randint(1, 3)):
            at = chance.randint(0, len(text))
            text[at : at + chance.randint(0, 1)] = chance.choice([[chance.choice(PIECES)], []])
        found.append("".join(text))
    return found


@pytest.mark.parametrize("type_", HELD)
async def test_what_a_lift_takes_postgresql_takes(maintenance_url: str, type_: str) -> None:
    texts = [*HELD[type_], *NOT_HELD[type_], *made_up(type_)]
    connection = await asyncpg.connect(maintenance_url)
    try:
        refused = [
            text
            for text in fitted(type_, texts)
            if text is not None
            and not await connection.fetchval("SELECT pg_input_is_valid($1, $2)", text, type_)
        ]
    finally:
        await connection.close()
    assert refused == []


@pytest.mark.parametrize("type_", HELD)
def test_what_a_column_can_hold_is_kept_and_nothing_else(type_: str) -> None:
    assert [text for text in HELD[type_] if fitted(type_, [text]) == [None]] == []
    assert [text[:50] for text in NOT_HELD[type_] if fitted(type_, [text]) != [None]] == []
    assert fitted(type_, [*NOT_HELD[type_], HELD[type_][0]])[-1] == HELD[type_][0]


def test_decimals_of_more_places_are_rounded_as_a_direct_migration_rounds_them_and_counted() -> None:
    fit = Fit({"rows": {"value": COLUMNS["numeric(10,2)"]}})
    frame = pl.DataFrame({"key": ["a", "b", "c", "d"], "value": ["12.345", "12.5", "-0.004", "7.100"]})
    assert fit.table("rows", frame, "key")["value"].to_list() == ["12.35", "12.5", "0.00", "7.10"]
    assert fit.found == {"rows": [("value.truncated", "value", ["a", "c"])]}
