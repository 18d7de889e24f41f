"""What watching costs: a migration with dashboard and metrics, both read all the time, against one without.

    python -m benchmarks.watching [--vessels 100] [--equipment 1000] [--repeat 5] [--options "--processes 2"]

Both in turns, each in a fresh process on a fresh target, after one that doesn't count. A reader keeps the
page's event stream open and asks for the metrics every five seconds, as Prometheus would.
"""

from __future__ import annotations

import argparse
import shlex
import socket
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import figures
from benchmarks.ends import SETTINGS, Ends, ends
from bulkmig.cli.measure import Cost, run
from bulkmig.embedded import installs
from bulkmig.generate import FleetSpec

AT_MOST = 1.03


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Reader:
    """Reads a dashboard until it is over. `read`: bytes of events, and answers of the metrics."""

    def __init__(self, url: str) -> None:
        self.url, self.over = url, threading.Event()
        self.events = self.metrics = 0

    def stream(self) -> None:
        """Keeps the event stream open."""
        while not self.over.is_set():
            try:
                with urllib.request.urlopen(f"{self.url}/events", timeout=30) as answer:
                    while part := answer.read1(65536):
                        self.events += len(part)
            except OSError:
                time.sleep(0.02)  # it isn't there yet, or not any more

    def scrape(self) -> None:
        """Asks for the metrics."""
        while not self.over.is_set():
            try:
                with urllib.request.urlopen(f"{self.url}/metrics", timeout=30) as answer:
                    self.metrics += bool(answer.read())
                self.over.wait(5)
            except OSError:
                time.sleep(0.02)


@contextmanager
def reading(url: str) -> Iterator[Reader]:
    reader = Reader(url)
    threads = [threading.Thread(target=work, daemon=True) for work in (reader.stream, reader.scrape)]
    for thread in threads:
        thread.start()
    try:
        yield reader
    finally:
        reader.over.set()
        for thread in threads:
            thread.join()


def migrate(both: Ends, options: Sequence[str], *, watched: bool) -> Cost:
    """A migration in a process of its own. Raises RuntimeError where nobody could watch it."""
    with both.fresh_target() as target:
        command = [sys.executable, "-m", "bulkmig", "migrate", "--all", "--json", *options]
        addresses = ["--source", both.source_url, "--target", target]
        if not watched:
            return run([*command, *addresses], both.processes())
        place = f"127.0.0.1:{_port()}"
        with reading(f"http://{place}") as reader:
            cost = run([*command, *addresses, "--dashboard", place], both.processes())
        if not (reader.events and reader.metrics):
            raise RuntimeError("the dashboard was never read")
        return cost


def main() -> None:
    parser = argparse.ArgumentParser(description="what watching costs")
    parser.add_argument("--vessels", type=int, default=100)
    parser.add_argument("--equipment", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--options", default="", help="for migrate")
    parser.add_argument("--directory", type=Path, help="keeps the generated fleet there for the next time")
    parser.add_argument("--date", default="")
    chosen = parser.parse_args()
    spec = FleetSpec(
        seed=chosen.seed, vessels=chosen.vessels, equipment=chosen.equipment, exact=True, parts=3, documents=2
    )
    costs: defaultdict[str, list[Cost]] = defaultdict(list)
    install = next(iter(installs()), None)
    with ends(spec, install=install, directory=chosen.directory) as both:
        options = shlex.split(chosen.options)
        migrate(both, options, watched=False)
        for _ in range(chosen.repeat):
            for name, watched in (("plain", False), ("watched", True)):
                cost = migrate(both, options, watched=watched)
                costs[name].append(cost)
                print(
                    f"{name}: {cost.wall:.2f} s, {cost.cpu:.2f} s of own CPU,"
                    f" {cost.servers['target']:.2f} s of the target's",
                    flush=True,
                )
        release = both.target.install.release
    ratios = {
        what: [
            getattr(b, what) / getattr(a, what) for a, b in zip(costs["plain"], costs["watched"], strict=True)
        ]
        for what in ("wall", "cpu")
    }
    for what, found in ratios.items():
        print(f"{what}: {figures.shown(found, '.3f')} x, wanted at most {AT_MOST} x")
    document: dict[str, Any] = {
        "environment": figures.environment(release),
        "settings": SETTINGS,
        "wall": {name: figures.spread([cost.wall for cost in found]) for name, found in costs.items()},
        "cpu": {name: figures.spread([cost.cpu for cost in found]) for name, found in costs.items()},
        "ratio": {what: figures.spread(found) for what, found in ratios.items()},
    }
    print(figures.write("watching", chosen.date, document))
    sys.exit(median(ratios["wall"]) > AT_MOST)


if __name__ == "__main__":
    main()
