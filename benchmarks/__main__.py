"""The fleet against the pipe, scaling and peers, one after the other, then the table of what was to be shown,
and the pictures.

    python -m benchmarks [--quick | --large] [--directory DIR]

The whole takes 10 minutes of a quiet machine, `--large` half an hour more: the vessel of a million equipment
against a thousand of a thousand. `--quick` takes some minutes: small fleets, one repetition. Exit status 1
where a figure is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from benchmarks import figures, pictures

_FLEET = ["--set", "--verify", "--floor"]
FULL = {
    "migrate_vs_pipe": [*_FLEET, "--repeat", "3"],
    "scaling": ["--repeat", "3"],
    "peers": [],
}
LARGE = {**FULL, "scaling": ["--repeat", "1", "--large", "1000000"]}
QUICK = {
    "migrate_vs_pipe": [*_FLEET, "--vessels", "12", "--repeat", "1", "--warm-up", "0"],
    "scaling": ["--fleets", "10,20,100", "--repeat", "1"],
    "peers": ["--vessels", "12", "--repeat", "1"],
}

Row = tuple[str, float, float]


def rows(pipe: dict[str, Any], scaling: dict[str, Any], peers: dict[str, Any]) -> list[Row]:
    """What was to be shown: (what, measured, at most)."""
    cpu = pipe["cpu_seconds_per_million_rows"]["bulkmig"]["median"]
    found = [
        ("migrate / pipe", pipe["ratio"]["bulkmig"]["median"], 0.65),
        ("migrate --fk-check set / pipe", pipe["ratio"]["bulkmig --fk-check set"]["median"], 0.40),
        ("own CPU, s per million target rows", cpu, 2.5),
        ("verify / migrate", pipe["verify_ratio"]["median"], 0.5),
    ]
    found += [
        (f"one vessel of {one['equipment']:,} equipment, s", one["wall"]["median"], one["at_most"])
        for one in scaling["single"]
    ]
    fleets = scaling["fleets"]
    small, large = fleets[min(1, len(fleets) - 1)], fleets[-1]
    each = [one["milliseconds_per_vessel"] for one in (small, large)]
    peaks = [one["peak_bytes"] / 1e6 for one in (*fleets, *scaling["large"])]
    found += [
        (f"a vessel among {large['vessels']:,} / among {small['vessels']:,}", each[1] / each[0], 1.1),
        (f"a vessel of {large['equipment']} among {large['vessels']:,}, ms", each[1], 12.0),
        ("peak memory, MB", max(peaks), 450.0),
    ]
    if scaling["large"]:
        one, many = scaling["large"]
        slower = many["rows_per_second"] / one["rows_per_second"]
        found.append(("rows/s of many vessels / of one as large", slower, 1.25))
    rates = peers["source_rows_per_second"]
    found += [
        (f"{name} / bulkmig, source rows/s", rates[name] / rates["bulkmig"], 1.0)
        for name, peer in peers["peers"].items()
        if name in rates and peer["keeps_keys_and_types"]
    ]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="all benchmarks")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small fleets, one repetition")
    size.add_argument("--large", action="store_true", help="with a vessel of a million equipment")
    parser.add_argument("--directory", type=Path, help="keeps the fleet of the first benchmark there")
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat(), help="of the results")
    chosen = parser.parse_args()
    date = f"{chosen.date}-quick" if chosen.quick else chosen.date
    results = []
    started = time.monotonic()
    for name, arguments in (QUICK if chosen.quick else LARGE if chosen.large else FULL).items():
        print(f"\n{name}, after {time.monotonic() - started:,.0f} s", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments, "--date", date]
        if chosen.directory is not None and name == "migrate_vs_pipe":
            command += ["--directory", str(chosen.directory)]
        # Status 1 means that it ran and something is not as it should be: the table says what.
        if subprocess.run(command, check=False).returncode not in (0, 1):
            return 2
        results.append(orjson.loads((figures.RESULTS / f"{name}-{date}.json").read_bytes()))
    missed = 0
    print(f"\n{'':50}{'measured':>10}{'at most':>10}")
    for what, measured, limit in rows(*results):
        missed += measured > limit
        print(f"{what:50}{measured:>10.2f}{limit:>10.2f}{'' if measured <= limit else '   missed'}")
    wall = results[0]["wall"]
    for name, alone in wall.items():
        if name.startswith("target alone"):
            print(f"{f'{name} / pipe':50}{alone['median'] / wall['pipe']['median']:>10.2f}")
    for path in pictures.draw(*results, suffix="-quick" if chosen.quick else ""):
        print(f"drawn: {path}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
