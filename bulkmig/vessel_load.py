"""One vessel's target transaction: its rows, what of it is not loaded, the base, and its ledger mark."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import asyncpg
import polars as pl
from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv
from bulkmig._core.parcel import Parcel, TableLoad
from bulkmig._core.unit import Decisions, Unit
from bulkmig.checkpoint.take import Checkpoints, new_id
from bulkmig.errors import VesselError
from bulkmig.ledger import audit, write
from bulkmig.ledger.locks import lock_key
from bulkmig.postgres.errors import copy_line, describe
from bulkmig.postgres.session import Connection, transaction
from bulkmig.selection import Vessel
from bulkmig.shared import Shared
from bulkmig.target.postgres import copy_rows, upsert
from bulkmig.target.references import prove

_BASE_FLUSH = 4 * 1024 * 1024  # bytes of base kept before they are written
_FINDINGS_FLUSH = 20_000  # findings kept before they are written


class Limiter(Protocol):
    """Lets so many rows a second go: an AsyncLimiter, or one that several machines share."""

    @property
    def max_rate(self) -> float: ...
    async def acquire(self, amount: float = 1) -> None: ...


class Rejected(Exception):
    """The vessel has errors and `--on-error fail` holds: nothing of it is written."""


class AlreadyMigrated(Exception):
    """Another process migrated the vessel meanwhile."""


class Loaded(Struct):
    """What became of one vessel. `state`: migrated, quarantined, failed or skipped. `held_back`: deletions
    that the brake stopped; `unsettled`: the next sync has to look at it again."""

    vessel: Vessel
    state: str
    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    conflicts: Counter[str] = field(default_factory=Counter)  # "open", or the strategy that decided
    held_back: int = 0
    unsettled: bool = False
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)  # (severity, code)
    elsewhere: list[pl.DataFrame] = field(default_factory=list)
    quarantined: Counter[str] = field(default_factory=Counter)  # source table
    pending: int = 0
    seconds: float = 0.0
    phase: str = "load"
    error: str = ""

    @property
    def rows(self) -> int:
        """How many rows were written."""
        return (self.inserted + self.updated + self.deleted).total()


class LoadOptions(Struct, frozen=True):
    """How rows get in. `shared`: companies and users, which a dry run brings into each transaction.
    `snapshot`: what is seen of the source, as `pg_current_snapshot()` prints it."""

    run_id: str
    decisions: Decisions
    shared: Shared
    checkpoints: Checkpoints
    who: audit.Who
    dry_run: bool = False
    fk_set: bool = False
    limiter: Limiter | None = None
    snapshot: str | None = None


class VesselLoad:
    """One vessel's transaction: `put` parcels in order, then `close`."""

    def __init__(self, connection: Connection, vessel: Vessel, unit: Unit, options: LoadOptions) -> None:
        self.connection, self.vessel, self.unit, self.options = connection, vessel, unit, options
        self.result = Loaded(vessel, "migrated")
        self.started = time.perf_counter()
        self._checkpoint = new_id()
        self._parts: list[tuple[str, int, bytes]] = []
        self._findings: list[pl.DataFrame] = []
        self._begun = False
        self._known = False  # whether the ledger has anything of the vessel
        self._brought: set[str] = set()

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return transaction(self.connection, commit=not self.options.dry_run)

    async def put(self, parcel: Parcel) -> None:
        """Copies one parcel's rows and records what of it is not loaded. Raises Rejected, VesselError."""
        if self.vessel.id in self.unit.failing:
            raise Rejected
        try:
            if not self._begun:
                await self._begin()
            for load in parcel.loads:
                if self.options.dry_run:
                    await self._bring_along(parcel.entity, load)
                await self._copy(parcel, load)
            if not self.options.dry_run:
                await self._record(parcel)
        except asyncpg.PostgresError as error:
            raise self._failed(error, parcel.entity.name) from error
        count_findings(self.result, parcel)
        self.result.quarantined[parcel.entity.source] += parcel.quarantined.height
        self.result.pending += parcel.waiting.height

    async def _begin(self) -> None:
        self._begun = True
        await self.connection.execute(
            f"SELECT pg_advisory_xact_lock({lock_key(self.vessel.id)});"
            + ("SET LOCAL session_replication_role = replica;" if self.options.fk_set else "")
        )
        if self.options.dry_run:
            return
        state = await self.connection.fetchval(
            "SELECT state FROM bulkmig.vessels WHERE vessel_id = $1::text::uuid", self.vessel.id
        )
        if state == "migrated":
            raise AlreadyMigrated
        self._known = state is not None
        await self._take_checkpoint(known=self._known)

    async def _take_checkpoint(self, *, known: bool) -> None:
        """`known`: the ledger has rows of the vessel."""
        adopted = ("vessel", self.vessel.id) in self.options.decisions.adopted
        checkpoints, vessel, target_id = self.options.checkpoints, self.vessel.id, self._target_id()
        if adopted or known:
            self._checkpoint = await checkpoints.of_vessel(
                self.connection, vessel, target_id, id_=self._checkpoint, absent=not adopted
            )
        else:
            await checkpoints.of_nothing(self.connection, vessel, target_id, self._checkpoint)

    def _target_id(self) -> str:
        return str(self.unit.target_ids("vessel", {self.vessel.id})[self.vessel.id])

    async def _bring_along(self, entity: Entity, load: TableLoad) -> None:
        """In a dry run companies are in no transaction but this one: those that these rows refer to go in,
        each with its users."""
        fleet_wide = {r.column: r.entity for r in entity.references if r.entity in ("company", "user")}
        table = next(table for table in entity.tables if table.name == load.table)
        named = [name for name, cell in table.cells.items() if cell.field in fleet_wide]
        if named:
            frame = from_csv(load.data, load.columns)
            wanted = {id_ for name in named for id_ in frame[name].drop_nulls()}
            await self.options.shared.bring(self.connection, wanted, self._brought)

    async def _copy(self, parcel: Parcel, load: TableLoad) -> None:
        if self.options.limiter is not None:
            await throttle(self.options.limiter, load.rows)
        adopted = ("vessel", self.vessel.id) in self.options.decisions.adopted
        if parcel.entity.name == "vessel" and adopted:
            frame = from_csv(load.data, load.columns)
            await upsert(self.connection, load.table, load.key, frame, self.options.decisions.catalogue)
            self.result.updated[load.table] += load.rows
            return
        try:
            rows = await copy_rows(self.connection, load)
        except asyncpg.PostgresError as error:
            raise self._failed(error, parcel.entity.name, load) from error
        if rows != load.rows:
            raise VesselError(
                f"{load.table}: {load.rows} rows were sent, the target took {rows}",
                "a trigger or rule of the target drops rows",
                phase="load",
                vessel_id=self.vessel.id,
                entity=parcel.entity.name,
            )
        self.result.inserted[load.table] += rows

    async def _record(self, parcel: Parcel) -> None:
        run_id = self.options.run_id
        if parcel.findings.height:
            self._findings.append(parcel.findings)
            if sum(frame.height for frame in self._findings) > _FINDINGS_FLUSH:
                await self._flush_findings()
        await write.quarantine(self.connection, run_id, [parcel.quarantined])
        await write.pending(self.connection, run_id, [parcel])
        if parcel.base:
            self._parts.append((parcel.entity.name, parcel.rows, parcel.base))
            if sum(len(part[2]) for part in self._parts) > _BASE_FLUSH:
                await self._flush_base()

    async def _flush_findings(self) -> None:
        await write.findings(self.connection, self.options.run_id, self._findings)
        self._findings = []

    async def _flush_base(self) -> None:
        if self._parts:
            await write.base(
                self.connection,
                self.options.run_id,
                self.vessel.id,
                self._parts,
                checkpoint=self._checkpoint,
            )
            self._parts = []

    async def close(self) -> Loaded:
        """Proves the references if the triggers were off, and writes the mark; the caller commits."""
        if self.vessel.id in self.unit.failing:
            raise Rejected
        result = self.result
        if self.vessel.id in self.unit.whole:
            result.state = "quarantined"
        result.seconds = time.perf_counter() - self.started
        try:
            if self.options.fk_set:
                await prove(self.connection, self.vessel.id, self.options.decisions)
            if not self.options.dry_run:
                await self._flush_findings()
                await self._flush_base()
                if self._known:
                    await write.left_quarantine(self.connection, self.options.run_id, [self.vessel.id])
                await self._mark()
        except asyncpg.PostgresError as error:
            raise self._failed(error, "vessel") from error
        return result

    async def _mark(self) -> None:
        decisions, run_id = self.options.decisions, self.options.run_id
        if self.result.state == "migrated":
            adopted = ("vessel", self.vessel.id) in decisions.adopted
            await write.identities(
                self.connection, run_id, "vessel", [(self.vessel.id, self._target_id(), adopted)]
            )
        await write.mark(
            self.connection,
            self.options.who,
            run_id,
            self.vessel.id,
            self.vessel.name,
            state=self.result.state,
            phase="load",
            rows=sum(self.result.inserted.values()) + sum(self.result.updated.values()),
            seconds=self.result.seconds,
            snapshot=self.options.snapshot,
        )

    def _failed(
        self, error: asyncpg.PostgresError, entity: str, load: TableLoad | None = None
    ) -> VesselError:
        source_id = ""
        line = copy_line(error)
        if load is not None and line is not None:
            source_id = load.source_id_at(line[1])
        where = f"{entity} {source_id}: " if source_id else f"{entity}: "
        return VesselError(
            where + describe(error),
            "correct the row in the source or the constraint in the target, then run the command again",
            phase="load",
            vessel_id=self.vessel.id,
            entity=entity,
            source_id=source_id,
            field=error.column_name or "",
        )


