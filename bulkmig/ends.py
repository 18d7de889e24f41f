"""Both ends of a run: its two long-lived sessions, opened anew when they are lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from msgspec import Struct

from bulkmig._core.unit import Catalogue
from bulkmig.postgres.again import Patience
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.session import DURABLE, SOURCE, Connection, close, connect, reach
from bulkmig.postgres.transient import transient
from bulkmig.source import onboarding

_SEEN = "SELECT pg_current_snapshot()::text"


class Ends(Struct):
    """`holder` keeps the run's source snapshot, whose name is `snapshot`; `seen` is what that sees, as
    `pg_current_snapshot()` prints it. `foreign`: the snapshot is another process's."""

    source: Address
    target_address: Address
    holder: Connection
    snapshot: str
    seen: str
    target: Connection
    patience: Patience
    foreign: bool = False
    ledger: int = 0  # the version of the target's
    source_catalogue: Catalogue = None  # type: ignore[assignment]  # known once both ends are open
    target_catalogue: Catalogue = None  # type: ignore[assignment]

    async def mend(self) -> set[str]:
        """Opens anew what is lost; returns which ends that were. A new session on the source has a new
        snapshot. Raises SnapshotGone where that is another process's to take, and what `reach` raises."""
        mended = set()
        if not await answers(self.target):
            self.target = await reach(
                self.target_address, DURABLE, role="target", patience=self.patience, instead_of=self.target
            )
            mended.add("target")
        if not await answers(self.holder):
            self.holder = await reach(
                self.source, SOURCE, role="source", patience=self.patience, instead_of=self.holder
            )
            if self.foreign:
                await onboarding.join(self.holder, self.snapshot, index_paths_only=False)
            else:
                self.snapshot, self.seen = await onboarding.hold(self.holder)
            mended.add("source")
        return mended


def worth_mending(error: BaseException) -> bool:
    """Whether a step of the whole run may succeed after `Ends.mend`."""
    return transient(error) or isinstance(error, onboarding.SnapshotGone)


@asynccontextmanager
async def opened(source: Address, target: Address, patience: Patience) -> AsyncIterator[Ends]:
    """Both ends at the start of a command. Raises PreflightError."""
    holder = await connect(source, SOURCE, role="source")
    try:
        snapshot, seen = await onboarding.hold(holder)
        connection = await connect(target, DURABLE, role="target")
    except BaseException:
        await close(holder)
        raise
    ends = Ends(source, target, holder, snapshot, seen, connection, patience)
    try:
        yield ends
    finally:
        await close(ends.target)
        await close(ends.holder)


@asynccontextmanager
async def joined(source: Address, target: Address, snapshot: str, patience: Patience) -> AsyncIterator[Ends]:
    """Both ends in a further process of a run. Raises SnapshotGone, and what `reach` raises."""

    async def hold(number: int) -> tuple[Connection, str]:
        holder = await reach(source, SOURCE, role="source", patience=patience)
        try:
            await onboarding.join(holder, snapshot, index_paths_only=False)
            return holder, await holder.fetchval(_SEEN)
        except BaseException:
            await close(holder)
            raise

    holder, seen = await patience.work("joining the run's snapshot", hold)
    try:
        connection = await reach(target, DURABLE, role="target", patience=patience)
    except BaseException:
        await close(holder)
        raise
    ends = Ends(source, target, holder, snapshot, seen, connection, patience, foreign=True)
    try:
        yield ends
    finally:
        await close(ends.target)
        await close(ends.holder)


async def answers(connection: Connection) -> bool:
    """Whether a session is good for another statement; else it is closed."""
    try:
        if not connection.is_closed():
            await connection.fetchval("SELECT 1")
            return True
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await close(connection)  # gone, or in a transaction that failed and its snapshot with it
    return False
