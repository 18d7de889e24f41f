"""`bulkmig quarantine retry`: looks again at quarantined rows and loads those that are in order now.

Vessels that were quarantined whole or failed are migrated as ever. In vessels that are in the target only
rows that were quarantined are added (and documents go back to equipment that left quarantine); whatever
else changed in the source is for `sync`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg
import msgspec
import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.stop import Stop
from bulkmig._core.stored import document
from bulkmig._core.unit import Unit
from bulkmig.config import Settings, check
from bulkmig.encode import base, parcels, table_loads
from bulkmig.ends import Ends
from bulkmig.errors import UsageError
from bulkmig.events import Listener, RunStarted, silent
from bulkmig.fleet.companies import write_companies
from bulkmig.fleet.ending import to_its_end
from bulkmig.fleet.run import Run
from bulkmig.fleet.vessels import load_vessels
from bulkmig.fleet.waiting import finish_waiting
from bulkmig.ledger import access, seen, write
from bulkmig.ledger import base as ledger_base
from bulkmig.ledger.locks import lock_key
from bulkmig.ledger.read import values
from bulkmig.migrate_units import add, new_unit
from bulkmig.pipeline import Tally, run
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown, Connection, transaction
from bulkmig.preflight import both, ready
from bulkmig.report import Report
from bulkmig.selection import Selection, Vessel, resolve
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.sync.row import end_cells, equal, make, placing
from bulkmig.sync.standing import standing
from bulkmig.target import state as target_state
from bulkmig.target.postgres import copy_in
from bulkmig.transform import Outcome
from bulkmig.vessel_load import Loaded, LoadOptions, count_findings
from bulkmig.workers import Lane, Queue, Work, run_units

_ENTRIES = """
SELECT entity, source_id::text, vessel_id::text, run_id::text, row FROM bulkmig.quarantine
 WHERE cardinality($1::text[]) = 0 OR vessel_id::text = ANY ($1::text[])
