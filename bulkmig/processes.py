"""`--processes`: several side by side, each with a share of the vessels, all on one source snapshot.

The parent decides, writes companies and users, and finishes what lies between vessels; a child only ever
handles vessels. It gets its job through a pipe, never through its arguments, since the job holds addresses.
When the parent goes, by whatever way, the pipe closes and the child stops in good order.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing.connection import Connection as Pipe
from typing import Any

import anyio
import msgspec
import stamina
from anyio import to_thread
from msgspec import Struct, field

from bulkmig._core import discreet, early, streams
from bulkmig._core.stop import Stop
from bulkmig.between import Between
from bulkmig.config import Settings
from bulkmig.errors import BulkmigError
from bulkmig.events import Event, Listener, VesselFailed
from bulkmig.pipeline import first_error
from bulkmig.postgres.errors import describe
from bulkmig.postgres.transient import transient
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.vessel_load import Loaded

DRAIN, CANCEL = "drain", "cancel"
# Where each kind of job is carried out: a coroutine function of (job, vessels, listen, drain).
KINDS = {
    "migrate": "bulkmig.fleet.migrate:migrate_share",
    "sync": "bulkmig.sync.share:sync_share",
    "verify": "bulkmig.verification:verify_share",
    "assess": "bulkmig.assess:assess_share",
}


class Job(Struct):
    """A child's share of a run. `refused`: companies that the target refused, with the reason; `due`: all
    vessels of the run, `companies`: theirs; `same_snapshot`: as for `Weigher`; `imo_taken`: as for
    `Decisions`, of a verification; `plan`: what a sync has decided over the fleet (`cluster/plan.py`);
    `sent`: when it was handed over, by the machine's clock that only goes forward."""

    kind: str
    settings: Settings
    snapshot: str
    run_id: str
    refused: dict[str, str] = field(default_factory=dict)
    due: frozenset[str] = frozenset()
    companies: frozenset[str] = frozenset()
    same_snapshot: bool = False
    imo_taken: frozenset[str] = frozenset()
    plan: tuple[bytes, bytes] = (b"", b"")
    sent: float = 0.0


class Share(Struct):
    """What a process did: its figures, and of a migration which vessels; `behind`: vessels that it has
    verified; `ended`: vessels of which it is known what became of them; `renew`: what is left needs a new
    snapshot of the source; `between`: what an assessment leaves to be told."""

    report: Report
    done: list[Loaded] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    behind: set[str] = field(default_factory=set)
    renew: bool = False
    between: Between | None = None


Work = Callable[[Job, list[Vessel], Listener, Stop], Coroutine[Any, Any, Share]]


def shares(vessels: Sequence[Vessel], count: int) -> list[list[Vessel]]:
    """Deals vessels out, largest first, each to the share that has least so far; each share keeps the order
    that they came in."""
    dealt: list[list[Vessel]] = [[] for _ in range(count)]
    load = [0] * count
    for vessel in sorted(vessels, key=lambda vessel: (-vessel.equipment, vessel.id)):
        least = load.index(min(load))
        dealt[least].append(vessel)
        load[least] += vessel.equipment + 1
    place = {vessel.id: n for n, vessel in enumerate(vessels)}
    return [sorted(share, key=lambda vessel: place[vessel.id]) for share in dealt if share]


