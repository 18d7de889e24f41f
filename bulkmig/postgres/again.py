"""Another attempt at what is worth one: the only place where bulkmig tries anything again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina
from msgspec import Struct

from bulkmig.postgres.transient import transient

T = TypeVar("T")
Tell = Callable[[str, int, BaseException], None]

# Seconds between attempts: doubled up to the cap, each with a random addition so that workers spread out.
FIRST_WAIT = 0.1
LONGEST_WAIT = 5.0
LONGEST_WAIT_FOR_SERVER = 2.0
JITTER = 0.5


def _silent(what: str, attempt: int, error: BaseException) -> None:
    """Nobody watches."""


class Patience(Struct, frozen=True):
    """How often work is tried (`attempts`), and how many seconds a server may be away (`outage`). `tell`
    hears of every failure that is followed by another attempt."""

    attempts: int = 5
    outage: float = 60.0
    tell: Tell = _silent

    async def work(
        self,
        what: str,
        work: Callable[[int], Awaitable[T]],
        *,
        worth: Callable[[BaseException], bool] = transient,
        go: Callable[[], bool] = lambda: True,
    ) -> T:
        """Calls `work` with 1, 2, … until it succeeds, up to `attempts`; raises what the last call raises.
        `worth`: which errors are worth another attempt; `go` is asked before each of these."""
        attempt = 0

        def again(error: Exception) -> bool:
            if not (worth(error) and go()):
                return False
            if attempt < self.attempts:
                self.tell(what, attempt, error)
            return True

        async for trial in stamina.retry_context(
            on=again,
            attempts=self.attempts,
            timeout=None,
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT,
            wait_jitter=JITTER,
        ):
            with trial:
                attempt = trial.num
                return await work(attempt)
        raise AssertionError("unreachable")

    async def server(self, what: str, open_: Callable[[], Awaitable[T]]) -> T:
        """Calls `open_` until it succeeds, for as long as an outage may last; raises what the last call
        raises."""
        told = False

        def again(error: Exception) -> bool:
            nonlocal told
            worth = transient(error)
            if worth and not told:
                told = True
                self.tell(what, 1, error)
            return worth

        async for trial in stamina.retry_context(
            on=again,
            attempts=None,
            timeout=max(self.outage, 0.001),  # 0 is refused
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT_FOR_SERVER,
            wait_jitter=JITTER,
        ):
            with trial:
                return await open_()
        raise AssertionError("unreachable")
