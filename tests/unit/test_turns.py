"""Whose turn it is to read and to write, where one at a time writes."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from bulkmig.config import MEBIBYTE, Settings
from bulkmig.turns import Turn, Turns

FILE = Settings(target="sqlite:////portal.db")


async def worked(at_once: int, workers: int, units: str, *, alone: str = "") -> list[str]:
    """What two steps each of reading and writing these units say, in their order, by workers of which each
    is slower than the one before."""
    said: list[str] = []
    turns, left = Turns(at_once), list(units)

    async def worker(slowness: int) -> None:
        turn = Turn(turns)
        while True:
            async with turn:
                if not left:
                    return
                unit = left.pop(0)
                if unit in alone:
                    await turn.write(alone=True)
                for step in ("read", "has read", "write", "has written"):
                    if step == "write":
                        await turn.write(alone=unit in alone)
                    said.append(f"{unit} {step}")
                    for _ in range(slowness * (1 + (unit in "bd"))):
                        await checkpoint()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for n in range(workers):
                group.start_soon(worker, n + 1)
    return said


async def test_units_are_written_in_the_order_in_which_they_are_begun() -> None:
    said = await worked(1, 2, "abcdef")
    written = [line for line in said if "writ" in line]
    assert written == [f"{unit} {step}" for unit in "abcdef" for step in ("write", "has written")]


async def test_while_one_is_written_the_next_is_read() -> None:
    said = await worked(1, 2, "abcdef")
    for unit, after in zip("abcde", "bcdef", strict=True):
        assert said.index(f"{after} read") < said.index(f"{unit} has written")


async def test_no_more_than_one_is_read_ahead() -> None:
    said = await worked(1, 4, "abcdef")
    for unit, after in zip("abcd", "cdef", strict=True):
        assert said.index(f"{unit} has written") < said.index(f"{after} read")


async def test_one_that_is_written_alone_waits_for_the_ones_before_and_lets_none_be_read_beside_it() -> None:
    said = await worked(1, 2, "abcdef", alone="c")
    at = said.index("c read")
    assert said[at : at + 4] == ["c read", "c has read", "c write", "c has written"]
    assert said.index("b has written") < at


async def test_where_as_many_are_written_at_once_nobody_waits() -> None:
    said = await worked(2, 2, "ab", alone="ab")
    assert said.index("b read") < said.index("a has read")


@pytest.mark.parametrize(
    ("settings", "ahead"),
    [
        (FILE, 1),
        (Settings(target="postgresql://portal"), 0),
        (Settings(target=FILE.target, parallel_vessels=1), 0),
        (Settings(target=FILE.target, dry_run=True), 0),
        (Settings(target=FILE.target, memory=MEBIBYTE), 0),
    ],
    ids=["into a file", "into PostgreSQL", "one at a time", "in a dry run", "in memory for one"],
)
def test_one_unit_is_read_ahead_where_one_is_written_at_a_time(settings: Settings, ahead: int) -> None:
    assert settings.ahead == ahead
