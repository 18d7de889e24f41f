"""A database fails under a running migration: a session's backend is terminated, or the whole server stops at
once and comes back. The program may finish by trying again, or stop; it never says what is not so, and the
same command again finishes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from anyio import to_thread

from tests.support.aftermath import left_behind
from tests.support.programs import program, sentences
from tests.support.proxy import Hold, Moment, Proxy
from tests.support.workloads import Workload, Workloads, told

MARK = "COMMIT after INSERT bulkmig.vessels"
FINISHED, STOPPED = 0, (0, 1, 4)

# What the target is in the middle of.
INSTANTS: dict[str, Callable[[Proxy], Hold]] = {
    "amid a COPY": lambda proxy: proxy.amid("COPY equipment", 2),
    "before a COMMIT": lambda proxy: proxy.before(MARK, 2),
    "between a COMMIT and its answer": lambda proxy: proxy.after(MARK, 2),
    "before the companies' COMMIT": lambda proxy: proxy.before("COMMIT after UPDATE bulkmig.runs"),
    "between the companies' COMMIT and its answer": lambda proxy: proxy.after(
        "COMMIT after UPDATE bulkmig.runs"
    ),
    "between the waiting rows' COMMIT and its answer": lambda proxy: proxy.after(
        "COMMIT after DELETE bulkmig.pending"
    ),
    "between the run's end and its answer": lambda proxy: proxy.after("UPDATE bulkmig.runs", 2),
}


def copies_out(moment: Moment) -> bool:
    """A message of the source with rows of equipment."""
    text = moment.statement.text if moment.statement is not None else ""
    return moment.sender == "server" and moment.kind == "d" and "FROM equipment" in text


async def terminate(url: str, *pids: int) -> None:
    """Ends backends as an administrator does, and waits until they are gone."""
    connection = await asyncpg.connect(url)
    try:
        for pid in pids:
            await connection.fetchval("SELECT pg_terminate_backend($1, 10000)", pid)
    finally:
        await connection.close()


Blow = Callable[[Workload, Proxy, Proxy, Hold], Awaitable[None]]


async def the_session(work: Workload, source: Proxy, target: Proxy, hold: Hold) -> None:
    """The held session's own backend."""
    proxy = target if hold in target.holds else source
    await terminate(proxy.upstream, (await hold.reached()).pid)


async def all_of_the_target(work: Workload, source: Proxy, target: Proxy, hold: Hold) -> None:
    """All backends that the program has in the target."""
    await terminate(target.upstream, *(session.pid for session in target.sessions))


async def readers(work: Workload, source: Proxy, target: Proxy, hold: Hold) -> None:
    """All backends that read the source, but for the one that holds the snapshot."""
    await terminate(source.upstream, *(s.pid for s in source.sessions if s.number > 1))


async def holder(work: Workload, source: Proxy, target: Proxy, hold: Hold) -> None:
    """The backend that holds the source's snapshot."""
    await terminate(source.upstream, *(s.pid for s in source.sessions if s.number == 1))


async def server(work: Workload, source: Proxy, target: Proxy, hold: Hold) -> None:
    """The server of both databases: an immediate shutdown, as after a crash, and a start."""
    await to_thread.run_sync(work.server.stop, "immediate")
    await to_thread.run_sync(work.server.start)


async def struck(work: Workload, make_hold: Callable[[Proxy, Proxy], Hold], blow: Blow, *more: str) -> None:
    """Runs the command, deals the blow at the instant, and checks what the program says and leaves."""
    target = work.target()
    bystander = work.bystander(target)
    async with bystander.watching():
        async with Proxy(work.source) as left, Proxy(target) as right:
            hold = make_hold(left, right)
            async with program(left.url, right.url, *work.command, *more) as started:
                await hold.reached()
                await blow(work, left, right, hold)
                hold.drop() if hold.whole else hold.release()
                ended = await started.ended()
        assert ended.status in STOPPED, sentences([ended])
        lies = await told(ended, target)
        assert not lies, "\n".join([*lies, ended.said[-2000:]])
        assert await left_behind(work.source, target) == []
        await work.again(target)
    work.drop(target)


SHORT = [
    ("amid a COPY", the_session),
    ("before a COMMIT", all_of_the_target),
    ("between a COMMIT and its answer", the_session),
    ("before a COMMIT", readers),
    ("amid a COPY", holder),
]
LONG = [(instant, blow) for instant in INSTANTS for blow in (the_session, all_of_the_target, readers, holder)]


def name(value: object) -> str:
    return str(getattr(value, "__name__", value))


@pytest.mark.parametrize(
    ("instant", "blow"),
    [*SHORT, *(pytest.param(*case, marks=pytest.mark.long) for case in LONG if case not in SHORT)],
    ids=name,
)
async def test_when_backends_are_terminated_nothing_is_half_and_a_rerun_finishes(
    workloads: Workloads, instant: str, blow: Blow
) -> None:
    """Sessions on the target or on the source end at an instant of the target."""
    work = await workloads("plain")
    await struck(work, lambda _, target: INSTANTS[instant](target), blow)


async def test_when_the_source_ends_a_reader_amid_its_copy_a_rerun_finishes(workloads: Workloads) -> None:
    """The session that reads a vessel's equipment ends with half a row delivered."""
    work = await workloads("plain")
    await struck(work, lambda source, _: source.hold(copies_out, 2, half=True), the_session)


@pytest.mark.parametrize(
    "instant",
    [
        "amid a COPY",
        pytest.param("before a COMMIT", marks=pytest.mark.long),
        "between a COMMIT and its answer",
        *(pytest.param(i, marks=pytest.mark.long) for i in list(INSTANTS)[3:]),
    ],
)
async def test_when_the_server_crashes_and_comes_back_a_rerun_finishes(
    own_workloads: Workloads, instant: str
) -> None:
    """The whole server, with commits that were not on disk yet: none of them was reported as done."""
    work = await own_workloads("plain")
    await struck(work, lambda _, target: INSTANTS[instant](target), server)
