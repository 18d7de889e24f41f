"""The run that workers take vessels of: opened by its submitter, taken over by the same command, closed."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from bulkmig._core import program
from bulkmig._version import __version__
from bulkmig.cluster.view import Place
from bulkmig.ends import Ends
from bulkmig.postgres.session import Connection

ONE_SUBMITTER = 0x62756C6B71756575  # "bulkqueu"; a session's lock
WINDOW, FAILURE = "window", "failure"  # why nothing more is started

_COLUMNS = """
run_id::text, command, selection, state, reason, version, rules, source, position::text AS position, snapshot,
seen, heartbeat, at_once, max_rows_per_second, generation,
extract(epoch FROM ends_at - clock_timestamp())::float8 AS seconds_left
"""
_OPEN = f"SELECT {_COLUMNS} FROM bulkmig.queue_runs WHERE state <> 'closed' ORDER BY opened_at DESC LIMIT 1"
_TAKING = """
SELECT r.state, r.at_once, r.heartbeat, r.generation,
       EXISTS (SELECT FROM bulkmig.queue_workers WHERE state = 'lost') AS lost,
       ARRAY (SELECT w.tag FROM bulkmig.queue_workers w
               WHERE w.state = 'on' AND w.run_id IS NOT NULL AND w.id <> $2
                 AND w.seen_at < clock_timestamp() - make_interval(secs => r.heartbeat)) AS silent
  FROM bulkmig.queue_runs r WHERE r.run_id = $1::text::uuid
"""
_ONE = f"SELECT {_COLUMNS} FROM bulkmig.queue_runs WHERE run_id = $1::text::uuid"
_PUT = """
INSERT INTO bulkmig.queue_runs (run_id, command, selection, state, version, rules, source, position, snapshot,
       seen, heartbeat, at_once, max_rows_per_second, ends_at)
VALUES ($1::text::uuid, $2, $3, 'open', $4, $5, $6, $7::text::pg_lsn, $8, $9, $10, $11, $12,
        clock_timestamp() + make_interval(secs => $13::float8))
ON CONFLICT (run_id) DO UPDATE SET state = 'open', reason = '', version = excluded.version,
       rules = excluded.rules, source = excluded.source, position = excluded.position,
       snapshot = excluded.snapshot, seen = excluded.seen, heartbeat = excluded.heartbeat,
       at_once = excluded.at_once, max_rows_per_second = excluded.max_rows_per_second,
       ends_at = excluded.ends_at, generation = queue_runs.generation + 1
"""
_RATE = """
INSERT INTO bulkmig.queue_rates (run_id, paid_until) VALUES ($1::text::uuid, clock_timestamp())
ON CONFLICT DO NOTHING
"""
_DRAIN = """
UPDATE bulkmig.queue_runs SET state = 'draining', reason = $2 WHERE run_id = $1::text::uuid AND state = 'open'
"""
_STATE = "UPDATE bulkmig.queue_runs SET state = $2 WHERE run_id = $1::text::uuid"
_FORGET = (
    "DELETE FROM bulkmig.queue_plans WHERE run_id = $1::text::uuid",
    "DELETE FROM bulkmig.queue_results WHERE run_id = $1::text::uuid",
    "DELETE FROM bulkmig.queue_rates WHERE run_id = $1::text::uuid",
)


class QueueRun(Struct, frozen=True):
    """An entry of the table. `at_once`: jobs at once over all workers; `generation`: how often its plans were
    made anew; `seconds_left` of the window."""

    run_id: str
    command: str
    selection: str
    state: str
    reason: str
    version: str
    rules: str
    source: str
    position: str
    snapshot: str
    seen: str
    heartbeat: float
    at_once: int | None
    max_rows_per_second: int | None
    generation: int
    seconds_left: float | None

    @property
    def place(self) -> Place:
        return Place(self.source, self.position)


class Taking(Struct, frozen=True):
    """What a worker has to know before it takes a job. `lost`: whether there was a worker whose sessions were
    ended; `silent`: the tags of those whose are to be."""

    state: str
    at_once: int | None
    heartbeat: float
    generation: int
    lost: bool
    silent: list[str]


async def taking(connection: Connection, run_id: str, worker: UUID) -> Taking | None:
    """Asked by this worker."""
    row = await connection.fetchrow(_TAKING, run_id, worker)
    return Taking(**dict(row)) if row is not None else None


async def current(connection: Connection) -> QueueRun | None:
    """The run that is open, if one is."""
    row = await connection.fetchrow(_OPEN)
    return QueueRun(**dict(row)) if row is not None else None


async def look(connection: Connection, run_id: str) -> QueueRun | None:
    """This run."""
    row = await connection.fetchrow(_ONE, run_id)
    return QueueRun(**dict(row)) if row is not None else None


async def put(
    connection: Connection,
    ends: Ends,
    at: Place,
    run_id: str,
    command: str,
    selection: str,
    *,
    heartbeat: float,
    at_once: int | None,
    max_rows_per_second: int | None,
    seconds_left: float | None,
) -> None:
    """Opens the run, or brings it up to date with its submitter's snapshot and limits."""
    await connection.execute(
        _PUT,
        run_id,
        command,
        selection,
        __version__,
        program.digest(),
        at.source,
        at.position,
        ends.snapshot,
        ends.seen,
        heartbeat,
        at_once,
        max_rows_per_second,
        seconds_left,
    )
    await connection.execute(_RATE, run_id)


async def drain(connection: Connection, run_id: str, reason: str) -> None:
    """Nothing more is started; what is at work is finished."""
    await connection.execute(_DRAIN, run_id, reason)


async def stop(connection: Connection, run_id: str) -> None:
    """What is at work is rolled back and given back."""
    await connection.execute(_STATE, run_id, "stopping")


async def close(connection: Connection, run_id: str) -> None:
    """The run is over: its entry stays, what it handed over goes. In the caller's transaction."""
    await connection.execute(_STATE, run_id, "closed")
    for statement in _FORGET:
        await connection.execute(statement, run_id)
