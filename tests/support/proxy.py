"""A proxy between a program and a PostgreSQL server that makes trouble at an instant that a test chooses.

    async with Proxy(url) as proxy:
        hold = proxy.hold(writes("COPY equipment"), half=True)
        ...a program runs against proxy.url...
        await hold.reached()      # it is in the middle of its COPY, and stays there
        proxy.cut()

Every message is cut out of the stream, so trouble comes between two messages, or in the middle of one, and
the statement that a message belongs to is known. It runs in the test's event loop.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from tests.support import wire
from tests.support.wire import Frames, Statement, Transaction

Sender = Literal["program", "server"]
CHUNK = 64 * 1024
PATIENCE = 60.0  # seconds until a moment that never comes fails its test


@dataclass(frozen=True)
class Moment:
    """A whole message on its way. `kind` is its type byte, `statement` what it executes or answers,
    `size` its bytes."""

    session: Session
    sender: Sender
    kind: str
    statement: Statement | None
    size: int = 0


Test = Callable[[Moment], bool]


def executes(key: str, text: str = "") -> Test:
    """The program's message that makes the server begin with a statement of this key (and this text)."""
    return lambda m: m.sender == "program" and m.kind in "QE" and _is(m, key, text)


def answers(key: str, text: str = "") -> Test:
    """The server's message that says that it is done with a statement of this key (and this text), or has
    given as many of its rows as were asked for."""
    return lambda m: m.sender == "server" and m.kind in "Cs" and _is(m, key, text)


def copies(key: str) -> Test:
    """A message with rows of a COPY of this key."""
    return lambda m: m.kind == "d" and _is(m, key)


def _is(moment: Moment, key: str, text: str = "") -> bool:
    statement = moment.statement
    return statement is not None and statement.key == key and text in ("", statement.text)


