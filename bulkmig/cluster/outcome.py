"""What became of a job, as its worker stores it for the run's report."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence

import msgspec
import polars as pl

from bulkmig.entities import FLEET, entity
from bulkmig.postgres.session import Connection
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.vessel_load import Loaded

_Counts = dict[str, int]


class _Vessel(msgspec.Struct, omit_defaults=True):
    vessel: Vessel
    state: str
    inserted: _Counts
    updated: _Counts
    deleted: _Counts
    unchanged: _Counts
    conflicts: _Counts
    held_back: int
    unsettled: bool
    findings: list[tuple[str, str, int]]
    elsewhere: list[bytes]
    quarantined: _Counts
    pending: int
    seconds: float
    phase: str
    error: str


class Outcome(msgspec.Struct):
    """A job's vessels, what was read of them, and which snapshot of the source was (`seen`)."""

    seen: str
    vessels: list[_Vessel]
    read: _Counts
    stats: _Counts
    lossiness: _Counts
    phases: dict[str, float]

    def results(self) -> list[Loaded]:
        """What became of each vessel."""
        return [_unpacked(one) for one in self.vessels]

    def add_to(self, report: Report) -> None:
        """Adds what was read to the run's figures."""
        report.read.update(self.read)
        report.stats.update(self.stats)
        report.lossiness.update(self.lossiness)
        for phase, seconds in self.phases.items():
            report.phases[phase] += seconds


class Beginning(msgspec.Struct):
    """Rows of companies and users that a run has written, under whichever submitter, and what was lost of
    those that the first one looked at; stored as the outcome of job 0."""

    inserted: _Counts
    updated: _Counts
    lossiness: _Counts

    def add_to(self, report: Report) -> None:
        """Adds the rows to the run's figures."""
        report.inserted.update(self.inserted)
        report.updated.update(self.updated)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Outcome)
_NEW = """
SELECT job_id, payload FROM bulkmig.queue_results
 WHERE run_id = $1::text::uuid AND NOT counted AND job_id > 0 ORDER BY job_id LIMIT $2
"""
_COUNTED = """
UPDATE bulkmig.queue_results SET counted = true
 WHERE run_id = $1::text::uuid AND job_id = ANY ($2::bigint[])
"""
_AGAIN = "UPDATE bulkmig.queue_results SET counted = false WHERE run_id = $1::text::uuid AND job_id > 0"
_ALL = "SELECT job_id FROM bulkmig.queue_results WHERE run_id = $1::text::uuid"
_BEGUN = "SELECT payload FROM bulkmig.queue_results WHERE run_id = $1::text::uuid AND job_id = 0"
_BEGIN = """
INSERT INTO bulkmig.queue_results (run_id, job_id, counted, payload) VALUES ($1::text::uuid, 0, true, $2)
ON CONFLICT (run_id, job_id) DO UPDATE SET payload = excluded.payload
"""
_FOUND = """
SELECT severity, code, count(DISTINCT (entity, source_id, field)) AS n FROM bulkmig.findings
 WHERE run_id = $1::text::uuid AND vessel_id IS NULL AND entity = ANY ($2::text[]) GROUP BY severity, code
"""
_KEPT_OUT = """
SELECT entity, count(*) AS n FROM bulkmig.quarantine
 WHERE run_id = $1::text::uuid AND entity = ANY ($2::text[]) GROUP BY entity
"""
_AT_ONCE = 1000


def pack(seen: str, results: Sequence[Loaded], report: Report) -> bytes:
    """`report`: what was read of these vessels and nothing else."""
    vessels = [
        _Vessel(
            one.vessel, one.state, one.inserted, one.updated, one.deleted, one.unchanged, one.conflicts,
            one.held_back, one.unsettled, [(*kind, n) for kind, n in one.findings.items()],
            [_arrow(frame) for frame in one.elsewhere if frame.height], one.quarantined, one.pending,
            one.seconds, one.phase, one.error,
        )
        for one in results
    ]  # fmt: skip
    return _encoder.encode(Outcome(seen, vessels, report.read, report.stats, report.lossiness, report.phases))


def _unpacked(one: _Vessel) -> Loaded:
    result = Loaded(
        one.vessel, one.state, held_back=one.held_back, unsettled=one.unsettled, pending=one.pending
    )
    for mine, theirs in (
        (result.inserted, one.inserted),
        (result.updated, one.updated),
        (result.deleted, one.deleted),
        (result.unchanged, one.unchanged),
        (result.conflicts, one.conflicts),
        (result.quarantined, one.quarantined),
    ):
        mine.update(theirs)
    result.findings.update({(severity, code): n for severity, code, n in one.findings})
    result.elsewhere = [pl.read_ipc(io.BytesIO(data)) for data in one.elsewhere]
    result.seconds, result.phase, result.error = one.seconds, one.phase, one.error
    return result


def _arrow(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


async def store(connection: Connection, run_id: str, job: int, payload: bytes) -> None:
    """Stores it; of a job that was delivered twice the first counts."""
    await connection.execute(
        "INSERT INTO bulkmig.queue_results (run_id, job_id, payload) VALUES ($1::text::uuid, $2, $3)"
        " ON CONFLICT DO NOTHING",
        run_id,
        job,
        payload,
    )


async def unheard(connection: Connection, run_id: str) -> list[tuple[int, Outcome]]:
    """Some outcomes that the submitter has not counted yet, by job."""
    rows = await connection.fetch(_NEW, run_id, _AT_ONCE)
    return [(row["job_id"], _decoder.decode(row["payload"])) for row in rows]


async def heard(connection: Connection, run_id: str, jobs: Sequence[int]) -> None:
    """The submitter has counted these."""
    await connection.execute(_COUNTED, run_id, list(jobs))


async def recall(connection: Connection, run_id: str) -> set[int]:
    """A new submitter counts them all from the beginning; returns the jobs that there are outcomes of."""
    await connection.execute(_AGAIN, run_id)
    return {row["job_id"] for row in await connection.fetch(_ALL, run_id)}


async def begun(connection: Connection, run_id: str) -> Beginning | None:
    """What a submitter before this one has written of companies and users."""
    payload = await connection.fetchval(_BEGUN, run_id)
    return msgspec.msgpack.decode(payload, type=Beginning) if payload is not None else None


async def begin(connection: Connection, run_id: str, beginning: Beginning) -> None:
    """Stores it for a submitter after this one, in the caller's transaction."""
    await connection.execute(_BEGIN, run_id, _encoder.encode(beginning))


async def found(connection: Connection, run_id: str) -> Counter[tuple[str, str]]:
    """The run's findings of companies and users, under all its submitters, each once."""
    rows = await connection.fetch(_FOUND, run_id, [of.name for of in FLEET])
    return Counter({(row["severity"], row["code"]): row["n"] for row in rows})


async def kept_out(connection: Connection, run_id: str) -> Counter[str]:
    """How many companies and users the run has quarantined, by source table."""
    rows = await connection.fetch(_KEPT_OUT, run_id, [of.name for of in FLEET])
    return Counter({entity(row["entity"]).source: row["n"] for row in rows})
