"""Peers on the same rows: they copy without transforming, bulkmig transforms, validates and records.

    python -m benchmarks.peers [--vessels 20] [--equipment 1000] [--repeat 3] [--dlt PYTHON]

The row-by-row asyncpg program always runs; pgcopydb and pgloader run where they are installed, dlt in an
environment that pip makes for it, or in the one named. What a peer that can't be installed or run says is
kept with the results. Rates are *source* rows per second: what a peer writes is what it reads, while bulkmig
writes two target rows for each.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from benchmarks import figures
from benchmarks.ends import SETTINGS, Ends, ends
from bulkmig import schemas
from bulkmig.cli.measure import Cost, run
from bulkmig.embedded import installs
from bulkmig.generate import FleetSpec

_HERE = Path(__file__).parent
_LONG = 60  # seconds: a contender that has run so long is not repeated
_EMPTY, _SCHEMA = "empty", "onboarding_template"


@dataclass
class Contender:
    """A program. `template`: what its target is a copy of; `command`: source, target and a directory of its
    own to the program; `equipment`: the table that the source's equipment must be in afterwards; `keeps`:
    keys and types; `failed`: what it said instead."""

    name: str
    leaves_out: str
    template: str
    command: Callable[[str, str, Path], list[str]]
    equipment: str = "equipment"
    keeps: bool = True
    failed: str = ""
    costs: list[Cost] = field(default_factory=list)

    def measure(self, both: Ends, directory: Path) -> None:
        """Runs it once, unless it has failed or was long at it."""
        if self.failed or sum(cost.wall for cost in self.costs) > _LONG:
            return
        bindir = str(both.target.install.bindir)  # pg_dump must be as new as the servers
        environment = {
            **os.environ,
            "PATH": f"{bindir}{os.pathsep}{os.environ['PATH']}",
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "RUNTIME__LOG_LEVEL": "ERROR",
        }
        with both.fresh_target(self.template) as target, TemporaryDirectory(dir=directory) as own:
            command = self.command(both.source_url, target, Path(own))
            try:
                cost = run(command, both.processes(), environment=environment)
                _same_number(both.source_url, target, self.equipment)
                self.costs.append(cost)
            except (RuntimeError, OSError) as error:
                self.failed = str(error)[-3000:]


def _same_number(source: str, target: str, equipment: str) -> None:
    """Raises RuntimeError where not all equipment arrived: not every program that fails says so."""

    async def count(url: str, table: str) -> int:
        connection = await asyncpg.connect(url)
        try:
            return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
        except asyncpg.UndefinedTableError:
            return 0
        finally:
            await connection.close()

    wanted, found = asyncio.run(count(source, "equipment")), asyncio.run(count(target, equipment))
    if found != wanted:
        raise RuntimeError(f"{found} of {wanted} equipment arrived")


def _bulkmig(source: str, target: str, directory: Path) -> list[str]:
    command = [sys.executable, "-m", "bulkmig", "migrate", "--all", "--json", "--no-verify"]
    return [*command, "--source", source, "--target", target]


def _row_by_row(source: str, target: str, directory: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.row_by_row", source, target]


def _pgcopydb(source: str, target: str, directory: Path) -> list[str]:
    return ["pgcopydb", "clone", "--source", source, "--target", target, "--dir", str(directory / "work")]


def _pgloader(source: str, target: str, directory: Path) -> list[str]:
    # Its status is 0 whatever happened.
    script = 'pgloader "$0" "$1" > "$2" 2>&1; if grep -q "ERROR\\|FATAL" "$2"; then cat "$2" >&2; exit 1; fi'
    return ["sh", "-c", script, source, target, str(directory / "said")]


def contenders(python: Path | None, directory: Path) -> list[Contender]:
    """bulkmig, and the peers. What can't be installed has failed already."""
    found = [
        Contender("bulkmig", "", "maintenance", _bulkmig),
        Contender("asyncpg, row by row", "transform, validation, ledger", _SCHEMA, _row_by_row),
        Contender("pgcopydb", "transform, validation, ledger; one transaction a vessel", _EMPTY, _pgcopydb),
        Contender("pgloader", "transform, validation, ledger; one transaction a vessel", _EMPTY, _pgloader),
    ]
    for one in found[2:]:
        if shutil.which(one.name) is None:
            one.failed = _said(["apt-get", "install", "--yes", "--dry-run", one.name])
    failed = "" if python is not None else _install_dlt(directory / "dlt")
    program = [str(python or directory / "dlt" / "bin" / "python"), str(_HERE / "dlt_copy.py")]
    dlt = Contender(
        "dlt",
        "transform, validation, ledger; keys, foreign keys, uuid and enum types; one transaction a vessel",
        _EMPTY,
        lambda source, target, own: [*program, source, target, str(own)],
        equipment="copied.equipment",
        keeps=False,
        failed=failed,
    )
    return [*found, dlt]


