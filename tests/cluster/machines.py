"""Machines of their own for workers: network namespaces, each with a cable to the servers that can be cut."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from tests.support.programs import Program, program

_numbers = itertools.count(1)


def why_not() -> str:
    """Why there can be no namespaces here; '' where there can."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "network namespaces need root and iproute2"
    name = f"bm{os.getpid()}probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode:
        return "this machine lets nobody make network namespaces"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return ""


@dataclass(frozen=True)
class Machine:
    """`source` and `target`: the addresses of both servers from there; `prefix` runs a command there."""

    source: str
    target: str
    prefix: tuple[str, ...] = ()
    cable: str = ""

    def worker(self, *options: str) -> AbstractAsyncContextManager[Program]:
        """A worker on this machine."""
        insecure = ["--allow-insecure"] if self.prefix else []
        return program(self.source, self.target, "worker", *insecure, *options, prefix=self.prefix)

    def cut(self) -> None:
        """Packets go nowhere any more, and nobody is told."""
        _ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        _ip("link", "set", self.cable, "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@asynccontextmanager
async def machines(count: int, source: str, target: str) -> AsyncIterator[list[Machine]]:
    """So many machines with a way to both servers; they are gone at the end."""
    made: list[Machine] = []
    names: list[str] = []
    relays: list[asyncio.Server] = []
    try:
        for _ in range(count):
            number = next(_numbers)
            name = f"bm{os.getpid()}n{number}"
            here, there = (
                f"10.213.{os.getpid() % 250}.{4 * number + 1}",
                f"10.213.{os.getpid() % 250}.{4 * number + 2}",
            )
            cable = f"bm{os.getpid() % 100000}h{number}"
            _ip("netns", "add", name)
            names.append(name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "up0", "netns", name)
            _ip("addr", "add", f"{here}/30", "dev", cable)
            _ip("link", "set", cable, "up")
            for words in (
                ("addr", "add", f"{there}/30", "dev", "up0"),
                ("link", "set", "up0", "up"),
                ("link", "set", "lo", "up"),
            ):
                _ip("-n", name, *words)
            urls = []
            for url in (source, target):
                parts = urlsplit(url)
                relay = await _relay(here, parts.hostname or "127.0.0.1", parts.port or 5432)
                relays.append(relay)
                port = relay.sockets[0].getsockname()[1]
                user = f"{parts.username}@" if parts.username else ""
                urls.append(
                    urlunsplit(parts._replace(netloc=f"{user}{here}:{port}", query="sslmode=disable"))
                )
            made.append(Machine(urls[0], urls[1], ("ip", "netns", "exec", name), cable))
        yield made
    finally:
        for relay in relays:
            relay.close()
        for name in names:
            _ip("netns", "del", name)


async def _relay(here: str, host: str, port: int) -> asyncio.Server:
    """Passes connections on to a server that listens on loopback alone."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, onward[1]), _pump(onward[0], writer))

    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    return await asyncio.start_server(pass_on, here, 0)


def plain(count: int, source: str, target: str) -> list[Machine]:
    """The same without namespaces: processes of this machine."""
    return [Machine(source, target)] * count