class Hold:
    """Stops one session at a moment; all others go on. Made by `Proxy.hold`."""

    def __init__(self, test: Test, occurrence: int, *, half: bool, whole: bool) -> None:
        self.test, self.half, self.whole = test, half, whole
        self.moment: Moment | None = None
        self._left = occurrence
        self._reached, self._over = asyncio.Event(), asyncio.Event()
        self._dropped = False

    def meets(self, moment: Moment) -> bool:
        """Whether this is the moment; counts the earlier ones."""
        if self._left and self.test(moment):
            self._left -= 1
            if not self._left:
                self.moment = moment
                return True
        return False

    async def stay(self) -> bool:
        """Tells the test and waits for it; returns whether the session goes on."""
        self._reached.set()
        await self._over.wait()
        return not self._dropped

    @property
    def is_reached(self) -> bool:
        return self._reached.is_set()

    async def reached(self, patience: float = PATIENCE) -> Session:
        """Waits for the moment; returns the session that is held."""
        async with asyncio.timeout(patience):
            await self._reached.wait()
        assert self.moment is not None
        return self.moment.session

    async def reached_or(self, end: Coroutine[object, object, object]) -> bool:
        """Waits for the moment, or for an end that may come before; returns whether it is the moment."""
        waits = [asyncio.ensure_future(end), asyncio.ensure_future(self._reached.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return self.is_reached

    def release(self) -> None:
        """Lets the session go on as if nothing had happened."""
        self._over.set()

    def drop(self) -> None:
        """Closes the session; what was held back reaches nobody."""
        self._dropped = True
        self._over.set()


@dataclass
class Passed:
    """Bytes that one side has sent, over all sessions, and after how many the session is cut."""

    total: int = 0
    limit: int | None = None


class Session:
    """One connection through the proxy. `pid`: of the server's process, once known."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self.proxy, self.number = proxy, number
        self.pid = 0
        self.swallowing = False
        self._prepared: dict[str, str] = {}
        self._portals: dict[str, str] = {}
        self._transaction = Transaction(number)
        # What the server has to answer: statements, and None for a Sync.
        self._asked: deque[tuple[str, Statement | None]] = deque()
        self._copying: Statement | None = None
        self._withheld: tuple[Hold, list[bytes]] | None = None
        self._writers: dict[Sender, asyncio.StreamWriter] = {}

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries everything until one side is gone."""
        self._writers["server"] = writer  # what the server says goes to the program
        pumps: list[asyncio.Task[None]] = []
        ended: list[BaseException | None] = []
        try:
            with suppress(OSError):
                back, self._writers["program"] = await asyncio.open_connection(
                    self.proxy.host, self.proxy.server_port
                )
                pumps += [
                    asyncio.ensure_future(self._from_program(reader)),
                    asyncio.ensure_future(self._from_server(back)),
                ]
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            ended = await asyncio.gather(*pumps, return_exceptions=True)
            for writer in self._writers.values():
                writer.close()
            for writer in self._writers.values():
                with suppress(OSError, TimeoutError):
                    async with asyncio.timeout(1):
                        await writer.wait_closed()
            self.abort()
        for error in ended:
            if isinstance(error, Exception) and not isinstance(error, OSError):
                raise error

    def abort(self) -> None:
        """Cuts the connection on both sides, without a word."""
        for writer in self._writers.values():
            writer.transport.abort()

    async def _from_program(self, reader: asyncio.StreamReader) -> None:
        frames = Frames(typed=False)
        while data := await reader.read(CHUNK):
            if await self._lost_or_late():
                continue
            for kind, message in frames.feed(data):
                if not kind and wire.code(message) in (wire.SSL, wire.GSS):
                    self._writers["server"].write(b"N")
                    continue
                frames.typed = frames.typed or wire.code(message) == wire.STARTUP
                if not await self._pass_on("program", kind, message, self._asks(kind, message)):
                    return

    async def _from_server(self, reader: asyncio.StreamReader) -> None:
        frames = Frames(typed=True)
        while data := await reader.read(CHUNK):
            if await self._lost_or_late():
                continue
            for kind, message in frames.feed(data):
                if kind == "K":
                    self.pid = struct.unpack_from("!I", message, 5)[0]
                if not await self._pass_on("server", kind, message, self._is_answered(kind)):
                    return

    async def _lost_or_late(self) -> bool:
        if self.proxy.latency:
            await asyncio.sleep(self.proxy.latency)
        return self.swallowing or self.proxy.swallowing

    def _asks(self, kind: str, message: bytes) -> Statement | None:
        if kind == "Q":
            statement = self._transaction.execute(wire.texts(message, 1)[0])
            self._asked.append(("query", statement))
            self._copying = statement
            return statement
        if kind == "P":
            name, text = wire.texts(message, 2)
            self._prepared[name] = text
        elif kind == "B":
            portal, name = wire.texts(message, 2)
            self._portals[portal] = self._prepared.get(name, "")
        elif kind == "E":
            statement = self._transaction.execute(self._portals.get(wire.texts(message, 1)[0], ""))
            self._asked.append(("execute", statement))
            return statement
        elif kind == "S":
            self._asked.append(("sync", None))
        elif kind in ("d", "c", "f"):
            return self._copying
        return None

    def _is_answered(self, kind: str) -> Statement | None:
        if not self._asked:
            return None
        what, statement = self._asked[0]
        if kind in ("C", "I", "s") and what == "execute":
            self._asked.popleft()
        elif kind == "Z":
            while self._asked.popleft()[0] == "execute":
                pass
        return statement

    async def _pass_on(self, sender: Sender, kind: str, message: bytes, statement: Statement | None) -> bool:
        """Delivers a message, or stops before it; returns False where the session is over."""
        moment = Moment(self, sender, kind, statement, len(message))
        if self._withheld is not None and sender == "server":
            hold, kept = self._withheld
            kept.append(message)
            if kind != "Z":
                return True
            self._withheld = None
            return await hold.stay() and await self._deliver(sender, b"".join(kept))
        self.proxy.saw(moment)
        for hold in self.proxy.holds:
            if not hold.meets(moment):
                continue
            if hold.whole:
                self._withheld = hold, [message]
                return True
            if hold.half:
                first, message = message[: len(message) // 2], message[len(message) // 2 :]
                if not await self._deliver(sender, first):
                    return False
            if not await hold.stay():
                return False
        return await self._deliver(sender, message)

    async def _deliver(self, sender: Sender, data: bytes) -> bool:
        if self.swallowing or self.proxy.swallowing:
            return True
        passed, writer = self.proxy.passed[sender], self._writers[sender]
        room = len(data) if passed.limit is None else passed.limit - passed.total
        passed.total += len(data)
        try:
            writer.write(data[: max(room, 0)])
            await writer.drain()
        except OSError:
            return False
        if room < len(data):
            passed.limit = None  # once: later sessions live
            return False
        return True


@dataclass
class Proxy:
    """Between a program and the server at `upstream`. Times in seconds.

    `latency`: every piece of data waits so long, in both directions; `swallowing`: everything is taken and
    nothing passed on; `statements`: what programs have executed, in order; `passed`: bytes by sender."""

    upstream: str
    latency: float = 0.0
    swallowing: bool = False
    statements: list[Statement] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    watchers: list[Callable[[Moment], None]] = field(default_factory=list)
    passed: dict[Sender, Passed] = field(default_factory=lambda: {"program": Passed(), "server": Passed()})
    connections: int = 0

    def __post_init__(self) -> None:
        parts = urlsplit(self.upstream)
        self.host, self.server_port = parts.hostname or "127.0.0.1", parts.port or 5432
        self._port = 0
        self._listener: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], Session] = {}
        self._errors: list[BaseException] = []

    async def __aenter__(self) -> Self:
        await self.serve()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        self.cut()
        for hold in self.holds:
            hold.drop()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        if error is None and self._errors:
            raise self._errors[0]

    @property
    def url(self) -> str:
        """The server's address, through the proxy."""
        parts = urlsplit(self.upstream)
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return parts._replace(netloc=f"{user}127.0.0.1:{self._port}").geturl()

    @property
    def sessions(self) -> list[Session]:
        """Those that are open."""
        return list(self._sessions.values())

    async def serve(self) -> None:
        """Takes connections, on the same port each time."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Connections are refused from now on; those that are open stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def cut(self) -> None:
        """Cuts every open connection."""
        for session in self.sessions:
            session.abort()

    def cut_after(self, size: int, sender: Sender) -> None:
        """Cuts the connection on which the byte number `size` passes that this side sends, counted over all
        connections from the beginning."""
        self.passed[sender].limit = size

    def hold(self, test: Test, occurrence: int = 1, *, half: bool = False, whole: bool = False) -> Hold:
        """Stops the session whose message passes the test, the `occurrence`-th time: before it, or with half
        of it delivered (`half`), or, for a server's, with it and all that follows up to the moment when the
        server waits for the next statement held back (`whole`)."""
        made = Hold(test, occurrence, half=half, whole=whole)
        self.holds.append(made)
        return made

    def before(self, key: str, occurrence: int = 1, text: str = "") -> Hold:
        """Stops before the server gets the statement."""
        return self.hold(executes(key, text), occurrence)

    def amid(self, key: str, occurrence: int = 1) -> Hold:
        """Stops a COPY with part of its rows delivered."""
        return self.hold(copies(key), occurrence, half=True)

    def after(self, key: str, occurrence: int = 1, text: str = "") -> Hold:
        """Stops when the server has executed the statement, before the program hears of it."""
        return self.hold(answers(key, text), occurrence, whole=True)

    def saw(self, moment: Moment) -> None:
        """Records a message that is about to pass."""
        if moment.sender == "program" and moment.kind in ("Q", "E") and moment.statement is not None:
            self.statements.append(moment.statement)
        for watch in self.watchers:
            watch(moment)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        session = Session(self, self.connections)
        task = asyncio.ensure_future(session.run(reader, writer))
        self._sessions[task] = session
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sessions[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors.append(error)
