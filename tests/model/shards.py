"""The long form: many sequences in shards, each with a seed of its own, over several processes.

A shard's result is a file, so that a run that was broken off goes on where it was. A shard that disagrees
says so there, with the steps that led to it: `python -m tests.model.replay` takes them again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tests.model.machine import Played, play
from tests.model.package import SYNC
from tests.model.rules import RULES, WITHOUT_SYNC, Hits
from tests.model.run import ON_SQLITE
from tests.model.session import Disagreement
from tests.support import lane
from tests.support.servers import EmbeddedServers

SEQUENCES, STEPS, LEAST_HITS = 2000, 20, 50
A_SHARD = 10  # sequences


def _processor_seconds() -> float:
    """What this process and the servers that it has stopped have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def shard(seed: int, place: Path) -> dict[str, Any]:
    """Runs one shard; returns, and writes, what came of it."""
    if ON_SQLITE:
        lane.begin()
    before, begun, told = _processor_seconds(), time.monotonic(), ""
    played = Played()
    try:
        with EmbeddedServers() as servers:
            play(servers, A_SHARD, STEPS, number=seed, into=played)
    except Disagreement as found:
        told = "\n".join([str(found), *getattr(found, "__notes__", [])])
    except Exception:
        told = traceback.format_exc()
    result = {
        "seed": seed,
        "sequences": played.finished,
        "hits": dict(played.hits.counted),
        "disagreement": told,
        "steps": played.steps if told else [],
        "cpu": round(_processor_seconds() - before, 2),
        "seconds": round(time.monotonic() - begun, 2),
    }
    whole = place / f"{seed}.new"
    whole.write_text(json.dumps(result))
    whole.rename(place / f"{seed}.json")
    return result


def results(place: Path, seeds: range) -> Iterator[dict[str, Any]]:
    """The results that are there."""
    for seed in seeds:
        if (file := place / f"{seed}.json").exists():
            yield json.loads(file.read_text())


def summary(place: Path, seeds: range) -> tuple[str, bool]:
    """All shards' results together, and whether they show what they should."""
    found = list(results(place, seeds))
    hits = Hits()
    for one in found:
        hits.counted += Counter(one["hits"])
    wrong = [one["seed"] for one in found if one["disagreement"]]
    missing = hits.missing(frozenset(RULES) if SYNC else WITHOUT_SYNC, LEAST_HITS)
    ran = sum(one["sequences"] for one in found)
    lines = [
        hits.table(),
        f"{ran} sequences of {STEPS} steps in {len(found)} shards,"
        f" {sum(one['cpu'] for one in found) / 60:.1f} minutes of processor",
        f"disagreements: {wrong or 'none'}",
        f"rules hit less than {LEAST_HITS} times: {missing or 'none'}",
    ]
    return "\n".join(lines), not wrong and not missing and len(found) == len(seeds)


def main() -> int:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(prog="scripts/model", description=__doc__)
    parser.add_argument("--sequences", type=int, default=SEQUENCES)
    parser.add_argument("--seed", type=int, default=1, help="the first shard's")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--results", type=Path, default=Path(".model"), help="a directory")
    asked = parser.parse_args()
    place: Path = asked.results
    place.mkdir(parents=True, exist_ok=True)
    seeds = range(asked.seed, asked.seed + -(-asked.sequences // A_SHARD))
    todo = [seed for seed in seeds if not (place / f"{seed}.json").exists()]
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(shard, seed, place) for seed in todo]):
            one = done.result()
            told = "DISAGREES" if one["disagreement"] else "agrees"
            sys.stderr.write(f"seed {one['seed']}: {one['sequences']} {told}, {one['cpu']} s of processor\n")
    text, well = summary(place, seeds)
    sys.stdout.write(f"{text}\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
