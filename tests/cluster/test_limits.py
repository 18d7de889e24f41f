"""Limits over the whole fleet hold while workers come and go; a window ends a run on all machines; each
tells how a run stands; a sync is spread as a migration is."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest

from bulkmig.generate import FleetSpec
from tests.cluster.conftest import MODE, Make
from tests.cluster.scene import SMALL, Scene, scene
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets
from tests.support.programs import program, run
from tests.support.servers import Databases

_SESSIONS = """
SELECT count(*) FILTER (WHERE application_name LIKE 'bulkmig source _%' AND datname = $1),
       count(*) FILTER (WHERE application_name LIKE 'bulkmig target _%' AND datname = $2)
  FROM pg_stat_activity
"""


@dataclass
class Watch:
    """The most sessions for vessels that were seen at once: on the source, on the target."""

    looks: int = 0
    most: list[int] = field(default_factory=lambda: [0, 0])


@asynccontextmanager
async def watching(at: Scene) -> AsyncIterator[Watch]:
    """Counts sessions all the time, to the end of the block. Both databases lie on one server."""
    seen = Watch()
    names = [url.rpartition("/")[2] for url in (at.fleet.source, at.target)]
    connection = await asyncpg.connect(at.target)

    async def look() -> None:
        while True:
            row = await connection.fetchrow(_SESSIONS, *names)
            assert row is not None
            seen.most = [max(known, now) for known, now in zip(seen.most, row, strict=True)]
            seen.looks += 1
            await asyncio.sleep(0.01)

    task = asyncio.ensure_future(look())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()


# Notes what the fleet's workers are given: time of the run's rate, and jobs, each with a session at each end.
_WITNESS = """
CREATE SCHEMA witness;
CREATE TABLE witness.draws (began timestamptz, ended timestamptz);
CREATE TABLE witness.jobs (at_work bigint);
CREATE FUNCTION witness.drawn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness.draws VALUES (greatest(OLD.paid_until, statement_timestamp()), NEW.paid_until);
    RETURN NULL;
END $$;
CREATE FUNCTION witness.taken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO witness.jobs SELECT count(*) FROM bulkmig.pgqueuer WHERE status = 'picked';
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER UPDATE ON bulkmig.queue_rates FOR EACH ROW EXECUTE FUNCTION witness.drawn();
CREATE TRIGGER witness AFTER UPDATE ON bulkmig.pgqueuer FOR EACH STATEMENT EXECUTE FUNCTION witness.taken();
"""
# By when, since the run was opened, how many rows of vessels were in.
_COMMITTED = """
SELECT extract(epoch FROM v.finished_at - r.opened_at)::float8, sum(v.rows) OVER (ORDER BY v.finished_at)
  FROM bulkmig.vessels v JOIN bulkmig.queue_runs r USING (run_id) ORDER BY 1
