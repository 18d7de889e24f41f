"""The oracle's JSON: exact, repaired where the mapping says so, and spelled as jsonb spells it."""

from __future__ import annotations

import json

import asyncpg
import pytest

from tests.oracle.jsontext import Number, canonical, canonical_text, member, number, read, text_or

NUMBERS = [
    ("1E+2", "100"),
    ("1.50", "1.50"),
    ("1e-7", "0.0000001"),
    ("-0", "0"),
    ("-0.0", "0.0"),
    ("0.00", "0.00"),
    ("1.50e1", "15.0"),
    ("1.5e3", "1500"),
    ("123E-2", "1.23"),
    ("-12345678901234567890.123456789", "-12345678901234567890.123456789"),
    ("0e200000", "0"),
    ("1e0000000000000005", "100000"),
    ("9007199254740993", "9007199254740993"),
]
BEYOND = [
    *(
        "1e131072",
        "1" + "0" * 131_072,
        "1e-16384",
        "0.1e-16383",
        "0e-16384",
        "1e999999999999",
        "0e9999999999",
    ),
    *("-1e131072", "0." + "0" * 16_384),
]
WITHIN = ["1e131071", "1e-16383", "9" * 131_072, "0." + "1" * 16_383, "0.01e131073"]
TEXTS = [
    r'"\u0041\n\t\b\f\r\/\\\""',
    r'"\ud83d\ude00"',
    r'{"b": 1, "a": [true, false, null, {}, []], "b": 2.0}',
    '[ 1 ,\n2\t,\r3 ]',
    '"\u2028 \x7f \ufeff \U0001f600"',
    '{"": {"": ""}}',
]  # fmt: skip


@pytest.mark.parametrize(("written", "printed"), NUMBERS)
def test_a_number_is_spelled_as_jsonb_prints_it(written: str, printed: str) -> None:
    assert number(written) == Number(printed)


@pytest.mark.parametrize("written", BEYOND, ids=lambda text: text[:20])
def test_a_number_beyond_numeric_is_unstorable(written: str) -> None:
    assert read(f'{{"a": [{written}]}}').unstorable


@pytest.mark.parametrize("written", WITHIN, ids=lambda text: text[:20])
def test_a_number_within_numeric_is_not(written: str) -> None:
    assert not read(written).unstorable


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"a\u0000b"', "a\ufffdb"),
        (r'"\ud83d"', "\ufffd"),
        (r'"\ude00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (r'"\ud83d\u0041"', "\ufffdA"),
        (r'"\ud83dx\ude00"', "\ufffdx\ufffd"),
        (r'"\\\u0000"', "\\\ufffd"),
    ],
)
def test_an_escape_that_cannot_be_stored_is_repaired(written: str, meant: str) -> None:
    reading = read(written)
    assert (reading.value, reading.repaired) == (meant, True)


@pytest.mark.parametrize(
    ("written", "meant"),
    [(r'"\\u0000"', "\\u0000"), (r'"\\\\ud800"', "\\\\ud800"), (r'"\uD83D\uDE00"', "😀")],
)
def test_an_escaped_backslash_and_a_pair_are_not(written: str, meant: str) -> None:
    reading = read(written)
    assert (reading.value, reading.repaired) == (meant, False)


def test_keys_are_repaired_and_the_last_of_those_that_become_one_counts() -> None:
    reading = read(r'{"a\u0000": 1, "a\ud800": 2}')
    assert canonical(reading.value) == '{"a\ufffd": 2}'
    assert reading.repaired


def test_900_levels_are_stored_and_901_are_not() -> None:
    assert not read("[" * 900 + "1" + "]" * 900).unstorable
    assert read("[" * 901 + "]" * 901).unstorable
    assert read('{"a":' * 20_000 + "1" + "}" * 20_000).unstorable


def test_sql_null_and_json_null_are_two_things() -> None:
    assert read(None).sql_null
    assert not read("null").sql_null
    assert read("null").value is None


def test_a_member_of_what_is_no_object_is_none() -> None:
    assert member(read('["a"]').value, "a") is None
    assert member(read('{"a": false}').value, "a") is False
    assert text_or(False, "default") == text_or("", "default") == "default"
    assert text_or(" ", "default") == " "


def test_the_spelling_shows_scale_and_hides_order_and_space() -> None:
    assert canonical_text('{"b":1.0,"a":[ ]}') == canonical_text('{"a": [], "b": 1.0}')
    assert canonical_text("1.0") != canonical_text("1")
    assert canonical_text('"1"') != canonical_text("1")


@pytest.mark.all_versions
async def test_postgresql_reads_and_prints_the_same(maintenance_url: str) -> None:
    connection: asyncpg.Connection = await asyncpg.connect(maintenance_url)
    try:
        for written, printed in NUMBERS:
            assert await connection.fetchval("SELECT $1::text::jsonb::text", written) == printed
        for written in BEYOND:
            with pytest.raises(asyncpg.DataError):
                await connection.fetchval("SELECT $1::text::jsonb::text", written)
        for written in [*WITHIN, *TEXTS]:
            held = await connection.fetchval("SELECT $1::text::jsonb::text", written)
            assert canonical_text(written) == canonical_text(held)
            if written not in WITHIN:
                plain = json.dumps(json.loads(written), sort_keys=True, ensure_ascii=False)
                assert canonical_text(written) == plain
    finally:
        await connection.close()
