"""Finishes rows that waited for rows of other vessels: loads them once all they refer to is in the target,
quarantines them when one of their ends is or is nowhere, and leaves the others waiting. Rows that were
quarantined before they could wait get what their other ends have to say as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping

import asyncpg
import polars as pl
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv
from bulkmig._core.unit import Decisions, Unit
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.encode import base, table_loads
from bulkmig.entities import PER_VESSEL
from bulkmig.ledger import audit, write
from bulkmig.ledger.base import among, pack_ids, pack_keys
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown, Connection, transaction
from bulkmig.postgres.transient import transient
from bulkmig.source import queries
from bulkmig.source.onboarding import read_all
from bulkmig.target.postgres import copy_in, ends
from bulkmig.transform import Outcome, transform
from bulkmig.vessel_load import lock_key

CHUNK = 5000

# Rows that another run is at are waited for: this one's verification is to find them.
_NEXT = """
SELECT source_id::text AS source_id, vessel_id::text AS vessel_id FROM bulkmig.pending
 WHERE entity = $1 AND source_id > $2::text::uuid ORDER BY source_id LIMIT $3 FOR UPDATE
"""
_KEPT_OUT = """
SELECT source_id::text FROM bulkmig.quarantine
 WHERE entity = $1 AND run_id = $2::text::uuid AND source_id > $3::text::uuid ORDER BY source_id LIMIT $4
"""
_SAID = """
SELECT source_id::text, field FROM bulkmig.findings
 WHERE run_id = $1::text::uuid AND entity = $2 AND source_id = ANY ($3::text[]::uuid[]) AND code = ANY ($4)
"""
_STILL_WAITING = """
SELECT EXISTS (SELECT FROM bulkmig.pending WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[]))
"""
_LOCK = "SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS locked (key)"
_DELETE = "DELETE FROM bulkmig.pending WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[])"


class Settled(Struct):
    """What became of the waiting rows; `pending` still wait, also those that the target refused: (entity,
    source id, vessel, cause)."""

    inserted: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[str] = field(default_factory=Counter)
    findings: list[pl.DataFrame] = field(default_factory=list)
    pending: int = 0
    refused: list[tuple[str, str, str, str]] = field(default_factory=list)
    unknown: tuple[str, list[str], Settled] | None = None

    def copy(self) -> Settled:
        """The figures as they are now."""
        return Settled(
            self.inserted.copy(),
            self.quarantined.copy(),
            list(self.findings),
            self.pending,
            list(self.refused),
        )


async def settle(
    source: Connection,
    target: Connection,
    decisions: Decisions,
    checkpoints: Checkpoints,
    by: audit.Who,
    result: Settled | None = None,
) -> Settled:
    """Looks once at every waiting row, also those of earlier runs. A row that the source no longer has is
    forgotten. `result`: what an earlier call that broke off has got to; this one goes on with it."""
    result = result or Settled()
    await _find_out(target, result)
    result.pending, result.refused = 0, []
    for entity in PER_VESSEL:
        if entity.waits is None:
            continue
        last, size = write.NIL, CHUNK
        ids: list[str] = []
        waiting: set[str] = set()
        while True:
            before = result.copy()
            try:
                async with transaction(target):
                    rows = await target.fetch(_NEXT, entity.name, last, size)
                    if not rows:
                        break
                    ids = [row["source_id"] for row in rows]
                    outcome = await _look(source, target, decisions, entity, ids)
                    of = {row["source_id"]: row["vessel_id"] for row in rows}
                    outcome = replace(outcome, image=await _unwritten(target, outcome, of))
                    waiting = set(outcome.waiting["id"])
                    leaving = {row["vessel_id"] for row in rows if row["source_id"] not in waiting}
                    gone = dict(of)
                    for source_id in {*outcome.raw["id"]} - {*outcome.quarantined["source_id"]}:
                        del gone[source_id]
                    await _load(target, checkpoints, by, decisions, outcome, result, leaving, gone)
                    result.pending += len(waiting)
                    await target.execute(_DELETE, entity.name, [id_ for id_ in ids if id_ not in waiting])
                last, size = ids[-1], CHUNK
            except CommitUnknown:
                result.unknown = entity.name, [id_ for id_ in ids if id_ not in waiting], before
                raise
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                _restore(result, before)
                if transient(error) or not isinstance(error, asyncpg.PostgresError):
                    raise
                # The target refuses a row: the chunk again, row by row; that one goes on waiting.
                if size == 1:
                    last = ids[0]
                    result.pending += 1
                    result.refused.append((entity.name, ids[0], rows[0]["vessel_id"], describe(error)))
                size = 1
        await _kept_out(source, target, decisions, checkpoints.run_id, entity, result)
    return result


async def _unwritten(target: Connection, outcome: Outcome, waited: Mapping[str, str]) -> pl.DataFrame:
    """The rows that come, without those that have left the vessel on which they `waited` (source id ->
    vessel) and that their new one has written already."""
    image = outcome.image
    left = image.filter(
        pl.col("vessel_id") != pl.col("source_id").replace_strict(waited, return_dtype=pl.String)
    )
    if not left.height:
        return image
    written = await among(target, sorted(set(left["vessel_id"])), outcome.entity.name, left["source_id"])
    return (
        image if written is None else image.join(written, on="source_id", how="anti", maintain_order="left")
    )


async def _find_out(target: Connection, result: Settled) -> None:
    """Settles a commit of which the answer was lost: where rows still wait, it has not happened."""
    if result.unknown is None:
        return
    entity, ids, before = result.unknown
    if not ids or await target.fetchval(_STILL_WAITING, entity, ids):
        _restore(result, before)
    result.unknown = None


def _restore(result: Settled, before: Settled) -> None:
    for name, value in asdict(before).items():
        setattr(result, name, value)


Ends = Callable[[pl.DataFrame, list[str]], Awaitable[pl.DataFrame]]


async def look(
    source: Connection, decisions: Decisions, entity: Entity, ids: list[str], know: Ends
) -> tuple[Outcome, pl.DataFrame]:
    """What becomes of these rows of any vessel now, and what is known of their ends. `know`: from rows and
    the equipment that they refer to, what `target.postgres.ends` says of that equipment."""
    frame = from_csv(await read_all(source, queries.by_id(entity, ids)), queries.columns(entity))
    wanted = {
        id_ for r in entity.references if r.entity == "equipment" for id_ in frame[r.column].drop_nulls()
    }
    unit = Unit(replace(decisions, on_error="quarantine"), ())
    unit.ends = await know(frame, sorted(wanted))
    return transform(entity, frame, unit), unit.ends


async def _look(
    source: Connection, target: Connection, decisions: Decisions, entity: Entity, ids: list[str]
) -> Outcome:
    return (await look(source, decisions, entity, ids, lambda _, wanted: ends(target, wanted)))[0]


async def _kept_out(
    source: Connection,
    target: Connection,
    decisions: Decisions,
    run_id: str,
    entity: Entity,
    result: Settled,
) -> None:
    last = write.NIL
    while rows := await target.fetch(_KEPT_OUT, entity.name, run_id, last, CHUNK):
        ids = [row["source_id"] for row in rows]
        last = ids[-1]
        new = of_ends(await _look(source, target, decisions, entity, ids))
        if new.height:
            codes = new["code"].unique().to_list()
            said = await target.fetch(_SAID, run_id, entity.name, new["source_id"].to_list(), codes)
            known = pl.DataFrame(
                [tuple(row) for row in said],
                schema={"source_id": pl.String, "field": pl.String},
                orient="row",
            )
            new = new.join(known, on=["source_id", "field"], how="anti", maintain_order="left")
            await write.findings(target, run_id, [new])
            result.findings.append(new)


def of_ends(outcome: Outcome) -> pl.DataFrame:
    """The findings that other vessels decide. All others were made when the row's own vessel was read."""
    codes = [rule.code for rule in outcome.entity.rules if rule.quarantine]
    return outcome.findings.filter(pl.col("code").is_in(codes))