async def record_failure(
    connection: Connection,
    vessel: Vessel,
    options: LoadOptions,
    *,
    phase: str,
    error: str,
    parcels: Sequence[Parcel] = (),
) -> Loaded:
    """A failed vessel's findings and mark, in a transaction of their own."""
    result = Loaded(vessel, "failed", phase=phase, error=error)
    for parcel in parcels:
        count_findings(result, parcel)
    if not options.dry_run:
        async with transaction(connection):
            await write.findings(connection, options.run_id, [parcel.findings for parcel in parcels])
            await mark_failed(connection, vessel, options, phase=phase, error=error)
    return result


async def mark_failed(
    connection: Connection, vessel: Vessel, options: LoadOptions, *, phase: str, error: str
) -> None:
    """A failed vessel's mark alone, in the caller's transaction."""
    await write.mark(
        connection,
        options.who,
        options.run_id,
        vessel.id,
        vessel.name,
        state="failed",
        phase=phase,
        rows=0,
        seconds=0.0,
        error=error,
        snapshot=options.snapshot,
    )


def count_findings(result: Loaded, parcel: Parcel) -> None:
    """Adds a parcel's findings to a result."""
    if parcel.findings.height:
        for severity, code, n in parcel.findings.group_by("severity", "code").len().iter_rows():
            result.findings[severity, code] += n
    if parcel.elsewhere is not None:
        result.elsewhere.append(parcel.elsewhere)


async def throttle(limiter: Limiter, rows: int) -> None:
    """Waits until so many rows may go, also where they are more than one period's worth."""
    while rows > 0:
        step = min(rows, int(limiter.max_rate))
        await limiter.acquire(step)
        rows -= step
