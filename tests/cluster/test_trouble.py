"""Whatever happens to workers, submitter or sessions: it finishes, and no vessel is written twice."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import pytest

from bulkmig.cluster.rules import digest
from bulkmig.generate import FleetSpec
from tests.cluster.conftest import MIGRATE, Fleet, Make, places
from tests.cluster.machines import Machine, plain
from tests.support.aftermath import left_behind, until
from tests.support.programs import LIMIT, Program, program
from tests.support.servers import Databases

SMALL = FleetSpec(seed=9, vessels=20, equipment=20, nasty=0.1, least=1)
LARGE = FleetSpec(seed=9, vessels=500, equipment=60, nasty=0.02, least=1)
BEAT = ("--heartbeat", "2")


@dataclass
class Scene:
    """A target under way. `limit`: seconds in which a run of this fleet has long ended."""

    fleet: Fleet
    target: str
    limit: float
    stack: AsyncExitStack
    workers: list[Program] = field(default_factory=list)

    async def worker(self, machine: Machine | None = None) -> Program:
        """One more worker."""
        machine = machine or plain(1, self.fleet.source, self.target)[0]
        self.workers.append(await self.stack.enter_async_context(machine.worker()))
        return self.workers[-1]

    async def submitter(self, *more: str) -> Program:
        return await self.stack.enter_async_context(
            program(self.fleet.source, self.target, *MIGRATE, *BEAT, *more)
        )

    async def ask(self, query: str, *values: object) -> object:
        """Asks the target anything; None before there is such a table."""
        connection = await asyncpg.connect(self.target)
        try:
            return await connection.fetchval(query, *values)
        except asyncpg.UndefinedTableError:
            return None
        finally:
            await connection.close()

    async def reached(self, share: float) -> None:
        """Waits until this share of the vessels is done."""
        wanted = int(self.fleet.approved * share)

        async def enough() -> bool:
            return bool(await self.ask("SELECT count(*) >= $1 FROM bulkmig.vessels", max(wanted, 1)))

        assert await until(enough, self.limit)

    async def busy(self, worker: Program) -> None:
        """Waits until this worker has a job."""

        async def has() -> bool:
            return bool(
                await self.ask(
                    "SELECT EXISTS (SELECT FROM bulkmig.pgqueuer j JOIN bulkmig.queue_workers w"
                    " ON w.id = j.queue_manager_id WHERE j.status = 'picked' AND w.pid = $1)",
                    worker.pid,
                )
            )

        assert await until(has, self.limit)

    async def judge(self, submitter: Program) -> None:
        """The run ends as one process does; then its workers end in good order and leave nothing behind."""
        ended = await submitter.ended(self.limit)
        # What a worker had read and not told when it was killed is in no figure but the ledger's.
        await self.fleet.same(self.target, ended, but=("stats", "lossiness"))
        for worker in self.workers:
            if worker.is_running:
                await worker.kill(signal.SIGTERM)
                assert (await worker.ended()).status == 4
        assert await left_behind(self.target, self.fleet.source) == []


@asynccontextmanager
async def scene(fleet: Fleet, target: str, limit: float = LIMIT) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        yield Scene(fleet, target, limit, stack)


async def worker_killed(at: Scene) -> None:
    """Killed with -9 in the middle of a job: another one takes the job when the heartbeat is over."""
    victim, _ = await at.worker(), await at.worker()
    submitter = await at.submitter()
    await at.busy(victim)
    await victim.kill()
    await at.judge(submitter)


async def worker_stopped(at: Scene) -> None:
    """Stopped past its heartbeat, in a vessel's transaction, and continued when others have its jobs."""
    victim, _ = await at.worker(), await at.worker()
    submitter = await at.submitter()
    await at.busy(victim)
    victim.send(signal.SIGSTOP)

    async def lost() -> bool:
        return await at.ask("SELECT state FROM bulkmig.queue_workers WHERE pid = $1", victim.pid) == "lost"

    try:
        assert await until(lost, at.limit)
    finally:
        victim.send(signal.SIGCONT)
    await at.judge(submitter)


async def queue_cut(at: Scene) -> None:
    """The queue's sessions, the workers' and the submitter's, are terminated again and again."""
    await at.worker()
    await at.worker()
    submitter = await at.submitter()
    for share in (0.2, 0.4, 0.6):
        await at.reached(share)
        await at.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database() AND application_name LIKE 'bulkmig%'"
        )
    await at.judge(submitter)


