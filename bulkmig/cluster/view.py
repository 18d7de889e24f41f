"""What a worker sees of the source: the run's own snapshot where it can join it, else a later one.

The name of a snapshot means something on one server alone, and another server may have one of that name. So
after joining, what is seen is compared. Where the snapshot can't be joined (another server, or its holder is
gone), the worker takes one of its own, under two conditions: the server is of the run's cluster (system
identifier and database), and it has got as far as the run's snapshot (position in the write-ahead log), so
that it shows at least what the decisions were made on. Vessels read so are marked with what was seen, and
verified with the knowledge that the source may have moved on.
"""

from __future__ import annotations

import anyio
from msgspec import Struct

from bulkmig.errors import PreflightError
from bulkmig.postgres.again import Patience
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.session import SOURCE, Connection, close, reach
from bulkmig.source.onboarding import SnapshotGone, hold, join

_WHERE = """
SELECT current_database() || '@' || (SELECT system_identifier::text FROM pg_control_system()) AS source,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_insert_lsn() END::text AS position
"""
_REACHED = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_insert_lsn() END >= $1::text::pg_lsn
"""
_SEEN = "SELECT pg_current_snapshot()::text"
_LOOK_EVERY = 0.5  # seconds between two looks at a replica that is behind


class Place(Struct, frozen=True):
    """Which source, and how far it had got at least when the run's snapshot was taken."""

    source: str
    position: str


async def place(connection: Connection) -> Place:
    """Asked on the session that holds the snapshot, after it was taken."""
    row = await connection.fetchrow(_WHERE)
    assert row is not None
    return Place(row["source"], row["position"])


class View(Struct, frozen=True):
    """A snapshot that a worker's sessions join, and what it sees. `holder`: of one of the worker's own."""

    snapshot: str
    seen: str
    holder: Connection | None = None

    async def close(self) -> None:
        """Lets go of a snapshot of one's own."""
        if self.holder is not None:
            await close(self.holder)


async def shared(address: Address, patience: Patience, snapshot: str, seen: str) -> View:
    """The run's snapshot. Raises SnapshotGone where it can't be joined here."""
    connection = await reach(address, SOURCE, role="source", patience=patience)
    try:
        await join(connection, snapshot, index_paths_only=False)
        if await connection.fetchval(_SEEN) != seen:
            raise SnapshotGone("another server's snapshot has the name of the run's")
    finally:
        await close(connection)
    return View(snapshot, seen)


async def own(address: Address, patience: Patience, at: Place, *, wait: float) -> View:
    """A later snapshot, held by a session of the worker's. `wait`: for how many seconds a replica may be
    behind. Raises PreflightError where this is not the run's source, or has not got so far."""
    holder = await reach(address, SOURCE, role="source", patience=patience)
    try:
        found = await place(holder)
        if found.source != at.source:
            raise PreflightError(
                "the source of this worker is not the one that the run was decided on",
                "give every worker the same source, or a physical replica of it",
            )
        with anyio.move_on_after(wait):
            while not await holder.fetchval(_REACHED, at.position):  # noqa: ASYNC110 (a server moves)
                await anyio.sleep(_LOOK_EVERY)
        if not await holder.fetchval(_REACHED, at.position):
            raise PreflightError(
                f"the source of this worker is a replica that is more than {wait:.0f} s behind the run",
                "wait until it has caught up, or give the worker the primary",
            )
        snapshot, seen = await hold(holder)
        return View(snapshot, seen, holder)
    except BaseException:
        await close(holder)
        raise
