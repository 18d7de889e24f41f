"""JSON that parsers change, refuse or choke on. `json` columns hold all of it, exactly as it was written."""

from __future__ import annotations

from random import Random

from bulkmig.generate.traps.plant import Family, Trap

DEPTH = 900  # the deepest that a row may hold
_BEFORE_POINT, _AFTER_POINT = 131_072, 16_383  # digits of PostgreSQL's numeric


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _nested_objects(depth: int) -> str:
    return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)


def _large(rng: Random) -> str:
    texts = (f'é\\u00e9 \\"{rng.getrandbits(2000):0500x}\\"' for _ in range(2_200))
    rows = ", ".join(f'{{"n": {n}, "text": "{text}"}}' for n, text in enumerate(texts))
    return f'{{"rows": [{rows}]}}'


# Valid in any JSON column; objects among them have none of the keys that a rule reads.
JSON: Family = (
    Trap("json_sql_null", None),
    Trap("json_null", "null"),
    Trap("json_true", "true"),
    Trap("json_number", "42"),
    Trap("json_string", '"text"'),
    Trap("json_empty_string", '""'),
    Trap("json_array", '[1, {"a": 2}]'),
    Trap("json_empty_array", "[]"),
    Trap("json_empty_object", "{ }"),
    Trap("json_empty_key", '{"": 1}'),
    Trap("json_white_space", ' \n\t{ "b" :\r\n 1 , "a" : [ ] }\n'),
    Trap("json_key_order", '{"bb": 1, "a": 2, "B": 3, "é": 4, "aa": {"z": 1, "y": 2}}'),
    Trap("json_escapes", r'{"a": "\" \\ \/ \b \f \n \r \t \u00e9 \u001f"}'),
    Trap("json_texts", r'{"a": ["NULL", "\\.", "\\N", "null", "", " ", "\ufeffx", "it' 's"]}'),
    Trap("json_unicode", '{"ключ 🚢": "значение \u2028 \u0085 \x7f \ufeff"}'),
    Trap("json_noncharacters", r'{"a": "\uffff \ufffe \udbff\udfff"}'),
    Trap("json_nul_value", r'{"a": "x\u0000y"}', json_only=True),
    Trap("json_nul_key", r'{"a\u0000": 1, "b": {"\u0000": [2]}}', json_only=True),
    Trap("json_nul_in_array", r'["\u0000", "a"]', json_only=True),
    Trap("json_nul_escaped_backslash", r'{"a": "\\u0000", "\\u0000": "\\\\u0000"}'),
    Trap("json_nul_after_backslash", r'{"a": "\\\u0000"}', json_only=True),
    Trap("json_lone_high_value", r'{"a": "x\ud83dy"}', json_only=True),
    Trap("json_lone_low_value", r'{"a": "x\uDE00y"}', json_only=True),
    Trap("json_lone_high_key", r'{"a\ud83d": 1}', json_only=True),
    Trap("json_lone_low_key", r'{"\ude00a": 1}', json_only=True),
    Trap("json_surrogates_reversed", r'{"a": "\ude00\ud83d"}', json_only=True),
    Trap("json_high_before_pair", r'{"a": "\ud83d\ud83d\ude00"}', json_only=True),
    Trap("json_low_after_pair", r'{"a": "\ud83d\ude00\ude00"}', json_only=True),
    Trap("json_high_before_escape", r'{"a": "\ud83d\u0041\ud83d\n"}', json_only=True),
    Trap("json_high_before_backslash", r'{"a": "\ud83d\\ude00"}', json_only=True),
    Trap("json_high_before_low_character", r'{"a": "\ud83dude00"}', json_only=True),
    Trap("json_surrogate_pair", r'{"a": "\ud83d\ude00 \uD83D\uDEA2"}'),
    Trap("json_surrogate_pair_key", r'{"\uD83D\ude00": "\\\ud83d\ude00"}'),
    Trap("json_duplicate_key", '{"a": 1, "b": 0, "a": {"x": 2}}'),
    Trap("json_duplicate_key_escaped", r'{"a": 1, "\u0061": 2, "b": 3}'),
    Trap("json_duplicate_key_nested", '{"a": [{"b": 1, "b": 2}], "c": {"d": 1, "d": null}}'),
    Trap("json_duplicate_after_repair", r'{"\u0000": 1, "\ufffd": 2, "\udfff": 3}', json_only=True),
    Trap("json_number_exact", '{"a": 12345678901234567890.123456789, "b": -9007199254740993}'),
    Trap("json_number_exponent", '{"a": 1E+2, "b": [1e2, 12.5E3]}'),
    Trap("json_number_scale", '{"a": 1.50, "b": 0.000, "c": 100.00}'),
    Trap("json_number_negative_zero", '{"a": -0, "b": -0.0}'),
    Trap("json_number_small", '{"a": 1e-7, "b": 0.1e-20}'),
    Trap("json_number_beyond_double", '{"a": 1e309, "b": -1e-400}'),
    Trap("json_number_largest", '{"a": 1e131071, "b": 12345e131067}', heavy=True),
    Trap("json_number_finest", '{"a": 1e-16383, "b": 1.5e-16382}', heavy=True),
    Trap("json_number_most_digits", lambda _: '{"a": -' + "9" * _BEFORE_POINT + "}", heavy=True),
    Trap("json_number_most_decimals", lambda _: '{"a": 0.' + "3" * _AFTER_POINT + "}", heavy=True),
    Trap("json_zero_huge_exponent", '{"a": 0e999999, "b": 0.00E131072}'),
    Trap("json_number_in_string", '{"a": "1e999999", "1e131072": "-1e-16384"}'),
    Trap("json_depth_900", lambda rng: rng.choice((_nested(DEPTH), f'{{"a": {_nested(DEPTH - 1)}}}'))),
    Trap("json_depth_900_objects", _nested_objects(DEPTH)),
    Trap("json_wide", lambda _: '{"a": [' + "[], {}, " * 2000 + "0]}"),
    Trap("json_brackets_in_string", lambda _: '{"a": "' + r"[{\"" * 2000 + '"}'),
    Trap("json_large", _large, heavy=True),
)
_BEYOND_NUMERIC = (
    ("json_number_too_large", '{"a": 1e131072}'),
    ("json_number_too_large_by_mantissa", '{"a": [1, {"b": -12345e131068}]}'),
    ("json_number_too_fine", '{"a": 1e-16384}'),
    ("json_number_too_fine_by_mantissa", '{"a": 1.5e-16383}'),
    ("json_zero_too_fine", '{"a": 0e-16384}'),
    ("json_number_exponent_absurd", '{"a": 1e99999999999}'),
)
# What makes the row an error.
UNSTORABLE: Family = (
    *(Trap(name, value, error=True, json_only=True) for name, value in _BEYOND_NUMERIC),
    Trap(
        "json_number_too_many_digits",
        lambda _: '{"a": ' + "9" * (_BEFORE_POINT + 1) + "}",
        error=True,
        json_only=True,
        heavy=True,
    ),
    Trap(
        "json_number_too_many_decimals",
        lambda _: "[0." + "3" * (_AFTER_POINT + 1) + "]",
        error=True,
        json_only=True,
        heavy=True,
    ),
    Trap("json_depth_901", _nested(DEPTH + 1), error=True),
    Trap("json_depth_901_objects", _nested_objects(DEPTH + 1), error=True),
    Trap("json_depth_5000", f'{{"a": {_nested(4999)}}}', error=True),
)


