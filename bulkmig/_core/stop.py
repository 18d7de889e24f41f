"""A way to stop a run in good order from outside: a signal, a window's end, a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Stop:
    """`request` cancels what runs inside `scope`; what runs there rolls back and returns. After `drain`
    nothing new is started, and what has started is finished."""

    def __init__(self) -> None:
        self.requested = False
        self.draining = False
        self._scopes: list[anyio.CancelScope] = []
        self._before: anyio.CancelScope | None = None

    def request(self) -> None:
        """Asks for the end. May be called again, and before anything runs."""
        self.requested = True
        for scope in self._scopes:
            scope.cancel()
        if self._before is not None:
            self._before.cancel()

    @contextmanager
    def from_the_start(self) -> Iterator[None]:
        """Runs a whole command: as long as it has entered no `scope`, `request` cancels all of it, which then
        has nothing to report."""
        with anyio.CancelScope() as self._before:
            yield

    def drain(self) -> None:
        """Asks that nothing more be started."""
        self.draining = True

    @contextmanager
    def scope(self) -> Iterator[anyio.CancelScope]:
        """Runs a block that `request` cancels."""
        self._before = None  # from here on the command itself says how it ends
        with anyio.CancelScope() as scope:
            self._scopes.append(scope)
            if self.requested:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.remove(scope)
