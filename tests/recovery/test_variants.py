"""What holds of a plain migration that is killed holds with several processes, with set-wise foreign keys,
for retried quarantine, and for two runs of one fleet at once."""

from __future__ import annotations

import os
import signal

import asyncpg
import pytest

from tests.support.aftermath import left_behind, marks, until
from tests.support.programs import Ended, Program, program, sentences
from tests.support.proxy import PATIENCE, Proxy
from tests.support.workloads import Workload, Workloads, told

MARK = "COMMIT after INSERT bulkmig.vessels"


async def struck(work: Workload, occurrence: int, when: str, whom: str) -> None:
    """Kills processes of a run with two of them, at the commit of a vessel; then runs it again."""
    target = work.target()
    bystander = work.bystander(target)
    two = ("--processes", "2")
    async with bystander.watching():
        async with Proxy(target) as proxy:
            hold = (proxy.before if when == "before" else proxy.after)(MARK, occurrence)
            async with program(work.source, proxy.url, *work.command, *two) as started:
                await hold.reached()
                if whom == "a child":
                    os.kill(started.children()[0], signal.SIGKILL)
                    # Its COMMIT may be under way still: who counts waits for what becomes of it.
                    await waits_for_a_lock(target, started)
                    hold.release()
                    ended = await started.ended()
                    assert ended.status in (0, 1, 4), sentences([ended])
                    assert await told(ended, target) == []
                elif whom == "the parent":
                    await started.kill()
                    hold.release()
                    # Its children are nobody's now, and stop by themselves.
                    assert await left_behind(work.source, target) == []
        assert await left_behind(work.source, target) == []
        await work.again(target, *two)
    work.drop(target)


@pytest.mark.parametrize("whom", ["everyone", "the parent", "a child"])
@pytest.mark.parametrize(
    ("when", "occurrence"),
    [
        ("before", 2),
        *(pytest.param(*c, marks=pytest.mark.long) for c in (("before", 1), ("after", 1), ("after", 2))),
    ],
)
async def test_killed_among_two_processes_the_same_command_again_ends_undisturbed(
    workloads: Workloads, when: str, occurrence: int, whom: str
) -> None:
    """The whole group of processes is killed, or the parent alone, or a child alone."""
    await struck(await workloads("plain"), occurrence, when, whom)


@pytest.mark.parametrize(
    ("when", "key"),
    [
        ("after", "COPY equipment"),
        ("before", MARK),
        pytest.param("before", "INSERT bulkmig.vessels", marks=pytest.mark.long),
        pytest.param("after", MARK, marks=pytest.mark.long),
    ],
)
async def test_killed_with_triggers_off_the_same_command_again_ends_undisturbed(
    workloads: Workloads, when: str, key: str
) -> None:
    """`--fk-check set`: the session's triggers are off when it dies, and on for everybody else."""
    work = await workloads("set")
    target = work.target()
    async with work.bystander(target).watching():
        async with Proxy(target) as proxy:
            hold = (proxy.before if when == "before" else proxy.after)(key, 2)
            async with program(work.source, proxy.url, *work.command) as started:
                await hold.reached()
                await started.kill()
        await work.again(target)
    work.drop(target)


async def waits_for_a_lock(url: str, other: Program) -> None:
    """Waits until a session waits for an advisory lock. A run that ends before has not waited for it."""
    connection = await asyncpg.connect(url)
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"

    async def waits() -> bool:
        return not other.is_running or bool(await connection.fetchval(query))

    try:
        assert await until(waits, PATIENCE)
    finally:
        await connection.close()


AT_ONCE = {
    "as the ledger is made": "CREATE TABLE bulkmig.runs",
    "as companies are written": "COMMIT after UPDATE bulkmig.runs",
    "as a vessel is written": "COMMIT after INSERT bulkmig.vessels",
    "as waiting rows are loaded": "COMMIT after DELETE bulkmig.pending",
}


@pytest.mark.parametrize("key", AT_ONCE.values(), ids=AT_ONCE.keys())
async def test_two_runs_at_once_migrate_each_vessel_once(workloads: Workloads, key: str) -> None:
    """The first is held where it has locked something until the second waits for it, or is through."""
    work = await workloads("plain")
    target = work.target()
    async with work.bystander(target).watching(), Proxy(target) as proxy:
        hold = proxy.before(key)
        async with program(work.source, proxy.url, *work.command) as first:
            await hold.reached()
            async with program(work.source, target, *work.command) as second:
                await waits_for_a_lock(target, second)
                hold.release()
                both: list[Ended] = [await first.ended(), await second.ended()]
    assert [ended.status for ended in both] == [0, 0], sentences(both)
    vessels = work.ended.vessels
    assert sum(ended.vessels["done"] for ended in both) == vessels["done"]
    assert all(e.vessels["done"] + e.vessels["skipped"] == vessels["selected"] for e in both)
    found = await marks(target)
    for ended in both:
        assert len(found.of_run(ended.document["run_id"], "migrated")) == ended.vessels["done"]
    inserted = sum(e.document["rows"]["equipment"]["inserted"] for e in both)
    assert inserted == work.ended.document["rows"]["equipment"]["inserted"]
    await work.check(target)
    work.drop(target)
