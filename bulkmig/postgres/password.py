"""Passwords from a command: asked for when a session is opened, kept for a moment, never passed on."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from dataclasses import dataclass, field

import anyio

from bulkmig.errors import PreflightError, UsageError

_SECONDS = 30.0  # for the command: it may have to ask a vault
_FRESH = 60.0  # seconds for which one answer serves all sessions: a run opens many at once
_MOST = 64 * 1024  # bytes of an answer


@dataclass
class PasswordCommand:
    """Yields the first line that a command prints. It is started without a shell, and told for whom by
    BULKMIG_END (source or target), BULKMIG_HOST, BULKMIG_USER and BULKMIG_DATABASE."""

    line: str = field(repr=False)
    about: dict[str, str]
    _password: str | None = field(default=None, repr=False)
    _since: float = 0.0
    _lock: anyio.Lock = field(default_factory=anyio.Lock, repr=False)

    async def __call__(self) -> str | None:
        """The password; None where the command prints nothing. Raises PreflightError."""
        async with self._lock:
            if time.monotonic() - self._since > _FRESH or not self._since:
                self._password = await run(self.line, self.about, what="password_command")
                self._since = time.monotonic()
            return self._password


def words(line: str, what: str) -> list[str]:
    """A command's words, as a shell would split them. Raises UsageError."""
    try:
        found = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{what} can't be read: {error}", "quote it as for a shell") from None
    if not found:
        raise UsageError(f"{what} is empty", "name a program and its arguments")
    return found


async def run(line: str, about: dict[str, str], *, what: str) -> str | None:
    """The first line that the command prints. What it says on standard error is its own business: it goes
    nowhere. Raises PreflightError where it fails."""
    argv = words(line, what)
    try:
        with anyio.fail_after(_SECONDS):
            done = await anyio.run_process(
                argv,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
                env={**os.environ, **about},
            )
    except (OSError, ValueError) as error:
        raise PreflightError(
            f"{what} can't be started: {getattr(error, 'strerror', None) or type(error).__name__}",
            "name a program that is there, with its path",
        ) from None
    except TimeoutError:
        raise PreflightError(f"{what} took longer than {_SECONDS:.0f} s", "see why it waits") from None
    if done.returncode != 0:
        raise PreflightError(f"{what} ended with status {done.returncode}", "run it by hand to see why")
    try:
        lines = done.stdout[:_MOST].decode().splitlines()
    except UnicodeDecodeError:
        raise PreflightError(f"{what} printed something that is no text", "let it print UTF-8") from None
    return lines[0] if lines and lines[0] else None
