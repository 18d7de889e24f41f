"""Columns of JSON texts compared all at once."""

from __future__ import annotations

import pytest

from bulkmig._core.jsontext import MAX_DEPTH, same, unlike

# Pairs that mean the same, and pairs that don't; not all are objects, and some can't be taken all at once.
OBJECTS = [
    ('{"a": 1, "b": "x"}', '{"b":"x","a":1}'),
    ('{"a": 1.0}', '{"a": 1}'),
    ('{"a": {"b": [1, 2]}}', '{"a": {"b":[1,2]}}'),
    ("{}", "{ }"),
    ('{"a": 1e2}', '{"a": 100}'),
    ('{"a": 1, "a": 2}', '{"a": 2}'),
    ('{"a": "},{"}', '{"a": "},{"}'),
    ('{"a": null}', "{}"),
    ("{}", '{"a": null}'),
]
OTHERS = [
    ("[1, 2]", "[1,2]"),
    ("null", None),
    (None, "{}"),
    (None, None),
    ('"x"', '"y"'),
    ('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH, '{ "a": ' * MAX_DEPTH + "1" + "}" * MAX_DEPTH),
    ("1" * 5000, "1" * 4999 + "2"),
]


@pytest.mark.parametrize("pairs", [[], OBJECTS, OTHERS, [*OBJECTS, *OTHERS], OTHERS[:1], OBJECTS[:1]])
def test_a_column_compared_at_once_differs_where_its_texts_do_one_by_one(
    pairs: list[tuple[str | None, str | None]],
) -> None:
    one_by_one = [place for place, (one, other) in enumerate(pairs) if not same(one, other)]
    assert unlike([one for one, _ in pairs], [other for _, other in pairs]) == one_by_one


def test_texts_that_only_together_look_alike_are_told_apart() -> None:
    assert unlike(['{"a": 1}, {"b": 2}', "{}"], ["{}", "{}"]) == [0]
