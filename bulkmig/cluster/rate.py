"""The fleet-wide limit of rows a second: one row of the target that all workers draw time from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from aiolimiter import AsyncLimiter

from bulkmig.postgres.session import Connection

# A virtual clock: rows are paid for with the seconds that they take at the run's rate, and may not be paid
# for more than a second in arrears. What a dead worker has paid for is lost, so the limit holds in any case.
_DRAW = """
UPDATE bulkmig.queue_rates
   SET paid_until = greatest(paid_until, clock_timestamp()) + make_interval(secs => $2::float8)
 WHERE run_id = $1::text::uuid
RETURNING greatest(extract(epoch FROM paid_until - clock_timestamp())::float8 - $2::float8, 0)
"""


async def draw(connection: Connection, run_id: str, seconds: float) -> float:
    """Draws so much of the run's time; returns how many seconds to wait before it begins."""
    return float(await connection.fetchval(_DRAW, run_id, seconds) or 0.0)


class Rate:
    """The run's limit and this worker's own, either of which may be missing; used as an AsyncLimiter is."""

    def __init__(
        self,
        drawing: Callable[[float], Awaitable[float]],
        fleet: int | None,
        own: int | None,
    ) -> None:
        self._drawing, self._fleet = drawing, fleet
        self._own = AsyncLimiter(own, 1) if own else None
        self.rate = float(min(limit for limit in (fleet, own) if limit))

    @property
    def max_rate(self) -> float:
        """Rows that may be asked for at once."""
        return self.rate

    async def acquire(self, amount: float = 1) -> None:
        """Waits until so many rows may go."""
        if self._own is not None:
            await self._own.acquire(amount)
        if self._fleet:
            await anyio.sleep(await self._drawing(amount / self._fleet))


def limited(drawing: Callable[[float], Awaitable[float]], fleet: int | None, own: int | None) -> Rate | None:
    """None where there is no limit."""
    return Rate(drawing, fleet, own) if fleet or own else None
