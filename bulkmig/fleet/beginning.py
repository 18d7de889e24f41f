"""What the commands that go through many vessels begin with."""

from __future__ import annotations

from collections.abc import Collection

import anyio

from bulkmig._core.memory import Memory
from bulkmig.config import Settings
from bulkmig.decide.fleet import After, Fleet, decide
from bulkmig.ends import Ends
from bulkmig.events import Listener, silent
from bulkmig.selection import Vessel
from bulkmig.target.state import TargetState
from bulkmig.workers import THREADS, Site


def site(settings: Settings, ends: Ends, listen: Listener = silent) -> Site:
    """What all workers of a command share."""
    return Site(
        ends.source,
        ends.target_address,
        ends.snapshot,
        Memory(settings.memory),
        settings.batch_bytes,
        anyio.CapacityLimiter(THREADS),
        ends.patience,
        listen,
    )


async def decided(
    settings: Settings,
    ends: Ends,
    vessels: list[Vessel],
    state: TargetState,
    *,
    on_error: str,
    companies: Collection[str] = (),
    after: After | None = None,
) -> Fleet:
    """Decides over the fleet for these vessels."""
    return await decide(
        ends.holder,
        ends.target,
        state,
        vessels,
        on_error=on_error,
        target_catalogue=ends.target_catalogue,
        source_catalogue=ends.source_catalogue,
        companies=companies,
        after=after,
    )
