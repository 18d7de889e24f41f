"""One unit of a migration: pipeline into the loader, and what happens when a vessel can't be loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import asyncpg

from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Decisions, Unit
from bulkmig.encode import parcels
from bulkmig.errors import BulkmigError, PreflightError, VesselError
from bulkmig.ledger import write
from bulkmig.load import Loader
from bulkmig.pipeline import Tally, UnitTooLarge, run
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import Connection, transaction
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.shared import Shared
from bulkmig.transform import Outcome
from bulkmig.vessel_load import (
    AlreadyMigrated,
    Loaded,
    LoadOptions,
    Rejected,
    count_findings,
    record_failure,
)
from bulkmig.workers import Lane, Queue, Work

Finished = Callable[[list[Loaded], Queue], None]


def work(options: LoadOptions, shared: Shared, queue: Queue, report: Report, finished: Finished) -> Work:
    """The work of a migration's workers."""

    async def one(lane: Lane, vessels: list[Vessel]) -> None:
        unit = new_unit(options.decisions, vessels, shared.failures)
        loader = Loader(lane, unit, vessels, options)
        try:
            tally = await run(await lane.line(), unit, loader)
        except BaseException as error:
            await loader.abort(error)
            if isinstance(error, UnitTooLarge) or not isinstance(error, Exception):
                raise
            await lane.close()
            if len(vessels) > 1:
                # The source or a row that no one foresaw: alone, each vessel fails or succeeds for itself.
                finished(loader.results, queue)
                ended = {result.vessel.id for result in loader.results}
                queue.split([vessel for vessel in vessels if vessel.id not in ended])
                return
            finished([await _failed(lane, vessels[0], unit, options, report, error)], queue)
            return
        add(report, tally)
        finished(loader.results, queue)

    return one


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
    lane: Lane, vessel: Vessel, unit: Unit, options: LoadOptions, report: Report, error: Exception
) -> Loaded:
    if isinstance(error, AlreadyMigrated):
        return Loaded(vessel, "skipped")
    try:
        target = await lane.target()
    except PreflightError as lost:
        # Not a matter of preflight any more: this vessel can't even be marked, the others may be luckier.
        return Loaded(vessel, "failed", phase="load", error=lost.message)
    if isinstance(error, Rejected):
        # Its findings were rolled back with the rest: a second look at the same snapshot records them all.
        again = new_unit(options.decisions, [vessel], {})
        recorder = _Recorder(target, vessel, again, options)
        async with transaction(target, commit=not options.dry_run):
            tally = await run(await lane.line(), again, recorder)
        add(report, tally)
        result = await record_failure(
            target, vessel, options, phase="validate", error=unit.failing[vessel.id]
        )
        result.findings, result.elsewhere = recorder.result.findings, recorder.result.elsewhere
        return result
    if isinstance(error, VesselError):
        return await record_failure(target, vessel, options, phase=error.phase, error=str(error))
    if isinstance(error, (asyncpg.PostgresError, OSError, BulkmigError, asyncpg.InterfaceError)):
        return await record_failure(target, vessel, options, phase="extract", error=describe(error))
    raise error


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
