"""Vessels' target transaction: their rows, what of them is not loaded, the base, and their ledger marks."""

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
from bulkmig._core.ids import derive_one
from bulkmig._core.parcel import Parcel, TableLoad
from bulkmig._core.unit import Decisions, Unit
from bulkmig.checkpoint.take import Checkpoints, new_id
from bulkmig.entities import DIGITS
from bulkmig.errors import VesselError
from bulkmig.ledger import audit, write
from bulkmig.ledger.locks import lock_key
from bulkmig.postgres.errors import copy_line, describe
from bulkmig.postgres.session import Connection, pairs, transaction
from bulkmig.selection import Vessel
from bulkmig.shared import Shared
from bulkmig.target.postgres import copy_rows, upsert
from bulkmig.target.references import prove

_BASE_FLUSH = 4 * 1024 * 1024  # bytes of base kept before they are written
_FINDINGS_FLUSH = 20_000  # findings kept before they are written
_STATES = "SELECT vessel_id::text, state FROM bulkmig.vessels WHERE vessel_id = ANY ($1::text[]::uuid[])"

Loads = list[tuple[str, TableLoad]]  # what goes into one table, and the vessel whose it is


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
    """The transaction of one vessel, or of several at once: `put` what each table has become, in order, then
    `close`. Where several fail, none of them is written, and what the error says of the first holds for one
    that is alone."""

    def __init__(
        self, connection: Connection, vessels: Sequence[Vessel], unit: Unit, options: LoadOptions
    ) -> None:
        self.connection, self.unit, self.options = connection, unit, options
        self.results = {vessel.id: Loaded(vessel, "migrated") for vessel in vessels}
        self.started = time.perf_counter()
        self._checkpoints = {vessel.id: new_id() for vessel in vessels}
        self._parts: list[write.BasePart] = []
        self._findings: list[pl.DataFrame] = []
        self._begun = False
        self._known: set[str] = set()  # vessels that the ledger has anything of
        self._brought: set[str] = set()

    def transaction(self) -> AbstractAsyncContextManager[None]:
        return transaction(self.connection, commit=not self.options.dry_run)

    async def put(self, parcels: Sequence[Parcel]) -> None:
        """Copies the rows of parcels of one entity, each of another vessel, and records what of them is not
        loaded. Raises Rejected, VesselError."""
        self._refuse_failing()
        entity = parcels[0].entity
        try:
            if not self._begun:
                await self._begin()
            for loads in _by_table(entity, parcels):
                if self.options.dry_run:
                    await self._bring_along(entity, loads)
                await self._copy(entity, loads)
            if not self.options.dry_run:
                await self._record(parcels)
        except asyncpg.PostgresError as error:
            raise self._failed(error, entity.name) from error
        for parcel in parcels:
            result = self.results[str(parcel.vessel_id)]
            count_findings(result, parcel)
            result.quarantined[entity.source] += parcel.quarantined.height
            result.pending += parcel.waiting.height

    def _refuse_failing(self) -> None:
        if not self.unit.failing.keys().isdisjoint(self.results):
            raise Rejected

    async def _begin(self) -> None:
        self._begun = True
        # In one order, so that no two wait for each other.
        keys = sorted(map(lock_key, self.results))
        await self.connection.execute(
            "".join(f"SELECT pg_advisory_xact_lock({key});" for key in keys)
            + ("SET LOCAL session_replication_role = replica;" if self.options.fk_set else "")
        )
        if self.options.dry_run:
            return
        states = pairs(await self.connection.fetch(_STATES, [*self.results]))
        if "migrated" in states.values():
            raise AlreadyMigrated
        self._known = {*states}
        await self._take_checkpoints()

    async def _take_checkpoints(self) -> None:
        checkpoints, new = self.options.checkpoints, []
        for vessel, id_ in self._checkpoints.items():
            target_id, adopted = self._target_id(vessel), self._adopted(vessel)
            if adopted or vessel in self._known:
                self._checkpoints[vessel] = await checkpoints.of_vessel(
                    self.connection, vessel, target_id, id_=id_, absent=not adopted
                )
            else:
                new.append((vessel, target_id, id_))
        await checkpoints.of_nothing(self.connection, new)

    def _adopted(self, vessel: str) -> bool:
        """Whether it takes a vessel of the portal's over, which one that is quarantined whole doesn't."""
        return ("vessel", vessel) in self.options.decisions.adopted and vessel not in self.unit.whole

    def _target_id(self, vessel: str) -> str:
        if vessel in self.unit.whole:
            return derive_one(vessel, vessel, DIGITS["vessel"])
        return str(self.unit.target_ids("vessel", self.results.keys())[vessel])

    async def _bring_along(self, entity: Entity, loads: Loads) -> None:
        """In a dry run companies are in no transaction but this one: those that these rows refer to go in,
        each with its users."""
        fleet_wide = {r.column: r.entity for r in entity.references if r.entity in ("company", "user")}
        for _, load in loads:
            table = next(table for table in entity.tables if table.name == load.table)
            named = [name for name, cell in table.cells.items() if cell.field in fleet_wide]
            if named:
                frame = from_csv(load.data, load.columns)
                wanted = {id_ for name in named for id_ in frame[name].drop_nulls()}
                await self.options.shared.bring(self.connection, wanted, self._brought)

    async def _copy(self, entity: Entity, loads: Loads) -> None:
        """The rows of one table."""
        table, due = loads[0][1].table, sum(load.rows for _, load in loads)
        if self.options.limiter is not None:
            await throttle(self.options.limiter, due)
        if entity.name == "vessel" and self._adopted(self._first):
            await self._take_over(loads[0][1])
            return
        try:
            rows = await copy_rows(self.connection, [load for _, load in loads])
        except asyncpg.PostgresError as error:
            raise self._failed(error, entity.name, loads[0][1]) from error
        if rows != due:
            raise VesselError(
                f"{table}: {due} rows were sent, the target took {rows}",
                "a trigger or rule of the target drops rows",
                phase="load",
                vessel_id=self._first,
                entity=entity.name,
            )
        for vessel, load in loads:
            self.results[vessel].inserted[table] += load.rows

    async def _take_over(self, load: TableLoad) -> None:
        """The own row of an adopted vessel, which is loaded alone."""
        frame = from_csv(load.data, load.columns)
        await upsert(self.connection, load.table, load.key, frame, self.options.decisions.catalogue)
        self.results[self._first].updated[load.table] += load.rows

    @property
    def _first(self) -> str:
        return next(iter(self.results))

    async def _record(self, parcels: Sequence[Parcel]) -> None:
        run_id = self.options.run_id
        self._findings += [parcel.findings for parcel in parcels if parcel.findings.height]
        if sum(frame.height for frame in self._findings) > _FINDINGS_FLUSH:
            await self._flush_findings()
        await write.quarantine(self.connection, run_id, [parcel.quarantined for parcel in parcels])
        await write.pending(self.connection, run_id, parcels)
        for parcel in parcels:
            if parcel.base:
                vessel = str(parcel.vessel_id)
                part = vessel, parcel.entity.name, parcel.rows, parcel.base, self._checkpoints[vessel]
                self._parts.append(write.BasePart(*part))
        if sum(len(part.payload) for part in self._parts) > _BASE_FLUSH:
            await self._flush_base()

    async def _flush_findings(self) -> None:
        await write.findings(self.connection, self.options.run_id, self._findings)
        self._findings = []

    async def _flush_base(self) -> None:
        await write.base_parts(self.connection, self.options.run_id, self._parts)
        self._parts = []

    async def close(self) -> list[Loaded]:
        """Proves the references if the triggers were off, and writes the marks; the caller commits."""
        self._refuse_failing()
        # Together they took this long; each is told a share of it.
        seconds = (time.perf_counter() - self.started) / len(self.results)
        for vessel, result in self.results.items():
            result.state = "quarantined" if vessel in self.unit.whole else "migrated"
            result.seconds = seconds
        try:
            for vessel in self.results if self.options.fk_set else ():
                await prove(self.connection, vessel, self.options.decisions)
            if not self.options.dry_run:
                await self._flush_findings()
                await self._flush_base()
                if self._known:
                    await write.left_quarantine(self.connection, self.options.run_id, sorted(self._known))
                await self._mark()
        except asyncpg.PostgresError as error:
            raise self._failed(error, "vessel") from error
        return [*self.results.values()]

    async def _mark(self) -> None:
        options = self.options
        identities = [
            (vessel, self._target_id(vessel), self._adopted(vessel))
            for vessel, result in self.results.items()
            if result.state == "migrated"
        ]
        if identities:
            await write.identities(self.connection, options.run_id, "vessel", identities)
        marks = [
            write.Mark(id_, one.vessel.name, one.state, "load", one.rows, one.seconds)
            for id_, one in self.results.items()
        ]
        await write.marks(self.connection, options.who, options.run_id, marks, snapshot=options.snapshot)

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
            vessel_id=self._first,
            entity=entity,
            source_id=source_id,
            field=error.column_name or "",
        )


def _by_table(entity: Entity, parcels: Sequence[Parcel]) -> list[Loads]:
    """What goes into each table of the entity that any of these parcels has rows for."""
    found: dict[str, Loads] = {table.name: [] for table in entity.tables}
    for parcel in parcels:
        for load in parcel.loads:
            found[load.table].append((str(parcel.vessel_id), load))
    return [loads for loads in found.values() if loads]


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
