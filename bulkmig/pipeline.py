"""One unit of work from source to sink: three actors and two small channels.

    extract ──[raw batches: 1]──▶ validate + transform ──[parcels: 1]──▶ sink

Each channel holds one batch: enough that both databases and the program work at the same time, and no
more, since the byte budget is what bounds memory. A batch's lease is taken before its rows are read and
given back when the sink is done with it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Protocol

import anyio
import polars as pl
from anyio import to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import Struct, field

from bulkmig._core.budget import ByteBudget, Lease
from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Unit
from bulkmig.config import EXPANSION
from bulkmig.postgres.session import Connection
from bulkmig.source import queries
from bulkmig.source.onboarding import copy_out
from bulkmig.transform import Outcome, transform
from bulkmig.units import bound_together


class Sink(Protocol):
    """Where parcels end: a loader, a verifier, or a collector of findings.

    `look_up` may add to the unit before an entity's batch is transformed; `pack` runs in a worker thread and
    makes parcels of what a batch became; `accept` gets them in order, `finish` is called once, at the end."""

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None: ...
    def pack(self, outcome: Outcome) -> list[Parcel]: ...
    async def accept(self, parcel: Parcel) -> None: ...
    async def finish(self) -> None: ...


class Batch(Struct):
    """CSV rows of one entity. `first`, `last`: none came before, none follow. `lease`: None where the unit
    has one."""

    entity: Entity
    data: bytes
    first: bool
    last: bool
    lease: Lease | None


class Tally(Struct):
    """What a unit's rows amounted to: rows read per source table, losses per code, statistics, busy seconds
    per phase."""

    read: Counter[str] = field(default_factory=Counter)
    lossiness: Counter[str] = field(default_factory=Counter)
    stats: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


class Line(Struct, frozen=True):
    """What a pipeline needs besides its unit and its sink."""

    source: Connection
    entities: Sequence[Entity]
    flow: ByteBudget
    batch_bytes: int
    threads: anyio.CapacityLimiter


class UnitTooLarge(Exception):
    """Several vessels that were estimated to fit one batch together don't: take them one by one."""


Parcels = tuple[list[Parcel], Lease | None]


async def run(line: Line, unit: Unit, sink: Sink) -> Tally:
    """Streams every table of the unit's vessels into the sink. Raises what an actor raises, unwrapped.

    One vessel streams: every batch has its own lease. Several vessels share one lease, because their rows
    are held until each vessel can be loaded in turn; raises UnitTooLarge where they don't fit it."""
    tally = Tally()
    leases = _Leases(line.flow)
    streaming = len(unit.vessels) == 1
    if not streaming:
        await leases.take(line.batch_bytes * EXPANSION)
    raw_out, raw_in = anyio.create_memory_object_stream[Batch](1)
    parcel_out, parcel_in = anyio.create_memory_object_stream[Parcels](1)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_extract, line, unit, leases if streaming else None, raw_out, tally)
            group.start_soon(_transform, line, unit, sink, raw_in, parcel_out, tally)
            group.start_soon(_deliver, sink, parcel_in, tally)
    except BaseExceptionGroup as errors:
        cause = first_error(errors)
        raise cause from cause.__cause__  # which tells whether it may pass
    finally:
        # Also those of batches that were still in a channel when an actor failed.
        leases.release()
    return tally


