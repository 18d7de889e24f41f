"""A portal on SQLite: the fleet into a file against the hand-written pipe into PostgreSQL, and `bulkmig lift`
of that file against pgloader.

    python -m benchmarks.files [--vessels 100] [--equipment 1000] [--repeat 3]

Every contender runs in a fresh process on a fresh target, in turns; ratios are taken repetition by
repetition. *File alone* is the floor: the finished rows from memory by `executemany` in one transaction, in
order of their keys, keys and indexes of the contract in place, nothing else done. pgloader runs where it is
installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import asyncpg

from benchmarks import figures
from benchmarks.ends import SETTINGS, Ends, contents, ends
from benchmarks.migrate_vs_pipe import PIPE, Costs, ratios, summary
from bulkmig import schemas
from bulkmig.cli.measure import Cost, run
from bulkmig.embedded import installs
from bulkmig.generate import FleetSpec

MIGRATE, ALONE, LIFT, PGLOADER = "bulkmig into a file", "file alone", "bulkmig lift", "pgloader"
LIFT_SET = "bulkmig lift --fk-check set"
# pgloader would copy bulkmig's own tables as well; these are the portal's, as it makes them of a file.
LEAVES_OUT = (
    "foreign keys (it can't read those that name no column); UUIDs (ids stay bigint); the contract's types"
    " (jsonb, uuid, numeric, date, boolean, varchar), checks and defaults; the ledger; the comparison cell by"
    " cell; one transaction for all of it"
)
_LOADED = """load database from sqlite://{file} into {target}
 with include drop, create tables, create indexes, no foreign keys
 excluding table names like 'bulkmig_%';
"""


class Contest:
    """The contenders on one pair of servers and files of one directory."""

    def __init__(self, both: Ends, directory: Path) -> None:
        self.ends, self.directory = both, directory
        self.migrated = directory / "migrated.db"
        self.rows: dict[str, int] = {}
        self.wrong: list[str] = []

    def turns(self, *, pgloader: bool) -> list[Callable[[Costs], None]]:
        """What one repetition consists of; the file is migrated before it is lifted."""
        lifts = [partial(self._lift, LIFT, ()), partial(self._lift, LIFT_SET, ("--fk-check", "set"))]
        found: list[Callable[[Costs], None]] = [self._pipe, self._migrate, self._alone, *lifts]
        return [*found, self._pgloader] if pgloader else found

    def _pipe(self, costs: Costs) -> None:
        with self.ends.fresh_target() as target:
            program = [sys.executable, "-m", "benchmarks.pipe", self.ends.source_url, target]
            costs[PIPE].append(self._measured([*program, "--psql", self.ends.psql]))
            if not self.rows:
                self.rows = {table: rows for table, (rows, _) in contents(target).items()}

    def _migrate(self, costs: Costs) -> None:
        empty(self.migrated)
        costs[MIGRATE].append(
            self._bulkmig("migrate", "--all", "--no-verify", "--target", url(self.migrated))
        )
        self._same(MIGRATE, counted(self.migrated))

    def _alone(self, costs: Costs) -> None:
        fresh = self.directory / "alone.db"
        empty(fresh)
        cost = self._measured(
            [sys.executable, "-m", "benchmarks.files", "--alone", str(self.migrated), str(fresh)]
        )
        cost.wall, cost.cpu = cost.document["seconds"], cost.document["cpu"]
        costs[ALONE].append(cost)

    def _lift(self, name: str, options: Sequence[str], costs: Costs) -> None:
        with self.ends.fresh_target() as target:
            costs[name].append(self._bulkmig("lift", url(self.migrated), target, *options))
            self._same(name, {table: rows for table, (rows, _) in contents(target).items()})

    def _pgloader(self, costs: Costs) -> None:
        with self.ends.fresh_target(None) as target:
            command = self.directory / "load"
            command.write_text(
                _LOADED.format(file=self.migrated, target=target.replace("postgresql:", "pgsql:"))
            )
            # Its status is 0 whatever happened.
            said = 'pgloader "$0" > "$0.said" 2>&1; if grep -q "ERROR\\|FATAL" "$0.said"; then'
            script = f'{said} cat "$0.said" >&2; exit 1; fi'
            costs[PGLOADER].append(self._measured(["sh", "-c", script, str(command)]))
            self._same(PGLOADER, anyio.run(_counted, target, list(self.rows)))

    def _bulkmig(self, verb: str, *arguments: str) -> Cost:
        source = ["--source", self.ends.source_url] if verb == "migrate" else []
        return self._measured([sys.executable, "-m", "bulkmig", verb, "--json", *source, *arguments])

    def _measured(self, program: list[str]) -> Cost:
        return run(program, self.ends.processes())

    def _same(self, name: str, found: dict[str, int]) -> None:
        if found != self.rows:
            self.wrong.append(f"{name}: {found}, {PIPE}: {self.rows}")


def url(path: Path) -> str:
    """A file's address."""
    return f"sqlite:///{path}"


