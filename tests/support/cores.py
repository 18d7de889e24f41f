"""Which core a worker of the suite runs on.

A test and its servers take turns: while one asks, the other waits. On one core they hand over to each other;
between two, each has to be woken, which takes a tenth of the CPU where both are busy, and more where they are
not. So a worker stays on one, with its servers. Programs run on all, as several of them work at once; so does
a browser.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

POSSIBLE = hasattr(os, "sched_setaffinity")  # Linux
_ALL = os.sched_getaffinity(0) if POSSIBLE else set()


def stay_on_one() -> None:
    """From now on this process runs on one core if it is a worker, as those that it starts do."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")  # as "gw1"
    if POSSIBLE and worker:
        os.environ.setdefault("POLARS_MAX_THREADS", str(len(_ALL)))  # as many as without
        os.sched_setaffinity(0, {sorted(_ALL)[int(worker.removeprefix("gw")) % len(_ALL)]})


@contextmanager
def all_of_them() -> Iterator[None]:
    """What is started meanwhile may run on every core."""
    if not POSSIBLE:
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _ALL)
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)