async def submitter_killed(at: Scene) -> None:
    """Workers go on alone; the same command again takes the run over, and it is the same run."""
    await at.worker()
    await at.worker()
    submitter = await at.submitter()
    await at.reached(0.2)
    await submitter.kill()
    await at.reached(0.6)
    second = await at.submitter()
    await at.judge(second)
    assert await at.ask("SELECT count(*) FROM bulkmig.runs") == 1
    assert (await second.ended()).document["vessels"]["done"] == at.fleet.document["vessels"]["done"]


async def all_killed(at: Scene) -> None:
    """No worker is left; new ones, started late, go on."""
    first = [await at.worker(), await at.worker()]
    submitter = await at.submitter()
    await at.reached(0.3)
    for worker in first:
        await worker.kill()
    await at.worker()
    await at.worker()
    await at.judge(submitter)


async def everyone_killed(at: Scene) -> None:
    """Submitter and workers at once: new ones of both."""
    worker = await at.worker()
    submitter = await at.submitter()
    await at.reached(0.3)
    await submitter.kill()
    await worker.kill()
    await at.worker()
    await at.judge(await at.submitter())


async def told_to_stop(at: Scene) -> None:
    """SIGTERM: a worker gives back what it has, a submitter has all do so; the same command goes on."""
    first, second = await at.worker(), await at.worker()
    submitter = await at.submitter()
    await at.busy(first)
    await first.kill(signal.SIGTERM)
    ended = await first.ended()
    assert ended.status == 4
    await at.busy(second)
    await submitter.kill(signal.SIGTERM)
    stopped = await submitter.ended()
    assert stopped.status == 4
    assert stopped.vessels["done"] + stopped.vessels["remaining"] == stopped.vessels["selected"]
    assert stopped.vessels["remaining"] > 0
    assert await at.ask("SELECT count(*) FROM bulkmig.pgqueuer") == 0
    again = await at.submitter()
    ended = await again.ended(at.limit)
    assert ended.status == 0
    # Vessels that were quarantined whole are looked at again.
    assert 0 < ended.vessels["skipped"] <= stopped.vessels["done"]
    assert ended.vessels["skipped"] + ended.vessels["done"] == stopped.vessels["selected"]


TROUBLE = [
    worker_killed, worker_stopped, queue_cut, submitter_killed, all_killed, everyone_killed, told_to_stop,
]  # fmt: skip
SHORT = [worker_stopped, submitter_killed, queue_cut, told_to_stop]


@pytest.mark.slow
@pytest.mark.parametrize("trouble", SHORT, ids=lambda trouble: trouble.__name__)
async def test_it_finishes_and_no_vessel_is_written_twice(
    trouble: object, fleet: Make, maintenance_url: str
) -> None:
    """A small fleet."""
    assert callable(trouble)
    async with scene(await fleet(SMALL), maintenance_url) as at:
        await trouble(at)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda trouble: trouble.__name__)
async def test_500_vessels_finish_and_none_is_written_twice(
    trouble: object, fleet: Make, databases: Databases
) -> None:
    """The issue's size."""
    assert callable(trouble)
    async with scene(await fleet(LARGE), databases("maintenance"), 900) as at:
        await trouble(at)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_a_worker_cut_off_from_the_servers_loses_its_jobs_to_others(
    fleet: Make, databases: Databases, namespaces: str
) -> None:
    """Its cable is cut in the middle of a job and mended when others have done its work."""
    if namespaces:
        pytest.skip(namespaces)
    one, target = await fleet(LARGE), databases("maintenance")
    async with scene(one, target, 900) as at, places(2, one.source, target, namespaces) as there:
        victim, _ = await at.worker(there[0]), await at.worker(there[1])
        submitter = await at.submitter()
        await at.busy(victim)
        there[0].cut()
        await at.reached(0.9)
        there[0].mend()
        await at.judge(submitter)


async def test_a_worker_that_starts_late_and_one_of_another_program(
    fleet: Make, maintenance_url: str
) -> None:
    """Before anyone else there is a worker of another version: it is refused; then the right one comes."""
    one = await fleet(SMALL)
    async with scene(one, maintenance_url) as at:
        submitter = await at.submitter()

        async def opened() -> bool:
            return bool(await at.ask("SELECT count(*) FROM bulkmig.queue_runs"))

        assert await until(opened, at.limit)
        rules = await at.ask("UPDATE bulkmig.queue_runs SET rules = 'other' RETURNING 'other'")
        assert rules == "other"
        stranger = await at.worker()
        refused = await stranger.ended()
        assert refused.status == 3
        assert "install the same bulkmig" in refused.document["hint"]
        await at.ask("UPDATE bulkmig.queue_runs SET rules = $1 RETURNING 1", digest())
        await at.worker()
        await at.judge(submitter)
