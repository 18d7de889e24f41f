"""One unit of a migration: pipeline into the loader, and what happens when a vessel can't be loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import asyncpg
from msgspec import Struct, field
from msgspec.structs import replace

from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Decisions, Unit
from bulkmig.encode import parcels
from bulkmig.errors import BulkmigError, ServerLost, VesselError
from bulkmig.events import VesselStarted
from bulkmig.ledger import write
from bulkmig.load import Loader, marked, record
from bulkmig.pipeline import Tally, UnitTooLarge, run
from bulkmig.postgres.again import Patience
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown, Connection, NoConnection, transaction
from bulkmig.postgres.transient import transient
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.shared import Shared
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.transform import Outcome
from bulkmig.vessel_load import (
    AlreadyMigrated,
    Loaded,
    LoadOptions,
    Rejected,
    count_findings,
    mark_failed,
)
from bulkmig.workers import Lane, Queue, Work

Finished = Callable[[list[Loaded], Queue], None]


def work(
    options: LoadOptions,
    shared: Shared,
    queue: Queue,
    report: Report,
    finished: Finished,
    *,
    continue_on_error: bool,
) -> Work:
    """The work of a migration's workers."""
    return _Units(options, shared, queue, report, finished, continue_on_error).one


class _Units(Struct):
    options: LoadOptions
    shared: Shared
    queue: Queue
    report: Report
    finished: Finished
    continue_on_error: bool

    async def one(self, lane: Lane, vessels: list[Vessel]) -> None:
        attempts = _Attempts(self, lane, vessels)
        try:
            tally = await lane.site.patience.work(name_of(vessels), attempts.one, go=attempts.go)
        except (UnitTooLarge, SnapshotGone, ServerLost):
            self.finished(attempts.results, self.queue)
            raise
        except Exception as error:
            self.finished(attempts.results, self.queue)
            await self._give_up(attempts, error)
        else:
            add(self.report, tally)
            self.finished(attempts.results, self.queue)

    async def _give_up(self, attempts: _Attempts, error: Exception) -> None:
        """What becomes of a unit's vessels of which the last attempt has no result."""
        ended = {result.vessel.id for result in attempts.results}
        left = [vessel for vessel in attempts.vessels if vessel.id not in ended]
        if transient(error) and not self.queue.may_go_on(left):
            self.queue.stopped = True  # the window is over: nothing of these is written, the next run goes on
        elif len(attempts.vessels) > 1:
            # The source or a row that no one foresaw: alone, each vessel fails or succeeds for itself.
            self.queue.split(left)
        else:
            assert attempts.loader is not None
            failed = await _failed(
                attempts.lane, attempts.vessels[0], attempts.loader, self.options, self.report, error
            )
            self.finished([failed], self.queue)

    def go_on(self, vessels: Sequence[Vessel], results: Sequence[Loaded]) -> bool:
        """Whether the next vessels of a unit may be started: one that was only read is not in flight."""
        if not results:
            return not self.queue.failed
        if results[-1].state == "failed" and not self.continue_on_error:
            self.queue.fail()
        if not self.queue.may_go_on(vessels):
            self.queue.stopped = True
        return not self.queue.stopped


class _Attempts(Struct):
    """The attempts at one unit, and the loader of the latest. `unknown`: as the loader has it."""

    units: _Units
    lane: Lane
    vessels: list[Vessel]
    unknown: dict[str, Loaded] = field(default_factory=dict)
    loader: Loader | None = None

    async def one(self, number: int) -> Tally:
        lane, options = self.lane, self.units.options
        for vessel in self.vessels:
            lane.site.listen(VesselStarted(vessel.id, vessel.name))
        unit = new_unit(options.decisions, self.vessels, self.units.shared.failures)
        loader = Loader(lane, unit, self.vessels, options, self.unknown, self.units.go_on)
        self.loader = loader
        try:
            return await run(await lane.line(), unit, loader)
        except BaseException as error:
            await loader.abort(error)
            if isinstance(error, Exception) and not isinstance(error, UnitTooLarge):
                await lane.close()
            raise

    def go(self) -> bool:
        """Whether there may be another."""
        return not self.results and self.units.queue.may_go_on(self.vessels)

    @property
    def results(self) -> list[Loaded]:
        return self.loader.results if self.loader is not None else []


