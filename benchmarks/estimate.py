"""How far off the estimate of the end is, from the middle of a run on.

    python -m benchmarks.estimate [--only lognormal] [--repeat 1] [--clock cpu]

Fleets of even and of very different sizes are migrated, synced and verified, each in a fresh process that
looks at its own board ten times a second, as terminal and dashboard do. What is kept of a run is the worst of
|said end - real end| / real end, over all looks in its second half; and the share of those at which nothing
was said at all. On a machine that others use as well time passes unevenly, and no estimate could know that:
with `--clock cpu` time is the CPU that the program and both servers have taken.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import anyio
import orjson

from benchmarks import figures
from benchmarks.ends import SETTINGS, Ends, ends
from bulkmig import Selection, Settings, migrate, sync, verify
from bulkmig.cli.measure import server_cpu
from bulkmig.embedded import installs
from bulkmig.generate import FleetSpec
from bulkmig.monitor.board import Board

AT_MOST = 0.3
LOOK_EVERY = 0.1  # seconds
COMMANDS = {"migrate": migrate, "sync": sync, "verify": verify}


def spec_of(sizes: list[int]) -> FleetSpec:
    return FleetSpec(seed=1, vessels=len(sizes), equipment=tuple(sizes))


def lognormal(vessels: int) -> list[int]:
    chance = random.Random(1)
    return [int(chance.lognormvariate(5, 1.2)) for _ in range(vessels)]


# Large enough for runs of seconds: shorter ones are over before anybody has read an estimate.
FLEETS = {
    "even": [400] * 80,
    "lognormal": lognormal(160),
    "few large, many small": [2500] * 6 + [6] * 800,
    "one large, some small": [10_000] + [100] * 60,
    "tiny": [4] * 1500,
}
# An eighth of the equipment of every second vessel.
CHANGES = """
UPDATE equipment SET name = name || ' 2', updated_at = now()
 WHERE vessel_id IN (SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM vessels) v
                      WHERE n % 2 = 0)
   AND substr(id::text, 1, 1) IN ('0', '1');
"""


@dataclass(frozen=True)
class Step:
    """A command on a fleet whose target holds what the steps before have left there."""

    command: str
    settings: dict[str, Any]
    changes: bool = False

    def __str__(self) -> str:
        return " ".join([self.command, *(f"{name}={value}" for name, value in self.settings.items())])


STEPS = [
    [Step("migrate", {}), Step("verify", {}), Step("sync", {}, changes=True), Step("sync", {"full": True})],
    [Step("migrate", {"processes": 2}), Step("verify", {"processes": 2})],
    [Step("migrate", {"verify": False, "parallel_vessels": 1})],
]


class Spent:
    """A clock that only goes while the program or a server works."""

    def __init__(self, servers: list[int]) -> None:
        self.servers, self.read, self.now = servers, 0.0, 0.0

    def __call__(self) -> float:
        if time.perf_counter() - self.read > LOOK_EVERY / 2:
            self.now = sum(map(server_cpu, [os.getpid(), *self.servers]))
            self.read = time.perf_counter()
        return self.now


def observe(request: dict[str, Any]) -> dict[str, Any]:
    """Runs a command and returns what was said when: seconds since the start, seconds left."""
    clock = Spent(request["servers"]) if request["servers"] else time.perf_counter
    board, over = Board(clock), threading.Event()
    told: list[tuple[float, float | None]] = []
    started = clock()

    def look() -> None:
        while not over.wait(LOOK_EVERY):
            with board.lock:
                told.append((clock() - started, board.estimate.left))

    watcher = threading.Thread(target=look)
    watcher.start()
    settings = Settings(source=request["source"], target=request["target"], **request["settings"])
    report = anyio.run(
        lambda: COMMANDS[request["command"]](settings, Selection(all=True), listen=board.hear),
        backend_options={"use_uvloop": True},
    )
    over.set()
    watcher.join()
    assert report.status == "completed", report.status
    return {"seconds": clock() - started, "told": told}


def judged(seen: dict[str, Any]) -> dict[str, float]:
    """The worst error in the second half, and how often nothing was said."""
    total = seen["seconds"]
    half = [(at, left) for at, left in seen["told"] if at >= total / 2]
    errors = [(at + left - total) / total for at, left in half if left is not None]
    worst = max(errors, key=abs, default=1.0)
    return {"seconds": total, "worst": worst, "silent": 1 - len(errors) / len(half) if half else 1.0}


def fleet(both: Ends, name: str, clock: str) -> list[dict[str, Any]]:
    """All steps on one fleet."""
    found = []
    for steps in STEPS:
        with both.fresh_target() as target:
            for step in steps:
                if step.changes:
                    both.source.execute(CHANGES, both.source_url.rpartition("/")[2])
                request = {
                    "source": both.source_url, "target": target, "command": step.command,
                    "settings": step.settings,
                    "servers": [*both.processes().values()] if clock == "cpu" else [],
                }  # fmt: skip
                made = subprocess.run(
                    [sys.executable, "-m", "benchmarks.estimate", "--observe"],
                    input=orjson.dumps(request), stdout=subprocess.PIPE, check=True,
                )  # fmt: skip
                result = judged(orjson.loads(made.stdout))
                found.append({"fleet": name, "step": str(step), **result})
                print(
                    f"{name:<22} {step!s:<36} {result['seconds']:6.1f} s, worst {result['worst']:+.0%},"
                    f" silent {result['silent']:.0%}",
                    flush=True,
                )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="how far off the estimate of the end is")
    parser.add_argument("--only", choices=FLEETS, nargs="+", default=list(FLEETS))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--date", default="")
    parser.add_argument("--observe", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.observe:
        sys.stdout.buffer.write(orjson.dumps(observe(orjson.loads(sys.stdin.buffer.read()))))
        return
    install = next(iter(installs()), None)
    results = []
    release = ""
    for name in chosen.only * chosen.repeat:
        with ends(spec_of(FLEETS[name]), install=install, directory=None) as both:
            results += fleet(both, name, chosen.clock)
            release = both.target.install.release
    worst = max(abs(result["worst"]) for result in results)
    print(f"worst {worst:.0%}, wanted at most {AT_MOST:.0%}")
    document = {"environment": figures.environment(release), "settings": SETTINGS, "results": results}
    print(figures.write("estimate", chosen.date, document))
    sys.exit(worst > AT_MOST)


if __name__ == "__main__":
    main()
