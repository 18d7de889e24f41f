"""Sessions on the Onboarding Portal: one holder of the snapshot, and readers that share it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bulkmig._core.declare import Entity
from bulkmig._core.unit import Catalogue
from bulkmig.errors import BulkmigError, PreflightError
from bulkmig.postgres.catalogue import BARRED, MISSING, read_catalogue, told
from bulkmig.postgres.session import Connection

# What SET TRANSACTION SNAPSHOT says, depending on the version and on how its holder went.
_NO_SNAPSHOT = {"22023", "42704", "55000"}
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

Sink = Callable[[bytes], Coroutine[Any, Any, None]]


class SnapshotGone(BulkmigError):
    """The session that held the source's snapshot is gone, and nobody else can join it any more."""


async def hold(connection: Connection) -> tuple[str, str]:
    """Begins the read-only transaction that holds the snapshot of the whole run; returns the snapshot's name,
    and what it sees, as `pg_current_snapshot()` prints it."""
    await connection.execute(_BEGIN)
    ((name, seen),) = await connection.fetch("SELECT pg_export_snapshot(), pg_current_snapshot()::text")
    return name, seen


async def join(connection: Connection, snapshot_name: str, *, index_paths_only: bool = True) -> None:
    """Makes a session see what the snapshot sees; for vessels' rows by index paths where it can. Raises
    SnapshotGone."""
    try:
        await connection.execute(_BEGIN)
        await connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot_name}'")
        # A nested loop over a child's index is what keeps the cost of a vessel independent of the fleet;
        # the planner would rather scan the child's whole table (docs/decisions/0004-extraction.md).
        if index_paths_only:
            await connection.execute("SET LOCAL enable_seqscan = off")
    except BaseException as error:
        connection.terminate()
        if getattr(error, "sqlstate", None) in _NO_SNAPSHOT:
            raise SnapshotGone(
                "the source's snapshot is gone", "the source was restarted: run the same command again"
            ) from error
        raise


async def copy_out(connection: Connection, query: str, sink: Sink) -> int:
    """Streams a query's rows as CSV; returns how many. Every call of `sink` gets whole rows and holds the
    server back; where it doesn't return, the session is gone."""

    returned = True

    async def guarded(data: bytes) -> None:
        nonlocal returned
        returned = False
        await sink(data)
        returned = True

    try:
        status: str = await connection.copy_from_query(query, output=guarded, format="csv")
    finally:
        if not returned:
            # asyncpg has asked the server to cancel and waits for its answer before anything else; where
            # these were the last rows, none comes.
            connection.terminate()
    return int(status.rpartition(" ")[2])


async def read_all(connection: Connection, query: str) -> bytes:
    """A small query's rows as CSV, at once."""
    chunks: list[bytes] = []

    async def keep(data: bytes) -> None:
        chunks.append(data)

    await copy_out(connection, query, keep)
    return b"".join(chunks)


async def catalogue(connection: Connection, entities: Sequence[Entity]) -> Catalogue:
    """The columns that the source really has. Raises PreflightError, naming every column that is missing or
    may not be read."""
    tables = {entity.source for entity in entities}
    found, unreadable = await read_catalogue(connection, sorted(tables))
    problems = []
    for entity in entities:
        if entity.source not in found:
            problems.append(f"table {entity.source} {MISSING}")
            continue
        columns = [column.name for column in entity.columns if not column.sql]
        faults = {name: MISSING for name in columns if name not in found[entity.source]}
        faults |= {name: f"{BARRED} read" for name in columns if (entity.source, name) in unreadable}
        problems += told(entity.source, columns, faults)
    if problems:
        raise PreflightError(
            "the source is not as bulkmig reads it: " + "; ".join(problems),
            "check the address and the schema, and GRANT SELECT on the tables named",
        )
    return found
