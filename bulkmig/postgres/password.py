"""Passwords from a command: asked for when a session is opened, kept for a moment, never passed on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import anyio
from anyio import to_thread

from bulkmig._core.ask import answer

_FRESH = 60.0  # seconds for which one answer serves all sessions: a run opens many at once


@dataclass
class PasswordCommand:
    """Yields the first line that a command prints. It is told for whom by BULKMIG_END (source or target),
    BULKMIG_HOST, BULKMIG_USER and BULKMIG_DATABASE."""

    line: str = field(repr=False)
    about: dict[str, str]
    _password: str | None = field(default=None, repr=False)
    _since: float | None = None
    _lock: anyio.Lock = field(default_factory=anyio.Lock, repr=False)

    async def __call__(self) -> str | None:
        """The password; None where the command prints nothing. Raises PreflightError."""
        async with self._lock:
            if self._since is None or time.monotonic() - self._since > _FRESH:
                said = await to_thread.run_sync(
                    answer, self.line, self.about, "password_command", abandon_on_cancel=True
                )
                self._password = (said.splitlines() or [""])[0] or None
                self._since = time.monotonic()
            return self._password
