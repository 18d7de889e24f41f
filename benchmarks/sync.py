"""What a sync costs: nothing changed, a few rows of one large vessel, many rows over the whole fleet.

    python -m benchmarks.sync [--vessels 2000] [--equipment 100] [--large 5000] [--repeat 5]

The fleet is migrated once; each repetition changes the source and runs `bulkmig sync --all --no-verify` in a
fresh process. Statements are those that the server's log has of one more run without changes.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.ends import SETTINGS, Ends, ends
from bulkmig.cli.measure import Cost, run
from bulkmig.embedded import Server, installs
from bulkmig.generate import FleetSpec

NOTHING, LARGE, SPREAD = "nothing changed", "100 equipment of one vessel", "10,000 equipment of all vessels"
SPREAD_OVER_TWO = f"{SPREAD}, --processes 2"
GOALS = {NOTHING: 2.0, LARGE: 0.5, SPREAD: 20.0, SPREAD_OVER_TWO: 20.0}  # seconds of wall time

OPTIONS = {SPREAD_OVER_TWO: ("--processes", "2")}

# So many equipment of every vessel, other ones each time.
_CHANGE = """
UPDATE equipment SET notes = 'benchmark {number}', updated_at = clock_timestamp() WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY vessel_id ORDER BY md5(id::text || '{number}')) AS n
          FROM equipment) numbered
     WHERE n <= {each})
"""


class Contest:
    """One migrated fleet, synchronised again and again."""

    def __init__(self, both: Ends, target: str) -> None:
        self.ends, self.target, self.number = both, target, 0

    def bulkmig(self, verb: str, *arguments: str) -> Cost:
        """A command in a fresh process."""
        addresses = ("--source", self.ends.source_url, "--target", self.target)
        program = [sys.executable, "-m", "bulkmig", verb, "--all", "--json", *addresses, "--no-verify"]
        return run([*program, *arguments], self.ends.processes())

    def change(self, each: int) -> None:
        """Changes so many equipment of every vessel."""
        self.number += 1
        database = self.ends.source_url.rpartition("/")[2]
        self.ends.source.execute(_CHANGE.format(number=self.number, each=each), database)

    def sync(self, each: int = 0, *options: str) -> Cost:
        """What one sync costs after such a change. Raises RuntimeError where it fails."""
        if each:
            self.change(each)
        self.ends.settle()
        return self.bulkmig("sync", *options)

    def statements(self) -> dict[str, int]:
        """How many statements a sync without changes sends to each end."""
        found = {}
        for name, server, url in (
            ("source", self.ends.source, self.ends.source_url),
            ("target", self.ends.target, self.target),
        ):
            database = url.rpartition("/")[2]
            server.execute(f"ALTER DATABASE {database} SET log_statement = 'all'")
            start = server.log.stat().st_size
            self.bulkmig("sync")
            server.execute(f"ALTER DATABASE {database} RESET log_statement")
            found[name] = _count(server, start)
        return found


def _count(server: Server, start: int) -> int:
    said = server.log.read_bytes()[start:].decode(errors="replace").splitlines()
    sent = [line for line in said if "LOG:  statement:" in line or "LOG:  execute" in line]
    small = ("BEGIN", "COMMIT", "ROLLBACK", "SET", "RESET", "ALTER DATABASE")
    return sum(not line.partition(": ")[2].partition(": ")[2].lstrip().startswith(small) for line in sent)


def _measured(spec: FleetSpec, cases: dict[str, int], chosen: argparse.Namespace) -> dict[str, Any]:
    """Case -> costs, for one fleet; and the statements."""
    install = next((one for one in installs() if chosen.postgres in (None, one.version)), None)
    costs: defaultdict[str, list[Cost]] = defaultdict(list)
    with ends(spec, install=install, directory=None) as both, both.fresh_target() as target:
        contest = Contest(both, target)
        print(f"{spec.vessels} vessels migrated in {contest.bulkmig('migrate').wall:.1f} s", flush=True)
        for name, each in cases.items():
            for _ in range(chosen.repeat):
                cost = contest.sync(each, *OPTIONS.get(name, ()))
                costs[name].append(cost)
                updated = cost.document["rows"].get("equipment", {}).get("updated", 0)
                print(
                    f"{name}: {cost.wall:.2f} s, {cost.cpu:.2f} s of own CPU, {updated} updated", flush=True
                )
        return {
            "costs": {name: [vars(cost) for cost in found] for name, found in costs.items()},
            "wall": {name: figures.spread([cost.wall for cost in found]) for name, found in costs.items()},
            "statements": contest.statements(),
            "postgres": both.target.install.release,
        }


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="what a sync costs")
    parser.add_argument("--vessels", type=int, default=2000)
    parser.add_argument(
        "--equipment", type=int, default=100, help="per vessel, each with a part and a document"
    )
    parser.add_argument("--large", type=int, default=5000, help="equipment of the one large vessel")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--postgres", type=int, metavar="MAJOR", help="default: the newest installed")
    parser.add_argument("--date", default="", help="of the result (default: today)")
    return parser.parse_args()


def main() -> int:
    chosen = options()
    common: dict[str, Any] = {"exact": True, "parts": 1, "documents": 1}
    one = FleetSpec(vessels=1, equipment=chosen.large, **common)
    fleet = FleetSpec(vessels=chosen.vessels, equipment=chosen.equipment, **common)
    large = _measured(one, {LARGE: 100}, chosen)
    each = max(10_000 // chosen.vessels, 1)
    whole = _measured(fleet, {NOTHING: 0, SPREAD: each, SPREAD_OVER_TWO: each}, chosen)
    wall = {**large["wall"], **whole["wall"]}
    for name, goal in GOALS.items():
        found = wall[name]
        spread = f"{found['median']:.2f} ({found['least']:.2f} to {found['greatest']:.2f})"
        print(f"{name}: {spread} s, goal {goal} s")
    for end, n in whole["statements"].items():
        print(f"statements on the {end} without changes: {n} ({large['statements'][end]} with one vessel)")
    environment = figures.environment(whole.pop("postgres"))
    document = {"environment": environment, "settings": SETTINGS, "large": large, "fleet": whole}
    path: Path = figures.write("sync", chosen.date, document)
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