def _install_dlt(where: Path) -> str:
    """Makes an environment with dlt; returns what went wrong."""
    venv.create(where, with_pip=True)
    pip = [str(where / "bin" / "python"), "-m", "pip", "install", "--quiet", "dlt[postgres]", "sqlalchemy"]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=600, check=False)
    return "" if done.returncode == 0 else f"{' '.join(pip[3:])}\n{(done.stdout + done.stderr)[-3000:]}"


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        said = f"status {done.returncode}\n{(done.stdout + done.stderr)[-1500:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    return f"{' '.join(command)}\n{said}"


def document(both: Ends, spec: FleetSpec, contest: list[Contender], rows: int) -> dict[str, Any]:
    """All of it as JSON."""
    ran = [one for one in contest if one.costs]
    return {
        "environment": figures.environment(both.target.install.release),
        "settings": SETTINGS,
        "fleet": asdict(spec),
        "source_rows": rows,
        "source_rows_per_second": {one.name: rows / median([c.wall for c in one.costs]) for one in ran},
        "peers": {
            one.name: {"leaves_out": one.leaves_out, "keeps_keys_and_types": one.keeps, "failed": one.failed}
            for one in contest[1:]
        },
        "repetitions": {one.name: [asdict(cost) for cost in one.costs] for one in ran},
    }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="bulkmig against peers on the same rows")
    parser.add_argument("--vessels", type=int, default=20)
    parser.add_argument("--equipment", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dlt", type=Path, metavar="PYTHON", help="of an environment that has dlt")
    parser.add_argument("--directory", type=Path, help="keeps the generated fleet there for the next time")
    parser.add_argument("--date", default="", help="of the result (default: today)")
    return parser.parse_args()


def main() -> int:
    chosen = options()
    spec = FleetSpec(
        seed=chosen.seed, vessels=chosen.vessels, equipment=chosen.equipment, exact=True, parts=3, documents=2
    )
    install = next(iter(installs()), None)
    with ends(spec, install=install, directory=chosen.directory) as both, TemporaryDirectory() as directory:
        contest = contenders(chosen.dlt, Path(directory))
        both.target.create_database(_EMPTY)
        both.target.create_database(_SCHEMA)
        both.target.execute(schemas.read("onboarding.sql"), _SCHEMA)
        for number in range(chosen.repeat):
            for one in contest if number % 2 else reversed(contest):
                one.measure(both, Path(directory))
            latest = ", ".join(f"{one.name} {one.costs[-1].wall:.2f}" for one in contest if one.costs)
            print(f"{number + 1} of {chosen.repeat}: {latest} s", flush=True)
        rows = next(one for one in contest if one.name.startswith("asyncpg")).costs[-1].document["rows"]
        found = document(both, spec, contest, rows)
    rates = found["source_rows_per_second"]
    for one in contest:
        if one.costs:
            cpu = median([cost.cpu for cost in one.costs])
            print(f"{one.name:24} {rates[one.name]:>10,.0f} source rows a second, own CPU {cpu:.1f} s")
        else:
            print(f"{one.name:24} did not run: {one.failed.strip().splitlines()[-1][:120]}")
    print(f"written to {figures.write('peers', chosen.date, found)}")
    behind = [one for one in contest if one.costs and one.keeps and rates[one.name] > rates["bulkmig"]]
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
