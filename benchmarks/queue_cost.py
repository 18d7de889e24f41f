"""What the queue costs a vessel, and whether a long queue is slower than a short one.

    python -m benchmarks.queue_cost --jobs 100000 --workers 4

A dry run with a stub load: every job is one vessel that nothing is done with. Workers are processes; each
lane takes a job, packs an outcome and stores it, by the code that `bulkmig worker` runs. The server keeps its
promises (fsync, full pages) as for a migration. With `--take` only so many jobs are done of each queue, for a
machine that has no time for all of a long one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from statistics import median
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import anyio

from benchmarks import figures
from bulkmig.cli.measure import server_cpu
from bulkmig.cluster import outcome, runs
from bulkmig.cluster.desk import Desk
from bulkmig.cluster.jobs import Jobs
from bulkmig.cluster.view import Place
from bulkmig.embedded import server
from bulkmig.ends import Ends
from bulkmig.ledger import schema
from bulkmig.postgres import dsn
from bulkmig.postgres.again import Patience
from bulkmig.postgres.session import TARGET, close, connect, transaction
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.vessel_load import Loaded

SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "max_connections": "200"}
TRIPS = 25  # empty statements a heartbeat
PARTS = 10  # of the queue, told apart


@dataclass(frozen=True)
class Lane:
    """When each job was done, and how long the queue took for it, in seconds. `trip`: what an empty statement
    took in between, by which figures of a loaded machine may be judged."""

    done: list[float]
    took: list[float]
    cpu: float
    trip: float


async def fill(url: str, run_id: str, jobs: int, at_once: int | None) -> float:
    """Opens a run with so many jobs; returns the seconds a job that putting them in took."""
    connection = await connect(dsn.parse(url), TARGET, role="target")
    try:
        await schema.upgrade(connection)
        ends = cast("Ends", SimpleNamespace(snapshot="", seen=""))
        await runs.put(
            connection, ends, Place("", "0/0"), run_id, "benchmark", "--all",
            heartbeat=30.0, at_once=at_once, max_rows_per_second=None, seconds_left=None,
        )  # fmt: skip
        units = [[Vessel(str(UUID(int=n)), f"vessel {n}", None, "", n % 1000)] for n in range(jobs)]
        started = time.perf_counter()
        async with transaction(connection):
            await Jobs(connection, run_id).submit("migrate", units)
        await connection.execute("ANALYZE bulkmig.pgqueuer")
        return (time.perf_counter() - started) / jobs
    finally:
        await close(connection)


def work(url: str, lanes: int, most: int, pipe: Pipe) -> None:
    """A worker, until the queue is empty or it has begun `most` jobs; sends what its lanes saw."""
    pipe.send(anyio.run(_work, url, lanes, most, backend_options={"use_uvloop": True}))


async def _work(url: str, lanes: int, most: int) -> Lane:
    address = dsn.parse(url)
    desk = Desk(address, address, Patience())
    await desk.enrol()
    run = await desk.ask(runs.current)
    assert run is not None
    seen = Lane([], [], 0.0, 0.0)
    trips: list[float] = []
    before = time.process_time()

    async def lane() -> None:
        nonlocal most
        while most > 0:
            most -= 1
            started = time.perf_counter()
            job = await desk.take(run)
            if job is None:
                most += 1
                if not (await desk.ask(lambda c: Jobs(c, run.run_id).standing())).queued:
                    return
                await anyio.sleep(0.1)
                continue
            taken = time.perf_counter()
            payload = outcome.pack(run.seen, [Loaded(job.vessels[0], "migrated")], Report("worker"))
            again = time.perf_counter()
            await desk.done(run, job, payload)
            seen.done.append(time.time())
            seen.took.append(taken - started + time.perf_counter() - again)

    async def beat() -> None:
        while True:
            await desk.beat(run)
            for _ in range(TRIPS):
                await anyio.sleep(run.heartbeat / 4 / TRIPS)
                started = time.perf_counter()
                await desk.ask(lambda c: c.fetchval("SELECT 1"))
                trips.append(time.perf_counter() - started)

    async with anyio.create_task_group() as pulse:
        pulse.start_soon(beat)
        async with anyio.create_task_group() as group:
            for _ in range(lanes):
                group.start_soon(lane)
        pulse.cancel_scope.cancel()
    await desk.leave()
    trip = median(trips) if trips else 0.0
    return Lane(seen.done, seen.took, time.process_time() - before, trip)


def measure(
    url: str, postmaster: int, jobs: int, take: int, workers: int, lanes: int, at_once: int | None
) -> dict[str, Any]:
    """One queue, from full to empty, or so many of its jobs."""
    run_id = str(uuid4())
    filling = anyio.run(fill, url, run_id, jobs, at_once)
    context = multiprocessing.get_context("spawn")
    pipes = []
    before, started = server_cpu(postmaster), time.time()
    for _ in range(workers):
        ours, theirs = context.Pipe()
        context.Process(target=work, args=(url, lanes, take // workers, theirs), daemon=True).start()
        pipes.append(ours)
    seen: list[Lane] = [pipe.recv() for pipe in pipes]
    servers = server_cpu(postmaster) - before
    anyio.run(_close, url, run_id)
    done = sorted(at for lane in seen for at in lane.done)
    took = [t for lane in seen for t in lane.took]
    assert len(done) == take // workers * workers, (len(done), take)
    part = len(done) // PARTS
    begin = min(done)
    marks = [begin] + [done[part * (n + 1) - 1] for n in range(PARTS)]
    wall = [1000 * (marks[n + 1] - marks[n]) / part for n in range(PARTS)]
    return {
        "jobs": jobs, "done": len(done), "workers": workers, "lanes": lanes, "at_once": at_once,
        "filling_ms": 1000 * filling,
        "wall_ms": 1000 * (done[-1] - begin) / len(done),
        "wall_ms_by_tenth": wall,
        "latency_ms": figures.spread([1000 * t for t in took]),
        "empty_statement_ms": 1000 * median(lane.trip for lane in seen),
        "worker_cpu_ms": 1000 * sum(lane.cpu for lane in seen) / len(done),
        "server_cpu_ms": 1000 * servers / len(done),
        "seconds": time.time() - started,
    }  # fmt: skip


async def _close(url: str, run_id: str) -> None:
    connection = await connect(dsn.parse(url), TARGET, role="target")
    try:
        async with transaction(connection):
            await runs.close(connection, run_id)
            await Jobs(connection, run_id).clear()
    finally:
        await close(connection)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--take", type=int, help="jobs of each queue that are done; all unless it is given")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--lanes", type=int, default=4)
    parser.add_argument("--at-once", type=int, default=None, help="the fleet-wide limit")
    parser.add_argument("--date", default="")
    given = parser.parse_args()
    results = []
    with server(settings=SETTINGS) as pg:
        pg.create_database("target")
        url = pg.url("target")
        for jobs in (given.jobs // 100, given.jobs):
            for workers in given.workers:
                take = min(given.take or jobs, jobs)
                found = measure(url, pg.pid or 0, jobs, take, workers, given.lanes, given.at_once)
                results.append(found)
                print(
                    f"{jobs:>7} jobs, {found['done']} done, {workers} workers:"
                    f" {found['wall_ms']:.2f} ms a job"
                    f" (by tenth {' '.join(f'{ms:.2f}' for ms in found['wall_ms_by_tenth'])}),"
                    f" an empty statement {found['empty_statement_ms']:.2f},"
                    f" CPU {found['worker_cpu_ms']:.2f} worker + {found['server_cpu_ms']:.2f} server,"
                    f" putting in {found['filling_ms']:.3f}"
                )
        version = str(pg.install.version)
    print(
        figures.write(
            "queue_cost", given.date, {"environment": figures.environment(version), "results": results}
        )
    )


if __name__ == "__main__":
    main()