"""
_DRAWN = "SELECT extract(epoch FROM sum(ended - began))::float8 FROM witness.draws"


@pytest.mark.slow
async def test_limits_of_the_fleet_hold_while_workers_come_and_go(fleet: Make, maintenance_url: str) -> None:
    """Workers that could have four vessels each: one is killed, one told to stop, two come late, and another
    submitter takes over. At no commit are more rows in than the time since the beginning allows, no row went
    without, and never are there more jobs, or sessions, than places."""
    one = await fleet(SMALL)
    shared = ("companies", "company_settings", "users", "user_metadata", "cross_references")
    rows = sum(n["inserted"] for table, n in one.document["rows"].items() if table not in shared)
    limit = rows // 8
    limits = ["--max-rows-per-second", str(limit)]
    limits += ["--max-source-connections", "3", "--max-target-connections", "2"]
    assert (await run(one.source, maintenance_url, "init")).status == 0
    connection = await asyncpg.connect(maintenance_url)
    await connection.execute(_WITNESS)
    try:
        async with scene(one, maintenance_url) as at, watching(at) as seen:
            killed, stopped = await at.worker(), await at.worker()
            first = await at.submitter(*limits)
            await at.busy(killed)
            await killed.kill()
            await at.worker()
            await at.reached(0.2)
            await first.kill()
            second = await at.submitter(*limits)
            await at.reached(0.4)
            await stopped.kill(signal.SIGTERM)
            await at.worker()
            await at.judge(second)
        committed = await connection.fetch(_COMMITTED)
        assert committed[-1][1] >= rows
        # Whoever is next may have a second's worth at once.
        assert [(when, n) for when, n in committed if n > limit * (when + 1)] == []
        assert limit * await connection.fetchval(_DRAWN) >= rows
        assert await connection.fetchval("SELECT max(at_work) FROM witness.jobs") == 2
        assert seen.looks > 20
        assert seen.most == [2, 2]
    finally:
        await connection.close()


async def test_a_window_that_is_over_stops_all_workers(fleet: Make, maintenance_url: str) -> None:
    """Nothing is started; the same command without the window goes on. `status` knows the worker."""
    one = await fleet(SMALL)
    async with scene(one, maintenance_url) as at:
        worker = await at.worker()
        ended = await (await at.submitter("--window", "0s")).ended(at.limit)
        assert ended.status == 4, ended.said
        assert ended.vessels["remaining"] > 0
        again = await (await at.submitter()).ended(at.limit)
        assert again.status == 0
        told = await run(one.source, at.target, "status")
        assert [one["pid"] for one in told.document["workers"]] == [worker.pid]
        assert told.document["workers"][0]["state"] == "on"
        assert told.document["queue"] == {"waiting": 0, "at_work": 0}
        await worker.kill(signal.SIGTERM)


@pytest.mark.long
async def test_without_continue_on_error_a_failure_stops_all_workers(
    fleet: Make, maintenance_url: str
) -> None:
    """Each error of the fleet fails its vessel: what is at work is finished, the rest stays."""
    one = await fleet(SMALL)
    async with program(one.source, maintenance_url, "worker", "--once") as worker:
        async with program(one.source, maintenance_url, "migrate", "--all", "--queue") as submitter:
            ended = await submitter.ended()
        assert ended.status == 1
        assert ended.vessels["failed"] > 0
        assert ended.document["status"] == "completed_with_failures"
        assert (await worker.ended()).status in (0, 1)


_CHANGES = """
UPDATE equipment SET name = name || ' 2', updated_at = now()
 WHERE id IN (SELECT id FROM equipment ORDER BY id LIMIT 9);
UPDATE locations SET name = name || ' 2' WHERE id IN (SELECT id FROM locations ORDER BY id LIMIT 3);
UPDATE users SET first_name = 'Another' WHERE id IN (SELECT id FROM users ORDER BY id LIMIT 2);
UPDATE equipment SET vessel_id = (SELECT max(id::text)::uuid FROM vessels), location_id = NULL
 WHERE id = (SELECT id FROM equipment WHERE vessel_id = (SELECT min(id::text)::uuid FROM vessels)
              ORDER BY id LIMIT 1);
UPDATE vessels SET onboarding_status = 'APPROVED' WHERE onboarding_status <> 'APPROVED';
"""


_IS_THERE = """
SELECT v.id FROM vessels v JOIN bulkmig.identities i ON i.target_id = v.id WHERE i.source_id = $1::text::uuid
"""


@pytest.mark.slow
async def test_a_sync_over_workers_ends_where_one_process_ends(fleets: Fleets, databases: Databases) -> None:
    """Changed rows, a place above many, a move between vessels, vessels that are new, and one that was rolled
    back, which is left alone."""
    origin = await fleets(FleetSpec(seed=4, vessels=8, equipment=12, approved=0.75), fresh=True)
    one = databases("maintenance")
    back = sorted(origin.approved)[1]
    assert (await run(origin.url, one, "migrate", "--all", *MODE)).status == 0
    assert (await run(origin.url, one, "rollback", "--vessel", back, "--yes")).status == 0
    many = databases.copy(one)
    connection = await asyncpg.connect(origin.url)
    await connection.execute(_CHANGES)
    await connection.close()
    alone = await run(origin.url, one, "sync", "--all", *MODE)
    assert alone.status == 0, alone.said
    async with program(origin.url, many, "worker", "--once") as worker:
        async with program(origin.url, many, "sync", "--all", "--queue", *MODE) as submitter:
            ended = await submitter.ended()
        done = await worker.ended()
    assert ended.status == 0, ended.said
    assert apart(await dump(one, schema="public"), await dump(many, schema="public")) == []
    assert ended.vessels == alone.vessels
    assert ended.document["rows"] == alone.document["rows"]
    assert done.vessels["done"] > 2
    connection = await asyncpg.connect(many)
    assert await connection.fetch(_IS_THERE, back) == []
    await connection.close()