async def spread(
    job: Job,
    vessels: Sequence[Vessel],
    collect: Callable[[Share], None],
    listen: Listener,
    *,
    continue_on_error: bool = True,
) -> None:
    """Runs a job over several processes; `collect` gets what each did, also when all are stopped half-way.
    Raises what a child raises. Without `continue_on_error` a failed vessel keeps all processes from starting
    further ones."""
    settings = job.settings
    job.settings = msgspec.structs.replace(
        settings,
        processes=1,
        memory=max(settings.memory // settings.processes, 1024 * 1024),
        max_rows_per_second=_share(settings.max_rows_per_second, settings.processes),
    )
    children = _Children(job, collect, listen, continue_on_error)
    try:
        await _all(children.follow, shares(vessels, settings.processes))
    except BaseExceptionGroup as errors:
        cause = first_error(errors)
        raise cause from cause.__cause__  # which tells whether it may pass


class _Children(Struct):
    """The processes under way, each with a pipe to it."""

    job: Job
    collect: Callable[[Share], None]
    listen: Listener
    continue_on_error: bool
    pipes: list[Pipe] = field(default_factory=list)

    async def follow(self, share: list[Vessel]) -> None:
        """Starts one for these vessels, and is done when it is."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        job = msgspec.structs.replace(self.job, sent=time.monotonic())
        process = context.Process(target=_child, args=(job, share, theirs), daemon=True)
        with _no_signals():
            process.start()
        theirs.close()
        self.pipes.append(ours)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_pass_on_cancellation, ours)
                # What the child did by then counts, so its last word is waited for in any case.
                with anyio.CancelScope(shield=True):
                    self.collect(await _follow(ours, self._heard))
                group.cancel_scope.cancel()
        finally:
            self.pipes.remove(ours)
            ours.close()
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(process.join)

    def _heard(self, event: Event) -> None:
        self.listen(event)
        if isinstance(event, VesselFailed) and not self.continue_on_error:
            for pipe in self.pipes:
                pipe.send(DRAIN)


async def _pass_on_cancellation(pipe: Pipe) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        with suppress(OSError):
            pipe.send(CANCEL)


@contextmanager
def _no_signals() -> Iterator[None]:
    """Holds back a terminal's signals, also from processes started meanwhile, not imported yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _all(
    follow: Callable[[list[Vessel]], Coroutine[Any, Any, None]], dealt: list[list[Vessel]]
) -> None:
    async with anyio.create_task_group() as group:
        for share in dealt:
            group.start_soon(follow, share)


def _share(limit: int | None, count: int) -> int | None:
    return None if limit is None else max(limit // count, 1)


async def _follow(pipe: Pipe, heard: Listener) -> Share:
    while True:
        try:
            message = await to_thread.run_sync(pipe.recv)
        except EOFError:
            raise BulkmigError("a process of the run died", "run the same command again to go on") from None
        if isinstance(message, Event):
            heard(message)
        elif isinstance(message, BaseException):
            raise message
        else:
            share: Share = message
            return share


def _child(job: Job, vessels: list[Vessel], pipe: Pipe) -> None:
    """The whole life of a child. Signals are the parent's to answer: it closes the pipe."""
    for number in (signal.SIGINT, signal.SIGTERM, *early.HANGUP):
        signal.signal(number, signal.SIG_IGN)
    early.imported()
    streams.install()
    discreet.install()
    stamina.instrumentation.set_on_retry_hooks([])  # standard output is the parent's; it hears of retries
    try:
        result: object = anyio.run(
            _work, job, vessels, pipe, backend_options={"use_uvloop": sys.platform != "win32"}
        )
    except Exception as error:
        # Its cause stays here, so what may pass must have been tried again by now.
        again = "run the same command again to go on" if transient(error) else ""
        result = error if isinstance(error, BulkmigError) else BulkmigError(describe(error), again)
    try:
        pipe.send(result)
    except OSError:
        return  # the parent is gone, and with it everyone who wanted to know


def begun(job: Job, now: float) -> Settings:
    """How a job's process works once it has begun, which has taken some of the window."""
    window = job.settings.window
    if window is None:
        return job.settings
    return msgspec.structs.replace(job.settings, window=max(window - (now - job.sent), 0.0))


async def _work(job: Job, vessels: list[Vessel], pipe: Pipe) -> Share:
    module, _, name = KINDS[job.kind].partition(":")
    work: Work = getattr(import_module(module), name)
    stop = Stop()
    job.settings = begun(job, time.monotonic())
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_obey, pipe, stop)
            share = await work(job, vessels, pipe.send, stop)
            group.cancel_scope.cancel()
    except BaseExceptionGroup as errors:
        cause = first_error(errors)
        raise cause from cause.__cause__  # which tells whether it may pass
    return share


async def _obey(pipe: Pipe, stop: Stop) -> None:
    """Waits for the parent's word: to start nothing more, or (also by its end) to stop."""
    while not stop.requested:
        try:
            word = await to_thread.run_sync(pipe.recv, abandon_on_cancel=True)
        except (EOFError, OSError):
            word = CANCEL
        if word == DRAIN:
            stop.drain()
        else:
            stop.request()
