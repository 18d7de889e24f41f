"""What a target is, and texts that mean something to somebody.

A target takes one made-up input. Whatever it is, the package reads it or refuses it by an error of its own,
in bounded time, and repeats no secret of it; what can be read a second way is compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import strategies as st

SECRET = "kanarie"
PATIENCE = 60.0  # seconds after which one input counts as a hang

ANY = st.text(st.characters(exclude_categories=["Cs"]))
SHORT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What has a meaning to somebody: quotes, ends of lines and values, escapes, marks of order.
LOADED = st.sampled_from(
    ["", '"', '""', ",", "\n", "\r\n", "\r", "\\.", "\\N", "\\", "\ufeff", "\x00", "\x1b]0;x\x07", "\u2028",
     "=1+1", "@", "%", "'", "</script>", "<!--", "\U0001f6a2", "e\u0301", "\u202e", "NaN", "-0", "1e999"]
)  # fmt: skip
TEXT = st.lists(st.one_of(SHORT, LOADED), max_size=5).map("".join)
ROOM = TemporaryDirectory(prefix="bulkmig-fuzz-")


@dataclass(frozen=True)
class Target:
    """`does` with whatever `given` yields."""

    given: st.SearchStrategy[Any]
    does: Callable[[Any], None]


TARGETS: dict[str, Target] = {}


def target(strategy: st.SearchStrategy[Any]) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    def add(does: Callable[[Any], None]) -> Callable[[Any], None]:
        TARGETS[does.__name__] = Target(strategy, does)
        return does

    return add


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def mutated(good: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Something good with a few bytes changed, cut out, or put in."""
    edit = st.tuples(st.integers(0, 2**16), st.integers(0, 8), st.binary(max_size=8))

    def apply(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
        for place, length, new in edits:
            at = place % (len(data) + 1)
            data = data[:at] + new + data[at + length :]
        return data

    return st.builds(apply, good, st.lists(edit, max_size=4))