def empty(path: Path) -> None:
    """A portal without rows, in WAL mode, instead of what is there."""
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(schemas.read("maintenance.sqlite.sql"))
    connection.close()


def counted(path: Path) -> dict[str, int]:
    """The portal's tables with their rows."""
    connection = sqlite3.connect(path)
    found = {
        name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in _tables(connection)
    }
    connection.close()
    return found


def _tables(connection: sqlite3.Connection) -> list[str]:
    """The portal's tables, parents first."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
    return [name for (name,) in rows if not name.startswith(("bulkmig_", "sqlite_"))]


async def _counted(target: str, tables: list[str]) -> dict[str, int]:
    connection = await asyncpg.connect(target)
    found = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    await connection.close()
    return found


def alone(finished: Path, fresh: Path) -> dict[str, float]:
    """Writes the rows of a finished file into an empty one; seconds of wall time and CPU."""
    old = sqlite3.connect(finished)
    made = [(table, old.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()) for table in _tables(old)]
    old.close()
    new = sqlite3.connect(fresh, isolation_level=None)
    for setting in ("foreign_keys = ON", "synchronous = NORMAL", "cache_size = -65536"):
        new.execute(f"PRAGMA {setting}")
    started, used = time.perf_counter(), time.process_time()
    new.execute("BEGIN IMMEDIATE")
    for table, rows in made:
        if rows:
            new.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    new.execute("COMMIT")
    new.execute("PRAGMA wal_checkpoint")
    found = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - used}
    new.close()
    return found


def document(costs: Costs, contest: Contest, spec: FleetSpec) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        "environment": {
            **figures.environment(contest.ends.target.install.release),
            "sqlite": sqlite3.sqlite_version,
        },
        "settings": SETTINGS,
        "fleet": asdict(spec),
        "rows": contest.rows,
        "wall": {name: figures.spread([cost.wall for cost in of]) for name, of in costs.items()},
        "cpu": {name: figures.spread([cost.cpu for cost in of]) for name, of in costs.items()},
        "ratio": {f"{a} / {b}": figures.spread(ratios(costs, a, b)) for a, b in pairs(costs)},
        "pgloader_leaves_out": LEAVES_OUT,
        "repetitions": {name: [asdict(cost) for cost in of] for name, of in costs.items()},
    }


def pairs(costs: Costs) -> list[tuple[str, str]]:
    """Who is compared with whom."""
    wanted = [(MIGRATE, PIPE), (ALONE, PIPE), (MIGRATE, ALONE), (LIFT, PGLOADER), (LIFT_SET, PGLOADER)]
    return [(one, other) for one, other in wanted if one in costs and other in costs]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="a portal on SQLite against the pipe and pgloader")
    parser.add_argument("--vessels", type=int, default=100)
    parser.add_argument("--equipment", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="keeps the generated fleet there for the next time")
    parser.add_argument("--date", default="", help="of the result (default: today)")
    parser.add_argument("--alone", type=Path, nargs=2, metavar="FILE", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    chosen = options()
    if chosen.alone:
        print(json.dumps(alone(*chosen.alone)))
        return 0
    spec = FleetSpec(
        seed=chosen.seed, vessels=chosen.vessels, equipment=chosen.equipment, exact=True, parts=3, documents=2
    )
    install = next(iter(installs()), None)
    costs: Costs = defaultdict(list)
    with ends(spec, install=install, directory=chosen.directory) as both, TemporaryDirectory() as directory:
        contest = Contest(both, Path(directory))
        for number in range(chosen.repeat):
            for turn in contest.turns(pgloader=shutil.which("pgloader") is not None):
                turn(costs)
            latest = ", ".join(f"{name} {found[-1].wall:.2f}" for name, found in costs.items())
            print(f"{number + 1} of {chosen.repeat}: {latest} s", flush=True)
        print(summary(costs, sum(contest.rows.values())))
        for one, other in pairs(costs):
            print(f"{one} over {other}: {figures.shown(ratios(costs, one, other))}")
        if PGLOADER in costs:
            print(f"pgloader leaves out: {LEAVES_OUT}")
        print(f"written to {figures.write('files', chosen.date, document(costs, contest, spec))}")
    print("\n".join(contest.wrong) or "every contender wrote as many rows")
    return 1 if contest.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
