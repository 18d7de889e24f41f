"""A whole fleet: `bulkmig migrate --all` against the hand-written psql pipe of the same target rows.

    python -m benchmarks.migrate_vs_pipe [--vessels 100] [--equipment 1000] [--repeat 5]
        [--set] [--verify] [--floor]

Every contender runs in a fresh process on a fresh target, in turns, in alternating order; the ratio is taken
pair by pair. Both targets are compared once: the contenders must have written the same rows.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import figures
from benchmarks.ends import SETTINGS, Ends, contents, ends
from bulkmig.cli.measure import Cost, run
from bulkmig.embedded import installs
from bulkmig.generate import FleetSpec

PIPE, MIGRATE, SET, VERIFY = "pipe", "bulkmig", "bulkmig --fk-check set", "bulkmig verify"
FLOORS = {
    "target alone, 1 connection": [],
    "target alone, 2 connections": ["--connections", "2"],
    "target alone, 2 connections, triggers off": ["--connections", "2", "--fk-off"],
}
Costs = dict[str, list[Cost]]


class Contest:
    """The contenders on one pair of servers; `written`: what each wrote, as `ends.contents` tells it."""

    def __init__(self, ends: Ends, options: argparse.Namespace) -> None:
        self.ends, self.options = ends, options
        self.written: dict[str, dict[str, tuple[int, str]]] = {}

    def turns(self) -> list[Callable[[Costs], None]]:
        """What one repetition consists of."""
        found: list[Callable[[Costs], None]] = [self._pipe, self._migrate]
        return [*found, self._set] if self.options.set else found

    def _pipe(self, costs: Costs) -> None:
        with self.ends.fresh_target() as target:
            program = [sys.executable, "-m", "benchmarks.pipe", self.ends.source_url, target]
            costs[PIPE].append(self._measured([*program, "--psql", self.ends.psql]))
            self._note(PIPE, target)

    def _migrate(self, costs: Costs) -> None:
        with self.ends.fresh_target() as target:
            costs[MIGRATE].append(self._bulkmig("migrate", target, "--no-verify"))
            self._note(MIGRATE, target)
            if self.options.verify:
                self.ends.settle()
                costs[VERIFY].append(self._bulkmig("verify", target))
            for name, arguments in FLOORS.items() if self.options.floor else ():
                with self.ends.fresh_target() as empty:
                    cost = self._measured(
                        [sys.executable, "-m", "benchmarks.floor", target, empty, *arguments]
                    )
                cost.wall = cost.document["seconds"]
                costs[name].append(cost)

    def _set(self, costs: Costs) -> None:
        with self.ends.fresh_target() as target:
            costs[SET].append(self._bulkmig("migrate", target, "--no-verify", "--fk-check", "set"))
            self._note(SET, target)

    def _bulkmig(self, verb: str, target: str, *arguments: str) -> Cost:
        addresses = ("--source", self.ends.source_url, "--target", target)
        extra = self.options.bulkmig.split()
        return self._measured(
            [sys.executable, "-m", "bulkmig", verb, "--all", "--json", *addresses, *arguments, *extra]
        )

    def _measured(self, program: list[str]) -> Cost:
        return run(program, self.ends.processes())

    def _note(self, name: str, target: str) -> None:
        if name not in self.written:
            self.written[name] = contents(target)

    def differences(self) -> list[str]:
        """Tables that the contenders did not write alike."""
        expected = self.written[PIPE]
        return [
            f"{table}: {name} {found.get(table)}, {PIPE} {expected[table]}"
            for name, found in self.written.items()
            for table in expected
            if found.get(table) != expected[table]
        ]

    @property
    def rows(self) -> int:
        """Rows of the target."""
        return sum(rows for rows, _ in self.written[PIPE].values())


def compete(contest: Contest, *, repeat: int, warm_up: int) -> Costs:
    """Runs all contenders in turns; returns what each repetition cost after the warm-up."""
    costs: Costs = defaultdict(list)
    for number in range(-warm_up, repeat):
        counted: Costs = costs if number >= 0 else defaultdict(list)
        turns = contest.turns()
        for turn in turns if number % 2 else reversed(turns):
            turn(counted)
        latest = ", ".join(f"{name} {found[-1].wall:.2f}" for name, found in sorted(counted.items()))
        print(f"{f'{number + 1} of {repeat}' if number >= 0 else 'warm-up'}: {latest} s", flush=True)
    return costs


def ratios(costs: Costs, name: str, against: str) -> list[float]:
    """Wall times of one contender over another's, repetition by repetition."""
    return [one.wall / other.wall for one, other in zip(costs[name], costs[against], strict=True)]