def texts_of(key: str, prefix: str, good: str) -> tuple[tuple[str, str, bool], ...]:
    """Ways to write a member from which a rule takes a non-empty string: name, text, whether json only."""
    return (
        (f"{prefix}_given", f'"{key}": "{good}"', False),
        (f"{prefix}_empty", f'"{key}": ""', False),
        (f"{prefix}_blank", f'"{key}": "  "', False),
        (f"{prefix}_null", f'"{key}": null', False),
        (f"{prefix}_number", f'"{key}": 7.50', False),
        (f"{prefix}_boolean", f'"{key}": true', False),
        (f"{prefix}_object", f'"{key}": {{"url": "{good}"}}', False),
        (f"{prefix}_array", f'"{key}": ["{good}"]', False),
        (f"{prefix}_nul", rf'"{key}": "\u0000"', True),
        (f"{prefix}_lone_surrogate", rf'"{key}": "{good}\ud800"', True),
        (f"{prefix}_escapes", rf'"{key}": "\u00e9\ud83d\udea2\/\"\\\n"', False),
        (f"{prefix}_key_escaped", rf'"\u{ord(key[0]):04x}{key[1:]}": "{good}"', False),
        (f"{prefix}_duplicate_last_good", f'"{key}": 5, "{key}": "{good}"', False),
        (f"{prefix}_duplicate_last_bad", f'"{key}": "{good}", "{key}": null', False),
        (f"{prefix}_key_other_case", f'"{key.upper()}": "{good}"', False),
    )