class _Leases:
    """The leases of one pipeline, so that none outlives it."""

    def __init__(self, flow: ByteBudget) -> None:
        self._flow = flow
        self._taken: list[Lease] = []

    async def take(self, size: int) -> Lease:
        self._taken = [lease for lease in self._taken if lease.size]
        lease = await self._flow.lease(size)
        self._taken.append(lease)
        return lease

    def release(self) -> None:
        for lease in self._taken:
            lease.release()


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The cause among the errors of a task group: the first that is not a mere consequence."""
    flat = [
        first_error(error) if isinstance(error, BaseExceptionGroup) else error for error in errors.exceptions
    ]
    consequences = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.get_cancelled_exc_class())
    return next((error for error in flat if not isinstance(error, consequences)), flat[0])


async def _extract(
    line: Line, unit: Unit, leases: _Leases | None, out: MemoryObjectSendStream[Batch], tally: Tally
) -> None:
    async with out:
        reader = _Reader(line, leases, out, tally)
        for entity in line.entities:
            if not (vessels := unit.reads(entity.name)):
                continue
            reader.first = True
            await reader.open(entity)
            await copy_out(line.source, queries.for_vessels(entity, vessels), reader.take)
            await reader.send(last=True)


class _Reader:
    """Cuts a table's CSV into batches; while a batch waits for memory or for its turn, the server waits."""

    def __init__(
        self, line: Line, leases: _Leases | None, out: MemoryObjectSendStream[Batch], tally: Tally
    ) -> None:
        self.line, self.leases, self.out, self.tally = line, leases, out, tally
        self.entity: Entity = line.entities[0]
        self.chunks: list[bytes] = []
        self.size = 0
        self.total = 0
        self.first = True
        self.lease: Lease | None = None
        self.since = 0.0

    async def open(self, entity: Entity) -> None:
        """Takes the next batch's lease before any of its rows is read."""
        self.entity = entity
        if self.leases is not None:
            self.lease = await self.leases.take(self.line.batch_bytes * EXPANSION)
        self.since = time.perf_counter()

    async def take(self, data: bytes) -> None:
        """COPY's callback: whole rows. Not returning is what holds the server back. A tree is never cut:
        whether a parent is missing shows only when all of it is there."""
        self.chunks.append(data)
        self.size += len(data)
        self.total += len(data)
        if self.leases is None:
            if self.total > bound_together(self.line.batch_bytes):
                raise UnitTooLarge
        elif self.size >= self.line.batch_bytes and not self.entity.ancestors:
            await self.send(last=False)
            await self.open(self.entity)

    async def send(self, *, last: bool) -> None:
        """Hands the batch on, its lease adjusted to what was really read."""
        self.tally.seconds["extract"] += time.perf_counter() - self.since
        lease, self.lease = self.lease, None
        if lease is not None and self.leases is not None:
            needed = self.size * EXPANSION
            if needed > lease.size:
                # A row larger than a batch. Given back first, so that nobody waits while holding.
                lease.release()
                lease = await self.leases.take(needed)
            else:
                lease.shrink(needed)
        data, self.chunks, self.size = b"".join(self.chunks), [], 0
        await self.out.send(Batch(self.entity, data, self.first, last, lease))
        self.first = False


async def _transform(
    line: Line,
    unit: Unit,
    sink: Sink,
    inbox: MemoryObjectReceiveStream[Batch],
    out: MemoryObjectSendStream[Parcels],
    tally: Tally,
) -> None:
    async with inbox, out:
        async for batch in inbox:
            made = await _work(line, batch, unit, sink, tally)
            await out.send((made, batch.lease))


async def _work(line: Line, batch: Batch, unit: Unit, sink: Sink, tally: Tally) -> list[Parcel]:
    columns = queries.columns(batch.entity)
    made: list[Parcel] = []
    if batch.data:
        frame = await to_thread.run_sync(from_csv, batch.data, columns, limiter=line.threads)
        batch.data = b""
        await sink.look_up(batch.entity, frame)
        made = await to_thread.run_sync(
            _transform_batch, batch.entity, frame, unit, sink, tally, limiter=line.threads
        )
        for parcel in made:
            parcel.whole = batch.first and batch.last
    if batch.last and batch.entity.late_rules is not None:
        late = batch.entity.late_rules(unit)
        if late.height:
            none = transform(batch.entity, from_csv(b"", columns), unit)
            none.findings = late
            made += sink.pack(none)
    return made


def _transform_batch(
    entity: Entity, frame: pl.DataFrame, unit: Unit, sink: Sink, tally: Tally
) -> list[Parcel]:
    outcome = transform(entity, frame, unit)
    started = time.perf_counter()
    made = sink.pack(outcome)
    tally.seconds["validate"] += outcome.validate_seconds
    tally.seconds["transform"] += outcome.transform_seconds + time.perf_counter() - started
    tally.read[entity.source] += outcome.rows
    tally.lossiness.update(outcome.lossiness)
    tally.stats.update(outcome.stats)
    return made


async def _deliver(sink: Sink, inbox: MemoryObjectReceiveStream[Parcels], tally: Tally) -> None:
    async with inbox:
        async for made, lease in inbox:
            for parcel in made:
                await sink.accept(parcel)
            if lease is not None:
                lease.release()
        await sink.finish()