"""


async def retry(
    settings: Settings,
    vessels: Sequence[str] = (),
    *,
    listen: Listener = silent,
    stop: Stop | None = None,
) -> Report:
    """Looks again at the quarantined rows of these vessels, or of all. Raises as `migrate` does."""
    vessels = [_uuid(vessel) for vessel in vessels]
    # Rows that are quarantined already fail no vessel.
    settings = msgspec.structs.replace(
        check(settings), on_error="quarantine", continue_on_error=True, dry_run=False
    )
    report = Report("quarantine retry", str(uuid4()), memory_bound=settings.memory)
    async with both(settings, writing=True, needs_ledger=True, listen=listen) as ends:
        selected, companies = await _concerned(ends, vessels)
        await access.check(
            ends.target,
            settings.operator,
            "migrate_vessel",
            f"quarantine retry {' '.join(vessels) or '--all'}",
            [(vessel.id, vessel.company_id) for vessel in selected] if vessels else None,
        )
        await ready(ends, settings)
        state = await target_state.read(ends.target)
        migrated = [v for v in selected if v.id in state.marks and state.marks[v.id].state == "migrated"]
        others = [v for v in selected if v not in migrated and v.id in state.marks]
        report.selected = len(migrated) + len(others)
        listen(RunStarted(report.command, report.run_id, len(selected), 0))
        steps = Run(settings, ends, state, report, listen, stop or Stop())
        await steps.begin(" ".join(vessels) or "--all")
        async with to_its_end(steps):
            await write_companies(steps, migrated + others, everything=not vessels, companies=companies)
            await load_vessels(steps, others)
            queue = Queue([[vessel] for vessel in migrated])
            await run_units(steps.site, queue, settings.loaders, _work(steps, queue, report))
            if queue.renew:
                raise SnapshotGone("the source's snapshot is lost", "run the same command again")
            await finish_waiting(steps)
    return report


def _uuid(vessel: str) -> str:
    try:
        return str(UUID(vessel))
    except ValueError:
        raise UsageError(f"{vessel!r} is no vessel id (UUID)", "see `bulkmig quarantine list`") from None


async def _concerned(ends: Ends, vessels: Sequence[str]) -> tuple[list[Vessel], set[str]]:
    """The vessels with quarantined rows that the source still has, and the companies of quarantined users.
    Raises UsageError where one that was named is neither in quarantine nor in the source."""
    entries = await ends.target.fetch(_ENTRIES, list(vessels))
    wanted = {row["vessel_id"] for row in entries if row["vessel_id"]}
    unlisted = sorted(set(vessels) - wanted)
    there = await ends.holder.fetch(
        "SELECT id::text FROM vessels WHERE id::text = ANY ($1::text[])", unlisted
    )
    if missing := sorted(set(unlisted) - {row[0] for row in there}):
        raise UsageError(f"the source has no vessel {', '.join(missing)}", "see `bulkmig quarantine list`")
    companies = {
        str(document(values(ends.target, row), "a quarantined row").get("company_id"))
        for row in entries
        if row["entity"] == "user"
    }
    companies |= {row["source_id"] for row in entries if row["entity"] == "company"}
    parts = [row["source_id"] for row in entries if row["entity"] == "critical_part" and not row["vessel_id"]]
    found = await ends.holder.fetch(
        "SELECT id::text FROM vessels WHERE id::text = ANY ($1::text[]) UNION"
        " SELECT e.vessel_id::text FROM critical_parts p JOIN equipment e ON e.id = p.equipment_id"
        " WHERE p.id = ANY ($2::text[]::uuid[])",
        list(wanted),
        parts,
    )
    ids = tuple(row[0] for row in found)
    if not ids:
        return [], companies
    return await resolve(ends.holder, Selection(vessels=ids, allow_unapproved=True)), companies


def _work(steps: Run, queue: Queue, report: Report) -> Work:
    async def one(lane: Lane, vessels: list[Vessel]) -> None:
        async def attempt(number: int) -> tuple[Loaded, Tally]:
            unit = new_unit(steps.fleet.decisions, vessels, {})
            try:
                again = _Again(await lane.target(), unit, vessels[0], steps.options())
                async with transaction(again.connection):
                    await again.begin()
                    tally = await run(await lane.line(), unit, again)
                return again.result, tally
            except Exception:
                await lane.close()
                raise

        try:
            result, tally = await lane.site.patience.work(f"vessel {vessels[0].id}", attempt)
            add(report, tally)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, CommitUnknown) as error:
            result = Loaded(vessels[0], "failed", error=describe(error))
        steps.counted.finished([result], queue)

    return one


class _Again:
    """A sink that adds what has left quarantine to a vessel that is in the target."""

    def __init__(self, connection: Connection, unit: Unit, vessel: Vessel, options: LoadOptions) -> None:
        self.connection, self.unit, self.vessel, self.options = connection, unit, vessel, options
        self.result = Loaded(vessel, "migrated")
        self._quarantined: defaultdict[str, set[str]] = defaultdict(set)
        self._checkpoint = ""
        self._returned: set[str] = set()  # target ids of rows that left quarantine
        self._left: list[str] = []  # entries of rows that are in order, and wait for a sync

    async def begin(self) -> None:
        """Locks the vessel, takes its checkpoint and reads which of its rows are quarantined."""
        await self.connection.execute(f"SELECT pg_advisory_xact_lock({lock_key(self.vessel.id)})")
        target_ids = dict(self.options.decisions.identity("vessel").iter_rows())
        self._checkpoint = await self.options.checkpoints.of_vessel(
            self.connection, self.vessel.id, target_ids[self.vessel.id]
        )
        rows = await self.connection.fetch(
            "SELECT entity, source_id::text FROM bulkmig.quarantine"
            " WHERE vessel_id = $1::text::uuid OR vessel_id IS NULL",
            self.vessel.id,
        )
        for row in rows:
            self._quarantined[row["entity"]].add(row["source_id"])

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None:
        """Nothing: rows between vessels are finished at the end of the run."""

    def pack(self, outcome: Outcome) -> list[Parcel]:
        return parcels(outcome, self.unit.vessels)

    async def accept(self, parcel: Parcel) -> None:
        entity, image = parcel.entity, parcel.image
        known = list(self._quarantined[entity.name])
        still = parcel.quarantined.filter(pl.col("source_id").is_in(known))
        await write.quarantine(self.connection, self.options.run_id, [still])
        self.result.quarantined[entity.source] += still.height
        parcel.findings = parcel.findings.filter(pl.col("source_id").is_in(known))
        await write.findings(self.connection, self.options.run_id, [parcel.findings])
        count_findings(self.result, parcel)
        parcel.waiting = parcel.waiting.filter(pl.col("id").is_in(known))
        await write.pending(self.connection, self.options.run_id, [parcel])
        await write.release(self.connection, entity.name, parcel.waiting["id"].to_list())
        returned = await self._without_loaded(entity, image.filter(pl.col("source_id").is_in(known)))
        await self._insert(entity, await self._with_ends(entity, returned))
        await self._reattach(entity, image.filter(~pl.col("source_id").is_in(known)))

    async def _without_loaded(self, entity: Entity, image: pl.DataFrame) -> pl.DataFrame:
        """Without rows that were loaded before they were listed: they are there as they were last written, or
        the portal has deleted them, and what has become of them in the source since is for a sync."""
        if not image.height:
            return image
        main = entity.tables[0]
        there = await self._there(main.name, main.own_key, image["@id"])
        written = await ledger_base.among(self.connection, [self.vessel.id], entity.name, image["source_id"])
        loaded = pl.col("@id").is_in(there)
        if written is not None:
            loaded |= pl.col("source_id").is_in(written["source_id"].to_list())
        return image.filter(~loaded)

    async def _with_ends(self, entity: Entity, image: pl.DataFrame) -> pl.DataFrame:
        """Without rows that name equipment which the portal has deleted: they stay listed, and a sync decides
        about both."""
        for cell in end_cells(entity) if image.height else ():
            there = await self._there("equipment", "id", image[cell].drop_nulls())
            self._left += [
                f"{entity.name}:{source_id}"
                for source_id in image.filter(~pl.col(cell).is_in(there))["source_id"]
            ]
            image = image.filter(pl.col(cell).is_null() | pl.col(cell).is_in(there))
        return image

    async def _there(self, table: str, key: str, ids: pl.Series) -> list[str]:
        """Those of these rows (target ids) that are in the target."""
        rows = await self.connection.fetch(
            f"SELECT {key}::text FROM {table} WHERE {key} = ANY ($1::text[]::uuid[])", ids.to_list()
        )
        return [row[0] for row in rows]

    async def _insert(self, entity: Entity, image: pl.DataFrame) -> None:
        if not image.height:
            return
        for load in table_loads(entity, image):
            if load.rows:
                self.result.inserted[load.table] += await copy_in(
                    self.connection, load.table, load.columns, load.data
                )
        self._returned.update(image["@id"])
        await write.release(self.connection, entity.name, image["source_id"].to_list())
        await self._write_base(entity, image)

    async def _reattach(self, entity: Entity, image: pl.DataFrame) -> None:
        """Rows that were kept for the vessel while what they hang on was quarantined go back to it, if the
        portal left them as they were written. What else has become of them in the source is for a sync: of
        all that, what was last written stays what it was."""
        column = placing(entity)
        back = image.filter(pl.col(column).is_in(list(self._returned))) if column else image.clear()
        if column is None or not back.height:
            return
        main = entity.tables[0]
        written = await ledger_base.among(self.connection, [self.vessel.id], entity.name, back["source_id"])
        if written is None:
            return
        now = back.select("source_id", "@id", pl.col(column).alias("~parent"))
        written = written.filter(pl.col(column).is_null()).join(now, on="source_id", how="inner")
        stands = await standing(self.connection, entity, written["@id"].to_list())
        untouched = [
            row["@id"]
            for row in written.iter_rows(named=True)
            if equal(entity, make(entity, row), stands.get(row["@id"]))
        ]
        moved = written.filter(pl.col("@id").is_in(untouched))
        await self.connection.execute(
            f"UPDATE {main.name} t SET {column.partition('.')[2]} = u.parent::uuid"
            f" FROM unnest($1::text[], $2::text[]) AS u (id, parent) WHERE t.{main.own_key} = u.id::uuid",
            moved["@id"].to_list(),
            moved["~parent"].to_list(),
        )
        (spare,) = (table for table in entity.tables if table.when is not None)
        await self.connection.execute(
            f"DELETE FROM {spare.name} WHERE {spare.own_key} = ANY ($1::text[]::uuid[])", untouched
        )
        self.result.updated[main.name] += moved.height
        attached = pl.col("~parent").alias(column), pl.lit(value=False).alias(f"?{spare.name}")
        await self._write_base(entity, moved.with_columns(attached))

    async def _write_base(self, entity: Entity, image: pl.DataFrame) -> None:
        if image.height:
            await write.base(
                self.connection,
                self.options.run_id,
                self.vessel.id,
                [(entity.name, image.height, base(entity, image))],
                checkpoint=self._checkpoint,
            )

    async def finish(self) -> None:
        """Entries of rows that the source no longer has are forgotten; and what was seen of the vessel, since
        what is left to a sync may be older than that."""
        vessel = [self.vessel.id]
        await seen.forget(self.connection, vessel)
        await write.left_quarantine(self.connection, self.options.run_id, vessel, but=self._left)
