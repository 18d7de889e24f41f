"""Peers on the same rows: they copy without transforming, bulkmig transforms, validates and records.

    python -m benchmarks.peers [--vessels 20] [--equipment 1000] [--repeat 3]

The row-by-row asyncpg program always runs. pgcopydb runs where it is installed; how the installation of a
peer that is not there fails is kept with the results. Rates are *source* rows per second: what a peer
writes is what it reads, while bulkmig writes two target rows for each.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import figures
from benchmarks.ends import SETTINGS, Ends, ends
from bulkmig import schemas
from bulkmig.cli.measure import Cost, run
from bulkmig.embedded import installs
from bulkmig.generate import FleetSpec

#: Peer -> (how its installation is tried, what it leaves out).
PEERS = {
    "pgcopydb": (
        ["apt-get", "install", "--yes", "pgcopydb"],
        "transform, validation, ledger; copies in parallel",
    ),
    "pgloader": (["apt-get", "install", "--yes", "pgloader"], "transform, validation, ledger, exact numbers"),
    "dlt": (
        [sys.executable, "-m", "pip", "install", "dlt[postgres]"],
        "keys, types, transform, one transaction",
    ),
}
ROW_BY_ROW = "asyncpg, row by row"


def installation(name: str) -> dict[str, Any]:
    """Whether a peer is installed, and if not, what its installation says. Nothing is changed: apt and pip
    only simulate."""
    command, without = PEERS[name]
    if shutil.which(name):
        return {"installed": True, "leaves_out": without}
    simulated = [*command, "--dry-run"]
    try:
        tried = subprocess.run(simulated, capture_output=True, text=True, timeout=120, check=False)
        if tried.returncode == 0:
            return {"installed": False, "leaves_out": without, "installable": True}
        said = f"status {tried.returncode}: {(tried.stdout + tried.stderr)[-1500:]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    return {"installed": False, "leaves_out": without, "command": " ".join(simulated), "output": said}


def compete(both: Ends, repeat: int) -> tuple[dict[str, list[Cost]], int]:
    """What each contender costs in turns, and how many source rows there are."""
    costs: dict[str, list[Cost]] = {"bulkmig": [], ROW_BY_ROW: []}
    pgcopydb = shutil.which("pgcopydb")
    if pgcopydb:
        costs["pgcopydb"] = []
    both.target.create_database("onboarding_template")
    both.target.execute(schemas.read("onboarding.sql"), "onboarding_template")
    rows = 0
    for number in range(repeat):
        with both.fresh_target() as target:
            command = [sys.executable, "-m", "bulkmig", "migrate", "--all", "--json", "--no-verify"]
            addresses = ["--source", both.source_url, "--target", target]
            costs["bulkmig"].append(run([*command, *addresses], both.processes()))
        with both.fresh_target("onboarding_template") as target:
            program = [sys.executable, "-m", "benchmarks.row_by_row", both.source_url, target]
            costs[ROW_BY_ROW].append(run(program, both.processes()))
            rows = costs[ROW_BY_ROW][-1].document["rows"]
        if pgcopydb:
            with both.fresh_target(None) as target:
                program = [pgcopydb, "clone", "--source", both.source_url, "--target", target]
                costs["pgcopydb"].append(run(program, both.processes()))
        print(f"{number + 1} of {repeat}: {', '.join(f'{n} {c[-1].wall:.2f}' for n, c in costs.items())} s")
    return costs, rows


def main() -> int:
    parser = argparse.ArgumentParser(description="bulkmig against peers on the same rows")
    parser.add_argument("--vessels", type=int, default=20)
    parser.add_argument("--equipment", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="keeps the generated fleet there for the next time")
    parser.add_argument("--date", default="", help="of the result (default: today)")
    chosen = parser.parse_args()
    spec = FleetSpec(
        seed=chosen.seed, vessels=chosen.vessels, equipment=chosen.equipment, exact=True, parts=3, documents=2
    )
    with ends(spec, install=next(iter(installs()), None), directory=chosen.directory) as both:
        costs, rows = compete(both, chosen.repeat)
        rates = {name: rows / median([cost.wall for cost in found]) for name, found in costs.items()}
        document = {
            "environment": figures.environment(both.target.install.release),
            "settings": SETTINGS,
            "fleet": asdict(spec),
            "source_rows": rows,
            "source_rows_per_second": rates,
            "peers": {name: installation(name) for name in PEERS},
            "repetitions": {name: [asdict(cost) for cost in found] for name, found in costs.items()},
        }
    for name, rate in rates.items():
        print(f"{name:24} {rate:>10,.0f} source rows a second, own CPU {costs[name][-1].cpu:.1f} s")
    print(f"written to {figures.write('peers', chosen.date, document)}")
    return 0 if all(rates["bulkmig"] >= rate for rate in rates.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
