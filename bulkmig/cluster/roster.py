"""Which workers there are, and the end of those that are silent: what is left of them on the servers goes,
so that nothing of theirs holds a lock, a connection or a half-written vessel any more."""

from __future__ import annotations

import os
import platform
from typing import Any
from uuid import UUID

import anyio
from msgspec import Struct

from bulkmig._version import __version__
from bulkmig.postgres.session import Connection

# The names of a worker's sessions end in its tag.
SOURCE_NAME, TARGET_NAME, QUEUE_NAME = "bulkmig source", "bulkmig target", "bulkmig queue"
_LOOKS, _PAUSE = 250, 0.02  # how often, and seconds between, to see whether a session has ended

_ENROL = """
INSERT INTO bulkmig.queue_workers (id, tag, state, host, pid, version)
VALUES ($1, $2, 'on', $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET state = 'on', seen_at = clock_timestamp()
"""
_SEEN = """
UPDATE bulkmig.queue_workers SET seen_at = now(), state = 'on', run_id = $2::text::uuid WHERE id = $1
"""
_END = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE pid <> pg_backend_pid() AND application_name = ANY ($1::text[])
"""
_LOST = "UPDATE bulkmig.queue_workers SET state = 'lost' WHERE tag = ANY ($1::text[])"
_OFF = "UPDATE bulkmig.queue_workers SET state = 'off', seen_at = now(), run_id = NULL WHERE id = $1"
_AT_WORK = """
SELECT count(*) FROM bulkmig.queue_workers
 WHERE run_id = $1::text::uuid AND state = 'on' AND seen_at >= clock_timestamp() - make_interval(secs => $2)
"""
_HOLDING = """
SELECT DISTINCT w.tag FROM bulkmig.queue_workers w JOIN bulkmig.pgqueuer j ON j.queue_manager_id = w.id
 WHERE j.entrypoint = $1 AND j.status = 'picked'
"""
_LIST = """
SELECT tag, CASE WHEN state = 'on' AND w.seen_at < clock_timestamp() - make_interval(secs =>
            coalesce((SELECT heartbeat FROM bulkmig.queue_runs r WHERE r.run_id = w.run_id), 30))
            THEN 'silent' ELSE state END AS state,
       host, pid, version, run_id::text, started_at, seen_at,
       (SELECT count(*) FROM bulkmig.pgqueuer j WHERE j.queue_manager_id = w.id) AS jobs
  FROM bulkmig.queue_workers w
 WHERE state = 'on' AND run_id IS NOT NULL OR seen_at > clock_timestamp() - interval '1 hour'
 ORDER BY started_at
"""
_JOBS = """
SELECT count(*) FILTER (WHERE status = 'queued') AS waiting,
       count(*) FILTER (WHERE status = 'picked') AS at_work
  FROM bulkmig.pgqueuer
"""
_FORGET = "DELETE FROM bulkmig.queue_workers WHERE state <> 'on' AND seen_at < now() - interval '1 day'"


class Named(Struct, frozen=True):
    """A worker: its id and the end of its sessions' names."""

    id: UUID

    @property
    def tag(self) -> str:
        return self.id.hex[:12]


async def enrol(connection: Connection, worker: Named) -> None:
    """Puts the worker on the list."""
    await connection.execute(_FORGET)
    await connection.execute(_ENROL, worker.id, worker.tag, platform.node(), os.getpid(), __version__)


async def seen(connection: Connection, worker: Named, run_id: str | None) -> None:
    """Shows that it lives, in the transaction in which its jobs' heartbeats are: a silent job's worker is
    silent as well."""
    await connection.execute(_SEEN, worker.id, run_id)


async def leave(connection: Connection, worker: Named) -> None:
    """It ends in good order."""
    await connection.execute(_OFF, worker.id)


async def at_work(connection: Connection, run_id: str, heartbeat: float) -> int:
    """How many workers are at a run."""
    return int(await connection.fetchval(_AT_WORK, run_id, heartbeat))


async def holding(connection: Connection, run_id: str) -> list[str]:
    """The tags of workers that have jobs of a run."""
    return [row["tag"] for row in await connection.fetch(_HOLDING, run_id)]


async def dismiss(connection: Connection, tags: list[str]) -> None:
    """Ends the sessions of these workers on the server of this session, and waits for their end. A commit
    that is under way is finished."""
    names = [f"{name} {tag}" for name in (SOURCE_NAME, TARGET_NAME, QUEUE_NAME) for tag in tags]
    for _ in range(_LOOKS):
        if not await connection.fetchval(_END, names):
            return
        await anyio.sleep(_PAUSE)


async def lost(connection: Connection, tags: list[str]) -> None:
    """Notes that the sessions of these workers were ended."""
    await connection.execute(_LOST, tags)


async def queue(connection: Connection) -> dict[str, Any]:
    """What is in the queue, and the workers of the last hour, as `bulkmig status` shows them."""
    if not await connection.fetchval("SELECT to_regclass('bulkmig.queue_workers') IS NOT NULL"):
        return {"queue": {"waiting": 0, "at_work": 0}, "workers": []}  # a ledger from before there was one
    row = await connection.fetchrow(_JOBS)
    return {
        "queue": dict(row) if row is not None else {},
        "workers": [
            {**dict(one), "started_at": one["started_at"].isoformat(), "seen_at": one["seen_at"].isoformat()}
            for one in await connection.fetch(_LIST)
        ],
    }
