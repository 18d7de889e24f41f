"""SIGKILL during `lift`, at every statement that it sends to PostgreSQL: nothing is ever half there, the file
is as it was, and the same command again moves all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bulkmig import Selection, Settings, migrate
from bulkmig.generate import FleetSpec
from tests.oracle.target import read_rows
from tests.support import canaries
from tests.support.aftermath import left_behind
from tests.support.dumps import apart, dump
from tests.support.files import stored, with_rows
from tests.support.fleets import Fleets
from tests.support.programs import program, run, sentences
from tests.support.proxy import Proxy
from tests.support.servers import Databases

SPEC = FleetSpec(vessels=3, equipment=8, nasty=0.2, least=1, unknown_enums=True, seed=9)

# What the short form is about: not each trap.
FEW = FleetSpec(vessels=4, equipment=8, nasty=0.5, least=0, unknown_enums=True, seed=9, companies=2)


@dataclass
class Move:
    """A portal's file, and what an undisturbed lift made of it."""

    source: str
    file: str
    stored: dict[str, list[tuple[object, ...]]]
    rows: dict[str, bytes]
    keys: list[str]


async def moved(fleets: Fleets, databases: Databases, folder: Path, spec: FleetSpec) -> Move:
    """Lifts a migrated portal once."""
    origin = await fleets(spec, fresh=True)
    await canaries.plant(origin.url)
    file = await with_rows(folder / "portal.db", databases("maintenance"), origin, replace(spec, least=1))
    settings = Settings(source=origin.url, target=file, on_error="quarantine", continue_on_error=True)
    await migrate(settings, Selection(all=True))
    target, there = databases("maintenance"), stored(file)
    async with Proxy(target) as proxy:
        ended = await run(origin.url, target, "lift", file, proxy.url)
    assert ended.status == 0, sentences([ended])
    keys = list(dict.fromkeys(s.key for s in proxy.statements if s.key))
    return Move(origin.url, file, there, await dump(target, schema="public"), keys)


async def killed(move: Move, target: str, when: str, key: str) -> None:
    """Kills a lift at the first statement with this key; there is nothing in the portal, or all of it."""
    async with Proxy(target) as proxy:
        hold = proxy.before(key) if when == "before" else proxy.after(key)
        async with program(move.source, target, "lift", move.file, proxy.url) as started:
            await hold.reached()
            await started.kill()
    assert await left_behind(target) == []
    assert stored(move.file) == move.stored
    if (when, key) != ("after", move.keys[-1]):
        assert not any((await read_rows(target)).values()), key


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_lift_that_is_killed_step_by_step_has_moved_nothing_and_then_moves_all(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    move = await moved(fleets, databases, tmp_path, FEW)
    target = databases("maintenance")
    within = [key for key in move.keys if key.startswith("COPY ")]
    chosen = [*within[:: max(1, len(within) // 5)], move.keys[-1]]
    for n, key in enumerate(chosen):
        await killed(move, target, "before" if n % 2 or key == move.keys[-1] else "after", key)
    ended = await run(move.source, target, "lift", move.file, target)
    assert ended.status == 0, sentences([ended])
    assert apart(move.rows, await dump(target, schema="public")) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_killed_at_each_of_its_statements_a_lift_is_repeatable(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    move = await moved(fleets, databases, tmp_path, SPEC)
    for key in move.keys:
        for when in ("before", "after"):
            if (when, key) == ("after", move.keys[-1]):
                continue  # it is done
            target = databases("maintenance")
            await killed(move, target, when, key)
            ended = await run(move.source, target, "lift", move.file, target)
            assert ended.status == 0, sentences([ended])
            assert apart(move.rows, await dump(target, schema="public")) == [], (key, when)