def summary(costs: Costs, rows: int) -> str:
    """The figures as a table of text."""
    lines = [f"{rows:,} target rows; median (least to greatest)"]
    lines += [f"{'':42}{'wall, s':>26}{'own CPU, s':>12}{'servers, s':>18}{'peak, MB':>10}"]
    for name, found in costs.items():
        cpu = median([cost.cpu for cost in found])
        peak = median([cost.peak / 1e6 for cost in found])
        servers = " + ".join(
            f"{median([cost.servers[end] for cost in found]):.1f}" for end in ("source", "target")
        )
        lines.append(
            f"{name:42}{figures.shown([c.wall for c in found]):>26}{cpu:>12.2f}{servers:>18}{peak:>10.0f}"
        )
    for name in (MIGRATE, SET):
        if name in costs:
            own = [cost.cpu / rows * 1e6 for cost in costs[name]]
            lines.append(f"{name} over {PIPE}: {figures.shown(ratios(costs, name, PIPE))}")
            lines.append(f"{name}, its own CPU per million target rows: {figures.shown(own)} s")
            phases = {key: [c.document["phases"][key] for c in costs[name]] for key in _PHASES}
            shown = ", ".join(f"{key} {median(values):.1f}" for key, values in phases.items())
            lines.append(f"{name}, busy seconds of all workers by phase: {shown}")
    if VERIFY in costs:
        lines.append(f"{VERIFY} over {MIGRATE}: {figures.shown(ratios(costs, VERIFY, MIGRATE))}")
    return "\n".join(lines)


_PHASES = ("extract", "validate", "transform", "load")


def document(costs: Costs, contest: Contest, spec: FleetSpec) -> dict[str, Any]:
    """All of it as JSON."""
    found = {name: [asdict(cost) for cost in of] for name, of in costs.items()}
    rows, mine = contest.rows, [name for name in (MIGRATE, SET) if name in costs]
    per_million = {n: figures.spread([cost.cpu / rows * 1e6 for cost in costs[n]]) for n in mine}
    phases = {
        n: {key: figures.spread([c.document["phases"][key] for c in costs[n]]) for key in _PHASES}
        for n in mine
    }
    return {
        "environment": figures.environment(contest.ends.target.install.release),
        "settings": SETTINGS,
        "options": contest.options.bulkmig,
        "fleet": asdict(spec),
        "rows": {table: rows for table, (rows, _) in contest.written[PIPE].items()},
        "wall": {name: figures.spread([cost.wall for cost in of]) for name, of in costs.items()},
        "ratio": {n: figures.spread(ratios(costs, n, PIPE)) for n in mine},
        "verify_ratio": figures.spread(ratios(costs, VERIFY, MIGRATE)) if VERIFY in costs else None,
        "cpu_seconds_per_million_rows": per_million,
        "phases": phases,
        "repetitions": found,
    }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="bulkmig migrate against a hand-written psql pipe")
    parser.add_argument("--vessels", type=int, default=100)
    parser.add_argument(
        "--equipment", type=int, default=1000, help="per vessel, each with 3 parts, 2 documents"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="repetitions that do not count (default 1)")
    parser.add_argument("--set", action="store_true", help="also with --fk-check set")
    parser.add_argument("--verify", action="store_true", help="also verify --all")
    parser.add_argument("--floor", action="store_true", help="also the target alone, fed from memory")
    parser.add_argument("--bulkmig", default="", metavar="OPTIONS", help="further options of bulkmig")
    parser.add_argument("--postgres", type=int, metavar="MAJOR", help="default: the newest installed")
    parser.add_argument("--directory", type=Path, help="keeps the generated fleet there for the next time")
    parser.add_argument("--date", default="", help="of the result (default: today)")
    parser.add_argument("--name", default="migrate_vs_pipe", help="of the result in results/")
    return parser.parse_args()


def main() -> int:
    chosen = options()
    spec = FleetSpec(
        seed=chosen.seed,
        vessels=chosen.vessels,
        equipment=chosen.equipment,
        exact=True,
        parts=3,
        documents=2,
    )
    install = next((one for one in installs() if chosen.postgres in (None, one.version)), None)
    with ends(spec, install=install, directory=chosen.directory) as both:
        contest = Contest(both, chosen)
        costs = compete(contest, repeat=chosen.repeat, warm_up=chosen.warm_up)
        differences = contest.differences()
        print(summary(costs, contest.rows))
        print(f"written to {figures.write(chosen.name, chosen.date, document(costs, contest, spec))}")
    print("\n".join(differences) or "every contender wrote the same rows, cell by cell")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
