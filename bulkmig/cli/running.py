"""Runs a coroutine of the package under the command line: uvloop, and signals that stop it in good order."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from bulkmig._core import early
from bulkmig._core.stop import Stop
from bulkmig.errors import Stopped

SHOW_CURSOR = b"\x1b[?25h"
T = TypeVar("T")


def run(main: Callable[[Stop], Awaitable[T]]) -> T:
    """The first SIGINT or SIGTERM asks for an end in good order, the second one ends the process at once. So
    does a terminal that goes away ask, once or more often, unless it was told to leave the command alone.
    Raises Stopped where that ends a command that had not begun, or has no end of its own."""

    async def supervised() -> T:
        stop = Stop()
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, stop)
            try:
                with stop.from_the_start():
                    return await main(stop)
            finally:
                group.cancel_scope.cancel()
        raise Stopped("interrupted", "run the same command again to go on")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return anyio.run(supervised, backend_options={"use_uvloop": sys.platform != "win32"})
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # the event loop leaves Python's own


async def _watch(stop: Stop) -> None:
    hangs_up = [number for number in early.HANGUP if signal.getsignal(number) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *hangs_up) as signals:
        async for number in signals:
            if stop.requested and number not in hangs_up:
                if sys.stderr.isatty():
                    os.write(sys.stderr.fileno(), SHOW_CURSOR)  # progress may have hidden it
                os._exit(early.STOPPED)
            stop.request()