def name_of(vessels: Sequence[Vessel]) -> str:
    """What messages call a unit."""
    return f"vessel {vessels[0].id}" if len(vessels) == 1 else f"{len(vessels)} vessels"


def new_unit(decisions: Decisions, vessels: Sequence[Vessel], refused: dict[str, str]) -> Unit:
    """A unit, with the vessels of companies that are kept out marked as such."""
    unit = Unit(decisions, tuple(vessel.id for vessel in vessels))
    for vessel in vessels:
        code = decisions.companies_out.get(vessel.company_id)
        if vessel.company_id in refused and code is not None:
            unit.failing[vessel.id] = f"company {vessel.company_id}: {refused[vessel.company_id]}"
        elif code is not None and decisions.on_error == "fail":
            unit.failing[vessel.id] = f"company {vessel.company_id}: {code}"
        elif code is not None:
            unit.whole[vessel.id] = code
    return unit


def add(report: Report, tally: Tally) -> None:
    """Adds a unit's figures to the report."""
    report.read.update(tally.read)
    report.stats.update(tally.stats)
    report.lossiness.update(tally.lossiness)
    for phase, seconds in tally.seconds.items():
        report.phases[phase] += seconds


async def _failed(
    lane: Lane,
    vessel: Vessel,
    loader: Loader,
    options: LoadOptions,
    report: Report,
    error: Exception,
) -> Loaded:
    if isinstance(error, AlreadyMigrated):
        return await loader.already(vessel)
    if isinstance(error, Rejected):
        return await _rejected(lane, vessel, options, report, loader.unit.failing[vessel.id])
    if isinstance(error, VesselError):
        phase, why = error.phase, str(error)
    elif isinstance(error, (asyncpg.PostgresError, OSError, BulkmigError, asyncpg.InterfaceError)):
        phase, why = "load" if loader.broke else "extract", describe(error)
    else:
        raise error
    if not isinstance(error, NoConnection):
        return await record(lane, vessel, options, phase=phase, error=why)
    # It was waited for long enough: where none is free now either, the vessel fails without a mark.
    spare = Lane(replace(lane.site, patience=Patience(attempts=1, outage=0.0)))
    try:
        return await record(spare, vessel, options, phase=phase, error=why)
    finally:
        await spare.close()


async def _rejected(lane: Lane, vessel: Vessel, options: LoadOptions, report: Report, why: str) -> Loaded:
    """Its findings were rolled back with the rest: a second look at the same snapshot records them all."""

    async def attempt(number: int) -> Loaded:
        unit = new_unit(options.decisions, [vessel], {})
        try:
            target = await lane.target()
            recorder = _Recorder(target, vessel, unit, options)
            try:
                async with transaction(target, commit=not options.dry_run):
                    tally = await run(await lane.line(), unit, recorder)
                    if not options.dry_run:
                        await mark_failed(target, vessel, options, phase="validate", error=why)
            except CommitUnknown:
                await lane.close_target()
                if await marked(lane, vessel, options) != "failed":
                    raise
        except BaseException:
            await lane.close()
            raise
        add(report, tally)
        return recorder.result

    result = Loaded(vessel, "failed")
    try:
        result = await lane.site.patience.work(f"the findings of vessel {vessel.id}", attempt)
    except (ServerLost, SnapshotGone):
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, BulkmigError) as unrecorded:
        why += f" (and its findings could not be recorded: {describe(unrecorded)})"
    result.phase, result.error = "validate", why
    return result


class _Recorder:
    """A sink that keeps nothing but findings."""

    def __init__(self, connection: Connection, vessel: Vessel, unit: Unit, options: LoadOptions) -> None:
        self.connection, self.unit, self.options = connection, unit, options
        self.result = Loaded(vessel, "failed")

    async def look_up(self, entity: Entity, frame: object) -> None:
        """Nothing is needed."""

    def pack(self, outcome: Outcome) -> list[Parcel]:
        return parcels(outcome, self.unit.vessels)

    async def accept(self, parcel: Parcel) -> None:
        count_findings(self.result, parcel)
        if not self.options.dry_run:
            await write.findings(self.connection, self.options.run_id, [parcel.findings])

    async def finish(self) -> None:
        """Nothing is left."""
