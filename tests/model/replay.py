"""Takes the steps of a sequence that disagreed again, and looks for fewer that disagree in the same way.

    python -m tests.model.replay .model/7.json               what was done, and the difference
    python -m tests.model.replay .model/7.json --smallest    writes .model/7.small.json first
    python -m tests.model.replay .model/7.small.json --until 3 --ask "SELECT …"

`--ask` queries the target after the last step, `--ask-source` the source. BULKMIG_TARGET=sqlite takes them on
a file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from tests.model.databases import Databases
from tests.model.rules import Hits
from tests.model.run import ON_SQLITE
from tests.model.sequence import Story, Taken
from tests.model.session import Disagreement
from tests.support import lane
from tests.support.servers import EmbeddedServers

_VALUES = re.compile(r"'[^']*'|[0-9a-f-]{36}|\d+")


def kind(told: str) -> str:
    """What sort of disagreement a text tells of: its first line without ids and values."""
    return _VALUES.sub("*", next((line for line in told.splitlines() if line.strip()), ""))[:60]


class Replay:
    """Sequences on databases of their own. `queries`: of the target and of the source, asked at the end."""

    def __init__(self, databases: Databases, queries: Sequence[tuple[str, str]] = ()) -> None:
        self._databases, self._queries = databases, queries

    async def __call__(self, steps: Iterable[Taken]) -> str:
        """Takes these steps; returns the disagreement or error that one ended in, else nothing."""
        story, told = Story(self._databases, Hits()), ""
        try:
            for name, values in steps:
                await story.take(name, **values)
        except Disagreement as found:
            told = str(found)
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        if self._queries:
            sys.stdout.write("\n".join(story.session.log) + "\n")
            for database, query in self._queries:
                rows = await getattr(story.session.mirror, database).fetch(query)
                sys.stdout.write(f"-- {query}\n" + "".join(f"{dict(row)}\n" for row in rows))
        await story.end()
        return told

    async def smallest(self, steps: list[Taken]) -> list[Taken]:
        """The least of these steps, and of what people do in them, that disagree as all of them do."""
        wanted = kind(await self(steps))
        if not wanted:
            raise SystemExit("these steps don't disagree")

        units = [*_apart(steps)]
        size = len(units)
        while size > 0:
            before = len(units)
            for place in range(len(units) - size, 0, -size):  # the first step begins, and stays
                fewer = units[:place] + units[place + size :]
                if kind(await self(_joined(fewer))) == wanted:
                    units = fewer
            if len(units) == before or size > 1:
                size //= 2
        return _joined(units)


def _apart(steps: Iterable[Taken]) -> Iterator[Taken]:
    """What people do, each as a step of its own."""
    for name, values in steps:
        yield from (("people", {"actions": [action]}) for action in values.get("actions", ()))
        if name != "people":
            yield name, {**values, "actions": []} if "actions" in values else values


def _joined(units: Iterable[Taken]) -> list[Taken]:
    """Neighbours that are of people alone as one step."""
    steps: list[Taken] = []
    for name, values in units:
        if name == "people" and steps and steps[-1][0] == "people":
            values = {"actions": [*steps.pop()[1]["actions"], *values["actions"]]}
        steps.append((name, values))
    return steps


async def _main(asked: argparse.Namespace) -> int:
    steps: list[Taken] = json.loads(asked.file.read_text())["steps"]
    queries = [("target", one) for one in asked.ask] + [("source", one) for one in asked.ask_source]
    with EmbeddedServers() as servers:
        databases = Databases(servers)
        if asked.smallest:
            steps = await Replay(databases).smallest(steps)
            asked.file.with_suffix(".small.json").write_text(json.dumps({"steps": steps}))
        steps = steps[: asked.until]
        told = await Replay(databases, queries)(steps)
    for number, (name, values) in enumerate(steps):
        some: dict[str, Any] = {key: value for key, value in values.items() if key != "actions"}
        sys.stdout.write(f"{number} {name} {some}\n")
        for action in values.get("actions", ()):
            sys.stdout.write(f"      {action}\n")
    sys.stdout.write(f"{told or 'no disagreement'}\n")
    return 1 if told else 0


def main() -> int:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.model.replay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="a shard's result, or what --smallest wrote")
    parser.add_argument("--smallest", action="store_true")
    parser.add_argument("--until", type=int, metavar="N", help="take the first N steps only")
    parser.add_argument("--ask", action="append", default=[], metavar="SQL")
    parser.add_argument("--ask-source", action="append", default=[], metavar="SQL")
    if ON_SQLITE:
        lane.begin()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        return loop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
