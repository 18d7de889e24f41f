"""Finishes rows that waited for rows of other vessels: loads them once all they refer to is in the target,
quarantines them when one of their ends is or is nowhere, and leaves the others waiting. Rows that were
quarantined before they could wait get what their other ends have to say as well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import asyncpg
import polars as pl
from asyncpg import Record
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
from bulkmig.ledger.locks import LOCK_VESSELS, lock_key, lock_keys
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown, Connection, transaction
from bulkmig.postgres.transient import transient
from bulkmig.source import queries
from bulkmig.source.onboarding import read_all
from bulkmig.target.postgres import copy_in, ends
from bulkmig.transform import Outcome, transform

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
_LISTED = """
SELECT count(*) FROM bulkmig.quarantine
 WHERE entity = $1 AND run_id = $2::text::uuid AND source_id = ANY ($3::text[]::uuid[])
"""
_STILL_WAITING = """
SELECT EXISTS (SELECT FROM bulkmig.pending WHERE entity = $1 AND source_id = ANY ($2::text[]::uuid[]))
"""
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
    settling = _Settling(source, target, decisions, checkpoints, by, result or Settled())
    await settling.find_out()
    settling.result.pending, settling.result.refused = 0, []
    for entity in PER_VESSEL:
        if entity.waits is not None:
            await settling.waiting(entity)
            await settling.kept_out(entity)
    return settling.result


class _Settling(Struct):
    source: Connection
    target: Connection
    decisions: Decisions
    checkpoints: Checkpoints
    by: audit.Who
    result: Settled

    async def find_out(self) -> None:
        """Settles a commit of which the answer was lost: where rows still wait, it has not happened."""
        if self.result.unknown is None:
            return
        entity, ids, before = self.result.unknown
        if not ids or await self.target.fetchval(_STILL_WAITING, entity, ids):
            self._restore(before)
        self.result.unknown = None

    def _restore(self, before: Settled) -> None:
        for name, value in asdict(before).items():
            setattr(self.result, name, value)

    async def waiting(self, entity: Entity) -> None:
        """The rows that wait, a chunk in a transaction."""
        last, size = write.NIL, CHUNK
        while True:
            before = self.result.copy()
            rows: list[Record] = []
            waiting: set[str] = set()
            try:
                async with transaction(self.target):
                    rows = await self.target.fetch(_NEXT, entity.name, last, size)
                    if not rows:
                        return
                    waiting = await self._chunk(entity, rows)
                last, size = rows[-1]["source_id"], CHUNK
            except CommitUnknown:
                gone = [row["source_id"] for row in rows if row["source_id"] not in waiting]
                self.result.unknown = entity.name, gone, before
                raise
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                self._restore(before)
                if transient(error) or not isinstance(error, asyncpg.PostgresError) or not rows:
                    raise
                # The target refuses a row: the chunk again, row by row; that one goes on waiting.
                if size == 1:
                    last, vessel = rows[0]["source_id"], rows[0]["vessel_id"]
                    self.result.pending += 1
                    self.result.refused.append((entity.name, last, vessel, describe(error)))
                size = 1

    async def _chunk(self, entity: Entity, rows: Sequence[Record]) -> set[str]:
        """Returns which of the rows go on waiting."""
        ids = [row["source_id"] for row in rows]
        outcome, of = await self._look(entity, ids), {row["source_id"]: row["vessel_id"] for row in rows}
        outcome = replace(outcome, image=await self._unwritten(outcome, of))
        waiting = set(outcome.waiting["id"])
        leaving = {vessel for source_id, vessel in of.items() if source_id not in waiting}
        gone = dict(of)
        for source_id in {*outcome.raw["id"]} - {*outcome.quarantined["source_id"]}:
            del gone[source_id]
        taken = await self._checkpoints(leaving | set(outcome.image["vessel_id"].drop_nulls()))
        await self._load(outcome, taken)
        await self._forget(entity, gone, taken)
        for vessel in taken:
            await audit.entry(
                self.target,
                self.by,
                "settled",
                "rows that waited",
                run_id=self.checkpoints.run_id,
                vessel_id=vessel,
            )
        await self._tell(outcome)
        self.result.pending += len(waiting)
        await self.target.execute(_DELETE, entity.name, [id_ for id_ in ids if id_ not in waiting])
        return waiting

    async def _look(self, entity: Entity, ids: list[str]) -> Outcome:
        def know(_: pl.DataFrame, wanted: list[str]) -> Awaitable[pl.DataFrame]:
            return ends(self.target, wanted)

        return (await look(self.source, self.decisions, entity, ids, know))[0]

    async def _unwritten(self, outcome: Outcome, waited: Mapping[str, str]) -> pl.DataFrame:
        """The rows that come, without those that have left the vessel on which they `waited` (source id ->
        vessel) and that their new one has written already."""
        image = outcome.image
        then = pl.col("source_id").replace_strict(waited, return_dtype=pl.String)
        left = image.filter(pl.col("vessel_id") != then)
        if not left.height:
            return image
        on = sorted(set(left["vessel_id"]))
        written = await among(self.target, on, outcome.entity.name, left["source_id"])
        if written is None:
            return image
        return image.join(written, on="source_id", how="anti", maintain_order="left")

    async def _checkpoints(self, vessels: Collection[str]) -> dict[str, str]:
        """Vessels of earlier runs change as well, also those of which a row only goes into quarantine: each
        is locked, and has its checkpoint, before that."""
        target_ids = dict(self.decisions.identity("vessel").iter_rows())
        # A vessel that the portal has deleted has nothing to go back to.
        there = sorted((vessel for vessel in vessels if vessel in target_ids), key=lock_key)
        await self.target.execute(LOCK_VESSELS, lock_keys(there))
        taken = await self.checkpoints.taken_of(self.target, there)
        for vessel in there:
            if vessel not in taken:
                taken[vessel] = await self.checkpoints.of_vessel(
                    self.target, vessel, target_ids[vessel], incidental=True
                )
        return taken

    async def _load(self, outcome: Outcome, taken: Mapping[str, str]) -> None:
        """The rows that come, and their base. One that was listed while it was there, and waits since its end
        went, is listed no longer."""
        entity, run_id = outcome.entity, self.checkpoints.run_id
        if not outcome.image.height:
            return
        await write.release(self.target, entity.name, outcome.image["source_id"].to_list())
        images = outcome.image.partition_by("vessel_id", as_dict=True)
        for load in table_loads(entity, outcome.image):
            if load.rows:
                self.result.inserted[load.table] += await copy_in(
                    self.target, load.table, load.columns, load.data
                )
        for key, image in images.items():
            vessel, entry = str(key[0]), (entity.name, image.height, base(entity, image))
            await write.base(self.target, run_id, vessel, [entry], checkpoint=taken[vessel])

    async def _forget(self, entity: Entity, gone: Mapping[str, str], taken: Mapping[str, str]) -> None:
        """Rows that will not come, by id the vessel. Those that were written once, and that a rollback took
        along, will not return."""
        run_id, main = self.checkpoints.run_id, entity.tables[0]
        for vessel in sorted(taken.keys() & set(gone.values())):
            forgotten = sorted(source_id for source_id, of in gone.items() if of == vessel)
            went = await among(self.target, [vessel], entity.name, forgotten)
            if went is not None:
                keys = {main.name: went[f"{main.name}.{main.own_key}"].to_list()}
                entry = "vessel", len(keys), pack_keys(keys)
                await write.base(
                    self.target, run_id, vessel, [entry], checkpoint=taken[vessel], kind="removed"
                )
            entry = entity.name, len(forgotten), pack_ids(forgotten)
            await write.base(self.target, run_id, vessel, [entry], checkpoint=taken[vessel], kind="forgotten")

    async def _tell(self, outcome: Outcome) -> None:
        """Findings and quarantine. Of rows that wait only since another of the run's vessels took their ends,
        their own may have told already."""
        entity, run_id, out = outcome.entity, self.checkpoints.run_id, outcome.quarantined
        await self._find(entity, of_ends(outcome))
        if out.height:
            told = await self.target.fetchval(_LISTED, entity.name, run_id, out["source_id"].to_list())
            await write.quarantine(self.target, run_id, [out])
            self.result.quarantined[entity.source] += out.height - told

    async def _find(self, entity: Entity, new: pl.DataFrame) -> None:
        """Findings, without those that the run has told already."""
        if not new.height:
            return
        run_id, codes = self.checkpoints.run_id, new["code"].unique().to_list()
        said = await self.target.fetch(_SAID, run_id, entity.name, new["source_id"].to_list(), codes)
        known = pl.DataFrame(
            [tuple(row) for row in said],
            schema={"source_id": pl.String, "field": pl.String},
            orient="row",
        )
        new = new.join(known, on=["source_id", "field"], how="anti", maintain_order="left")
        await write.findings(self.target, run_id, [new])
        self.result.findings.append(new)

    async def kept_out(self, entity: Entity) -> None:
        """Rows that were quarantined before they could wait get what their other ends have to say."""
        run_id, last = self.checkpoints.run_id, write.NIL
        while rows := await self.target.fetch(_KEPT_OUT, entity.name, run_id, last, CHUNK):
            ids = [row["source_id"] for row in rows]
            last = ids[-1]
            await self._find(entity, of_ends(await self._look(entity, ids)))


Ends = Callable[[pl.DataFrame, list[str]], Awaitable[pl.DataFrame]]


async def look(
    source: Connection, decisions: Decisions, entity: Entity, ids: list[str], know: Ends
) -> tuple[Outcome, pl.DataFrame]:
    """What becomes of these rows of any vessel now, and what is known of their ends. `know`: from rows and
    the equipment that they refer to, what `target.postgres.ends` says of that equipment. What there is to
    say of a row's own vessel, where it is due, was said when that was read."""
    frame = from_csv(await read_all(source, queries.by_id(entity, ids)), queries.columns(entity))
    wanted = {
        id_ for r in entity.references if r.entity == "equipment" for id_ in frame[r.column].drop_nulls()
    }
    unit = Unit(replace(decisions, on_error="quarantine"), tuple(decisions.vessels_due))
    unit.ends = await know(frame, sorted(wanted))
    return transform(entity, frame, unit), unit.ends


def of_ends(outcome: Outcome) -> pl.DataFrame:
    """The findings that other vessels decide. All others were made when the row's own vessel was read."""
    codes = [rule.code for rule in outcome.entity.rules if rule.quarantine]
    return outcome.findings.filter(pl.col("code").is_in(codes))
