"""What the submitter hands over to workers: all that was decided over the fleet, and how rows get in.

No pickle: a worker runs nothing that lies in a table. What follows from the catalogues is computed anew."""

from __future__ import annotations

import hashlib
import io

import msgspec
import polars as pl
from msgspec import Struct

from bulkmig._core.stored import compress, expand
from bulkmig._core.unit import Catalogue, Decisions
from bulkmig.entities import ENTITIES
from bulkmig.errors import CheckpointError, PreflightError
from bulkmig.fit import checks
from bulkmig.postgres.session import Connection


class Manner(msgspec.Struct):
    """How rows get in, as the run's command has it; what else a worker needs are its own settings.

    `key`: which key seals checkpoints, "" for none."""

    operator: str
    fk_set: bool
    key: str
    conflict: str = "source_wins"
    allow_deletions: bool = False
    brake_share: float = 0.2
    brake_least: int = 10
    spares: bool = False


class _Decided(msgspec.Struct):
    on_error: str
    catalogue: Catalogue
    source_types: Catalogue
    identities: dict[str, bytes]
    slugs: dict[str, str]
    emails: dict[str, str]
    adopted: list[tuple[str, str]]
    imo_taken: set[str]
    qr_codes: dict[str, str]
    foreign_qr: list[str]
    companies_out: dict[str, str]
    kept_ids: dict[str, dict[str, str]]
    vessels_due: list[str]
    unwritten: dict[str, frozenset[str]]
    current_year: int


class _Packed(msgspec.Struct):
    manner: Manner
    decided: _Decided
    refused: dict[str, str]


class Plan(Struct):
    """`refused`: companies that the target refused, with the reason."""

    manner: Manner
    decisions: Decisions
    refused: dict[str, str]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def pack(plan: Plan) -> tuple[bytes, bytes]:
    """The plan, compressed, and the SHA-256 of what it unpacks to."""
    d = plan.decisions
    decided = _Decided(
        d.on_error,
        d.catalogue,
        d.source_types,
        {name: _arrow(frame) for name, frame in d.identities.items()},
        d.slugs,
        d.emails,
        sorted(d.adopted),
        d.imo_taken,
        d.qr_codes,
        sorted(d.foreign_qr),
        d.companies_out,
        d.kept_ids,
        sorted(d.vessels_due),
        d.unwritten,
        d.current_year,
    )
    content = _encoder.encode(_Packed(plan.manner, decided, plan.refused))
    return compress(content), hashlib.sha256(content).digest()


def unpack(payload: bytes, digest: bytes) -> Plan:
    """Raises PreflightError where it is not what was packed."""
    try:
        content = expand(payload, "a plan")
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("digest")
        packed = _decoder.decode(content)
        identities = {name: pl.read_ipc(io.BytesIO(data)) for name, data in packed.decided.identities.items()}
    except (CheckpointError, msgspec.MsgspecError, pl.exceptions.PolarsError, ValueError, OSError):
        raise PreflightError(
            "what the run has handed over to its workers is not what it stored",
            "start the run's command again: it decides anew",
        ) from None
    d = packed.decided
    decisions = Decisions(
        on_error=d.on_error,
        catalogue=d.catalogue,
        source_types=d.source_types,
        identities=identities,
        slugs=d.slugs,
        emails=d.emails,
        adopted=set(d.adopted),
        imo_taken=d.imo_taken,
        qr_codes=d.qr_codes,
        foreign_qr=frozenset(d.foreign_qr),
        companies_out=d.companies_out,
        kept_ids=d.kept_ids,
        vessels_due=frozenset(d.vessels_due),
        unwritten=d.unwritten,
        current_year=d.current_year,
        checks={e.name: checks(e, d.catalogue, d.source_types) for e in ENTITIES},
    )
    return Plan(packed.manner, decisions, packed.refused)


def _arrow(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ipc(buffer)
    return buffer.getvalue()


async def publish(connection: Connection, run_id: str, kind: str, plan: Plan) -> None:
    """Stores a plan in the caller's transaction; one that is there already is replaced."""
    payload, digest = pack(plan)
    await connection.execute(
        "INSERT INTO bulkmig.queue_plans (run_id, kind, payload, digest)"
        " VALUES ($1::text::uuid, $2, $3, $4) ON CONFLICT (run_id, kind) DO UPDATE SET"
        " payload = excluded.payload, digest = excluded.digest, made_at = clock_timestamp()",
        run_id,
        kind,
        payload,
        digest,
    )


async def read(connection: Connection, run_id: str, kind: str) -> Plan:
    """The plan in force. Raises PreflightError."""
    row = await connection.fetchrow(
        "SELECT payload, digest FROM bulkmig.queue_plans WHERE run_id = $1::text::uuid AND kind = $2",
        run_id,
        kind,
    )
    if row is None:
        raise PreflightError("the run's plan is gone", "start the run's command again")
    return unpack(row["payload"], row["digest"])
