"""bulkmig in processes of its own, to be killed, and what they said by their end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.support import cores, warm
from tests.support.canaries import in_text

LIMIT = 100.0  # seconds: no run of these tests takes a fraction of it
_PAUSE = 0.005  # seconds


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (negative: the signal that killed it), the JSON document where it
    printed one, and the events it logged."""

    status: int
    document: dict[str, Any]
    events: list[dict[str, Any]]
    said: str

    @property
    def vessels(self) -> dict[str, int]:
        """The document's figures of vessels."""
        found: dict[str, int] = self.document["vessels"]
        return found

    def ids(self, event: str) -> list[str]:
        """The vessels of all events of a kind, as in "vessel done"."""
        return [e["vessel_id"] for e in self.events if e.get("event") == event]


class Program:
    """A running bulkmig."""

    def __init__(
        self, process: asyncio.subprocess.Process | warm.Forked, out: IO[bytes], err: IO[bytes]
    ) -> None:
        self._process, self._out, self._err = process, out, err
        self._heard, self._phase = 0, ""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    def children(self) -> list[int]:
        """The processes that it has started and that do its work."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                words = path.read_text().rpartition(")")[2].split()
                if int(words[1]) == self.pid and b"spawn_main" in path.with_name("cmdline").read_bytes():
                    found.append(int(path.parent.name))
        return sorted(found)

    @property
    def phase(self) -> str:
        """The phase that it has said it is in; it says so before it does anything in it."""
        said = os.pread(self._err.fileno(), 1 << 20, self._heard)
        complete = said[: said.rfind(b"\n") + 1]
        self._heard += len(complete)
        for line in complete.splitlines():
            if b'"phase started"' in line:
                self._phase = json.loads(line)["phase"]
        return self._phase

    @property
    def printed(self) -> str:
        """What it has written to standard output so far."""
        return os.pread(self._out.fileno(), 1 << 20, 0).decode(errors="replace")

    def catches(self, number: int) -> bool:
        """Whether it has a handler of its own for a signal."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii", errors="replace")
        caught = re.search(r"^SigCgt:\s+([0-9a-f]+)", status, re.M)
        return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)

    async def until(self, holds: Callable[[], bool], limit: float = LIMIT) -> None:
        """Waits until that holds of it, or it has ended. Raises TimeoutError, with what it has said, where
        neither comes."""
        clock = asyncio.get_running_loop()
        end = clock.time() + limit
        while self.is_running and not holds():
            if clock.time() > end:
                raise TimeoutError(f"still not so after {limit} s:\n{self._read(self._err)}")
            await asyncio.sleep(_PAUSE)  # another process tells nobody

    def send(self, number: int) -> None:
        """Sends the process a signal."""
        self._process.send_signal(number)

    async def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends the process a signal and waits for its end."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        await self._process.wait()

    async def ended(self, limit: float = LIMIT) -> Ended:
        """Waits for its end. Raises TimeoutError, with what it has said, where that doesn't come."""
        try:
            async with asyncio.timeout(limit):
                await self._process.wait()
        except TimeoutError:
            raise TimeoutError(f"still running after {limit} s:\n{self._read(self._err)}") from None
        out, said = self._read(self._out), self._read(self._err)
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        status = self._process.returncode
        assert status is not None
        return Ended(status, json.loads(out) if out.strip() else {}, events, said)

    @staticmethod
    def _read(file: IO[bytes]) -> str:
        file.seek(0)
        return file.read().decode(errors="replace")


@asynccontextmanager
async def program(
    source: str,
    target: str,
    *arguments: str,
    prefix: Sequence[str] = (),
    cold: bool = False,
    **environment: str,
) -> AsyncIterator[Program]:
    """Starts `bulkmig` with these arguments, at its most talkative; at the end of the block it and its
    children are gone, and nothing that it said until then holds a canary. `cold`: with its imports before it,
    which it has behind it otherwise (`warm.py`). `prefix`: a command that turns into it (it starts cold), as
    `ip netns exec NAME` does."""
    variables = {**os.environ, "ONBOARDING_DB_URL": source, "MAINTENANCE_DB_URL": target, **environment}
    words = (*arguments, "--json", "--log-format", "json", "--log-level", "debug")
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process: asyncio.subprocess.Process | warm.Forked
        if warm.POSSIBLE and not prefix and not cold:
            process = await warm.start(words, variables, out, err)
        else:
            with cores.all_of_them():
                process = await asyncio.create_subprocess_exec(
                    *(*prefix, sys.executable, "-m", "bulkmig", *words),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=variables,
                    start_new_session=True,
                )
        try:
            yield Program(process, out, err)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        for file in (out, err):
            assert not in_text(Program._read(file))


async def said(
    *words: str,
    environment: Mapping[str, str] | None = None,
    main: str = "bulkmig.cli",
    where: Path = warm.CHECKOUT,
    directory: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs `bulkmig` to its end with these words and no others, whatever its status. `environment`: what its
    own has beside this one's; the rest is as in `warm.start`."""
    variables = {**os.environ, **(environment or {})}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process: asyncio.subprocess.Process | warm.Forked
        if warm.POSSIBLE:
            process = await warm.start(
                words, variables, out, err, directory=directory, main=main, where=where
            )
        else:
            module = main if main != "bulkmig.cli" else "bulkmig"
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=directory,
                env={**variables, "PYTHONPATH": f"{where}{os.pathsep}{warm.CHECKOUT}"},
            )
        status = await process.wait()
        return subprocess.CompletedProcess(words, status, Program._read(out), Program._read(err))


async def run(source: str, target: str, *arguments: str) -> Ended:
    """Runs `bulkmig` to its end."""
    async with program(source, target, *arguments) as started:
        return await started.ended()


def sentences(ended: Sequence[Ended]) -> str:
    """What processes said, for a message of a test that fails."""
    return "\n".join(f"status {one.status}:\n{one.said[-2000:]}" for one in ended)
