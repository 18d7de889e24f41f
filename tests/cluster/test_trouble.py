"""Whatever happens to workers, submitter or sessions: it finishes, and no vessel is written twice."""

from __future__ import annotations

import signal

import pytest

from bulkmig._core.program import digest
from tests.cluster.conftest import Make, places
from tests.cluster.scene import LARGE, SMALL, Scene, scene
from tests.support.aftermath import until
from tests.support.servers import Databases


async def worker_killed(at: Scene) -> None:
    """Killed with -9 in the middle of a job: another one takes the job when the heartbeat is over."""
    victim, _ = await at.worker(), await at.worker()
    submitter = await at.submitter()
    await at.busy(victim)
    await victim.kill()
    await at.judge(submitter)


async def worker_stopped(at: Scene) -> None:
    """Stopped past its heartbeat, in a vessel's transaction, and continued when others have its jobs."""
    victim = await at.worker()
    submitter = await at.submitter()
    await at.busy(victim)
    victim.send(signal.SIGSTOP)
    await at.worker()  # only now, so that there is something left for it

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
    await at.reached(0.2)
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
SHORT = [worker_stopped, everyone_killed]


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


@pytest.mark.long
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
