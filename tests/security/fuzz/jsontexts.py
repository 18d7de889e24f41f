"""JSON, against the oracle's reading."""

from __future__ import annotations

import polars as pl
from hypothesis import strategies as st

from bulkmig._core import jsontext
from tests.oracle import jsontext as second
from tests.security.fuzz.target import (
    target,
)

NUMBER = st.one_of(
    st.integers().map(str),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,7})?\Z"),
    st.sampled_from(
        ["0e99999999999999", "1E-16384", "1e131071", "1e131072", "0." + "0" * 16383 + "1", "-0.0"]
    ),
)
ESCAPE = st.one_of(
    st.sampled_from(["\\u0000", "\\ud800", "\\udc00", "\\ud83d\\udea2", "\\\\u0000", "\\\\", "\\n", '\\"',
                     "\\/", "\\uD83D\\uD83D\\uDEA2", "\\udea2\\ud83d", "\\u0041", "\\\\\\u0000"]),
    st.integers(0, 0xFFFF).map("\\u{:04x}".format),
    st.integers(0, 0xFFFF).map("\\u{:04X}".format),
)  # fmt: skip
PIECE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=6), ESCAPE
)
STRING = st.lists(PIECE, max_size=5).map(lambda pieces: '"' + "".join(pieces) + '"')
SPACE = st.sampled_from(["", "", " ", "\n", "\t \r\n"])
JSON = st.recursive(
    st.one_of(st.sampled_from(["null", "true", "false"]), NUMBER, STRING),
    lambda inner: st.one_of(
        st.builds(lambda items, s: "[" + s + ("," + s).join(items) + "]", st.lists(inner, max_size=4), SPACE),
        st.builds(
            lambda members, s: "{" + ("," + s).join(f"{k}{s}:{v}" for k, v in members) + s + "}",
            st.lists(st.tuples(STRING, inner), max_size=4),
            SPACE,
        ),
        st.builds(
            lambda value, depth: "[" * depth + value + "]" * depth,
            inner,
            st.sampled_from([1, 899, 900, 901, 5000]),
        ),
    ),
    max_leaves=8,
)


@target(JSON)
def json_repair(text: str) -> None:
    """What comes out is what a second reading says, needs no second repair, and means the same to itself."""
    expected = second.read(text)
    repaired, changed, unstorable = jsontext.repair(text)
    assert unstorable == expected.unstorable
    needed = pl.DataFrame({"t": [text]}).select(jsontext.suspicious("t"))["t"][0]
    assert needed or not (changed or unstorable)
    if unstorable:
        return
    assert changed == expected.repaired
    assert jsontext.repair(repaired) == (repaired, False, False)
    assert second.read(repaired).canonical == expected.canonical
    assert jsontext.same(repaired, jsontext.canonical(repaired))
    jsontext.members(repaired)
    jsontext.string(repaired)


@target(st.tuples(JSON, JSON))
def json_sameness(given: tuple[str, str]) -> None:
    """Two texts mean the same where a second reading says so."""
    one, other = (second.read(text) for text in given)
    if one.unstorable or other.unstorable:
        return
    first, last = (jsontext.repair(text)[0] for text in given)
    assert jsontext.same(first, last) == (one.canonical == other.canonical)
