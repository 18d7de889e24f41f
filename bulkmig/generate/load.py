"""Loads frames by COPY, one stream for each table, while the next ones are being generated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import anyio
from anyio.abc import TaskStatus
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from bulkmig.errors import UsageError
from bulkmig.generate.fleet import Fleet
from bulkmig.generate.frame import Frame
from bulkmig.generate.schema import add_enum_values, has_jsonb
from bulkmig.generate.session import connect
from bulkmig.generate.spec import FleetSpec, FleetSummary

_BYTES = 1 << 18  # of rows that wait to be sent together
# Keys are checked when a table's COPY ends, so the tables that others refer to end first.
_ORDER = (("companies",), ("users", "vessels"), ("equipment",), ("equipment_documents",))


async def generate_fleet(url: str, spec: FleetSpec) -> FleetSummary:
    """Fills an empty onboarding database with the fleet, and analyses it."""
    async with connect(url) as connection:
        if await connection.fetchval("SELECT EXISTS (SELECT FROM companies)"):
            raise UsageError("the onboarding database already holds a fleet", "generate into a new database")
        if spec.unknown_enums:
            await add_enum_values(connection)
        fleet = Fleet(spec, jsonb=await has_jsonb(connection))
    await load(url, fleet.frames())
    return fleet.summary()


async def load(url: str, frames: Iterable[Frame]) -> None:
    """Loads frames and analyses the database. A parent's frame comes before those of its children."""
    loader = _Loader(url)
    try:
        async with anyio.create_task_group() as tasks:
            for frame in frames:
                if len(frame):
                    if frame.table not in loader.streams:
                        await tasks.start(loader.copy, frame)
                    await loader.add(frame)
            await loader.finish()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # the first table that failed; the others were cancelled
    async with connect(url) as connection:
        await connection.execute("ANALYZE")


class _Stream:
    """The rows of one table on their way."""

    def __init__(self, outbox: MemoryObjectSendStream[bytes]) -> None:
        self.outbox = outbox
        self.waiting = bytearray()
        self.done = anyio.Event()

    async def flush(self) -> None:
        if self.waiting:
            await self.outbox.send(bytes(self.waiting))
            self.waiting.clear()


class _Loader:
    def __init__(self, url: str) -> None:
        self._url = url
        self.streams: dict[str, _Stream] = {}

    async def copy(self, first: Frame, *, task_status: TaskStatus[None]) -> None:
        """Copies a table's rows until its stream ends."""
        outbox, inbox = anyio.create_memory_object_stream[bytes](2)
        stream = self.streams[first.table] = _Stream(outbox)
        async with outbox, inbox, connect(self._url) as connection:
            task_status.started()
            await connection.copy_to_table(
                first.table,
                source=_blocks(inbox),
                columns=list(first.columns),
                format="text",
                encoding="utf8",
            )
        stream.done.set()

    async def add(self, frame: Frame) -> None:
        """Sends a frame on, or keeps it until there is more."""
        stream = self.streams[frame.table]
        stream.waiting += frame.encode()
        if len(stream.waiting) >= _BYTES:
            await stream.flush()

    async def finish(self) -> None:
        """Ends all streams, those that others refer to first."""
        for tables in (*_ORDER, tuple(self.streams)):
            ending = [self.streams[table] for table in tables if table in self.streams]
            for stream in ending:
                if not stream.done.is_set():
                    await stream.flush()
                    await stream.outbox.aclose()
            for stream in ending:
                await stream.done.wait()


async def _blocks(inbox: MemoryObjectReceiveStream[bytes]) -> AsyncIterator[bytes]:
    async for block in inbox:
        yield block
