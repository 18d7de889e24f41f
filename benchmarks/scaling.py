"""What a vessel costs in small and in large fleets, in how much memory; and single vessels.

    python -m benchmarks.scaling [--fleets 20,200,2000] [--equipment 50] [--large 1000000] [--repeat 5]

Each run is a fresh process with `--memory 256MB` on a fresh target. The single vessels have the strategy's
sizes and are verified. `--large N` adds one vessel of N equipment against N / 1,000 vessels of 1,000, in rows
a second.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks import figures
from benchmarks.ends import SETTINGS, Ends, ends
from bulkmig.cli.measure import Cost, run
from bulkmig.embedded import installs
from bulkmig.generate import FleetSpec

#: Equipment of one vessel -> seconds that the whole process may take, verified.
WHOLE = {500: 1.0, 1500: 1.3, 5000: 2.5}


def spec_of(vessels: int, equipment: int, seed: int) -> FleetSpec:
    return FleetSpec(seed=seed, vessels=vessels, equipment=equipment, exact=True, parts=3, documents=2)


def migrate(both: Ends, *arguments: str) -> Cost:
    """A migration in a process of its own."""
    with both.fresh_target() as target:
        command = [sys.executable, "-m", "bulkmig", "migrate", "--all", "--json", "--memory", "256MB"]
        addresses = ["--source", both.source_url, "--target", target]
        return run([*command, *addresses, *arguments], both.processes())


def repeated(vessels: int, equipment: int, chosen: argparse.Namespace, *arguments: str) -> dict[str, Any]:
    """One fleet, so many times after one that doesn't count."""
    install = next(iter(installs()), None)
    with ends(spec_of(vessels, equipment, chosen.seed), install=install, directory=None) as both:
        costs = [migrate(both, *arguments) for _ in range(chosen.repeat + 1)][1:]
    rows = sum(n for of in costs[0].document["rows"].values() for n in of.values())
    walls = [cost.wall for cost in costs]
    found = {
        "vessels": vessels,
        "equipment": equipment,
        "rows": rows,
        "wall": figures.spread(walls),
        "cpu": figures.spread([cost.cpu for cost in costs]),
        "milliseconds_per_vessel": median(walls) / vessels * 1000,
        "rows_per_second": rows / median(walls),
        "cpu_seconds_per_million_rows": median([cost.cpu for cost in costs]) / rows * 1e6,
        "peak_bytes": max(cost.peak for cost in costs),
        "timeline": costs[-1].document["timeline"],
        "repetitions": [asdict(cost) for cost in costs],
    }
    shown = [
        f"{vessels:>6,} of {equipment:<9,} {figures.shown(walls)} s",
        f"{found['milliseconds_per_vessel']:.1f} ms a vessel",
        f"{found['rows_per_second']:,.0f} rows/s",
        f"peak {found['peak_bytes'] / 1e6:.0f} MB",
    ]
    print(", ".join(shown), flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="scaling with the fleet")
    parser.add_argument("--fleets", default="10,20,200,2000", help="vessels of each fleet")
    parser.add_argument("--equipment", type=int, default=50)
    parser.add_argument("--large", type=int, default=0, help="equipment of a large vessel (0: leave out)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--date", default="", help="of the result (default: today)")
    chosen = parser.parse_args()
    fleets = [repeated(int(n), chosen.equipment, chosen, "--no-verify") for n in chosen.fleets.split(",")]
    single = [{**repeated(1, size, chosen), "at_most": limit} for size, limit in WHOLE.items()]
    large = []
    if chosen.large:
        large.append(repeated(1, chosen.large, chosen, "--no-verify"))
        large.append(repeated(max(chosen.large // 1000, 1), 1000, chosen, "--no-verify"))
    document = {
        "environment": figures.environment(next(iter(installs())).release),
        "settings": SETTINGS,
        "fleets": fleets,
        "single": single,
        "large": large,
    }
    print(f"written to {figures.write('scaling', chosen.date, document)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