async def _load(
    target: Connection,
    checkpoints: Checkpoints,
    by: audit.Who,
    decisions: Decisions,
    outcome: Outcome,
    result: Settled,
    leaving: set[str],
    gone: Mapping[str, str],
) -> None:
    """`leaving`: vessels of rows that wait no longer; `gone`: rows that will not come, by id the vessel."""
    entity, run_id = outcome.entity, checkpoints.run_id
    # Vessels of earlier runs change as well, also those of which a row only goes into quarantine: each is
    # locked, and has its checkpoint, before that.
    taken = await _checkpoints(
        target, checkpoints, decisions, leaving | set(outcome.image["vessel_id"].drop_nulls())
    )
    if outcome.image.height:
        images = {str(key[0]): i for key, i in outcome.image.partition_by("vessel_id", as_dict=True).items()}
        for load in table_loads(entity, outcome.image):
            if load.rows:
                result.inserted[load.table] += await copy_in(target, load.table, load.columns, load.data)
        for vessel, image in images.items():
            payload = base(entity, image)
            await write.base(
                target, run_id, vessel, [(entity.name, image.height, payload)], checkpoint=taken[vessel]
            )
    for vessel in sorted(taken.keys() & set(gone.values())):
        # Those that were written once, and that a rollback took along, will not return.
        forgotten = sorted(source_id for source_id, of in gone.items() if of == vessel)
        main = entity.tables[0]
        went = await among(target, [vessel], entity.name, forgotten)
        if went is not None:
            keys = {main.name: went[f"{main.name}.{main.own_key}"].to_list()}
            entry = "vessel", len(keys), pack_keys(keys)
            await write.base(target, run_id, vessel, [entry], checkpoint=taken[vessel], kind="removed")
        entry = entity.name, len(forgotten), pack_ids(forgotten)
        await write.base(target, run_id, vessel, [entry], checkpoint=taken[vessel], kind="forgotten")
    for vessel in taken:
        await audit.entry(target, by, "settled", "rows that waited", run_id=run_id, vessel_id=vessel)
    new = of_ends(outcome)
    await write.findings(target, run_id, [new])
    await write.quarantine(target, run_id, [outcome.quarantined])
    result.findings.append(new)
    result.quarantined[entity.source] += outcome.quarantined.height


async def _checkpoints(
    target: Connection, checkpoints: Checkpoints, decisions: Decisions, vessels: Collection[str]
) -> dict[str, str]:
    target_ids = dict(decisions.identity("vessel").iter_rows())
    # A vessel that the portal has deleted has nothing to go back to.
    there = sorted((vessel for vessel in vessels if vessel in target_ids), key=lock_key)
    await target.execute(_LOCK, [lock_key(vessel) for vessel in there])
    taken = await checkpoints.taken_of(target, there)
    for vessel in there:
        if vessel not in taken:
            taken[vessel] = await checkpoints.of_vessel(target, vessel, target_ids[vessel], incidental=True)
    return taken
