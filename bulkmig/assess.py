"""Looks without writing: `validate` (all findings of a selection) and `plan` (what a migration would do)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from bulkmig import unreadable
from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.stop import Stop
from bulkmig._core.unit import Unit
from bulkmig.between import Between
from bulkmig.config import Settings, check
from bulkmig.decide import imo_numbers
from bulkmig.decide.fleet import Fleet
from bulkmig.encode import parcels
from bulkmig.ends import Ends
from bulkmig.events import (
    Listener,
    PhaseStarted,
    RunEnded,
    RunStarted,
    VesselDone,
    VesselFailed,
    VesselStarted,
    silent,
)
from bulkmig.fleet.beginning import decided, site
from bulkmig.migrate_units import add, new_unit
from bulkmig.orphans import find
from bulkmig.pipeline import Tally, run
from bulkmig.postgres.transient import transient
from bulkmig.preflight import both, joined
from bulkmig.processes import Job, Share, spread
from bulkmig.report import Failure, Report
from bulkmig.selection import Selection, Vessel, listed, resolve
from bulkmig.shared import Shared
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.target import state as target_state
from bulkmig.transform import Outcome
from bulkmig.units import cut
from bulkmig.unreadable import Unreadable
from bulkmig.workers import Lane, Queue, run_units

# Rough figures of one machine for the plan's estimate: target rows a second, bytes a target row with indexes.
ROWS_PER_SECOND = 100_000
BYTES_PER_ROW = 420


async def validate(
    settings: Settings, selection: Selection, *, listen: Listener = silent, stop: Stop | None = None
) -> Report:
    """All findings of the selected vessels, their companies and users, whether migrated before or not."""
    return await _assess("validate", settings, selection, listen, stop or Stop(), everything=True)


async def plan(
    settings: Settings, selection: Selection, *, listen: Listener = silent, stop: Stop | None = None
) -> Report:
    """What `migrate` would do with this selection now: vessels, rows, adoptions, findings, time and bytes."""
    return await _assess("plan", settings, selection, listen, stop or Stop(), everything=False)


async def _assess(
    command: str,
    settings: Settings,
    selection: Selection,
    listen: Listener,
    stop: Stop,
    *,
    everything: bool,
) -> Report:
    settings = check(settings)
    report = Report(command, memory_bound=settings.memory, findings_list=[])
    async with both(settings, writing=False, listen=listen) as ends:
        selected = await resolve(ends.holder, selection)
        state = await target_state.read(ends.target)
        migrated = {vessel for vessel, mark in state.marks.items() if mark.state == "migrated"}
        due = [v for v in selected if everything or v.id not in migrated]
        report.selected, report.skipped = len(selected), len(selected) - len(due)
        listen(RunStarted(command, "", len(due), report.skipped))
        listen(listed(due))
        fleet = await decided(settings, ends, due, state, on_error=settings.on_error)
        fleet.leave_deleted_users()
        fleet.decisions.imo_taken |= await imo_numbers.taken(ends.holder, ends.target, state, due)
        _count_shared(fleet, report, everything=everything)
        if selection.all:
            for rows in await find(ends.holder):
                report.count_findings(rows.findings)
                report.quarantined[rows.source] += rows.quarantined.height
        between = Between()
        listen(PhaseStarted("vessels", len(due)))
        with stop.scope() as scope:
            if settings.processes > 1:
                job = Job("assess", settings, ends.snapshot, "", due=fleet.decisions.vessels_due)
                await _spread(job, due, between, report, listen)
            else:
                await _vessels(settings, ends, fleet, due, between, report, listen)
            await between.tell(
                ends.holder,
                ends.target,
                fleet.decisions,
                report,
                ledger=bool(state.ledger),
                earlier=not everything,
            )
        if scope.cancelled_caught:
            report.status = "stopped"
        report.count_elsewhere()
        total = sum(report.inserted.values()) + sum(report.updated.values())
        report.estimate = {"seconds": round(total / ROWS_PER_SECOND, 1), "bytes": total * BYTES_PER_ROW}
    report.finish()
    listen(RunEnded(command, "", report.status))
    return report


def _count_shared(fleet: Fleet, report: Report, *, everything: bool) -> None:
    rows = Shared(fleet)
    for outcome, new in zip(fleet.shared, rows.findings(), strict=True):
        report.count_findings(outcome.findings if everything else new)
        report.quarantined[outcome.entity.source] += rows.quarantined(outcome).height
        report.lossiness.update(outcome.lossiness)
    inserted, updated = rows.counts()
    report.inserted.update(inserted)
    report.updated.update(updated)


async def _spread(job: Job, due: list[Vessel], between: Between, report: Report, listen: Listener) -> None:
    """The vessels in several processes."""
    job.companies = frozenset(vessel.company_id for vessel in due)

    def collect(share: Share) -> None:
        report.merge(share.report)
        if share.between is not None:
            between.merge(share.between)

    await spread(job, due, collect, listen)


async def assess_share(job: Job, vessels: list[Vessel], listen: Listener, stop: Stop) -> Share:
    """A further process's share: vessels only."""
    report = Report("plan", selected=len(vessels), memory_bound=job.settings.memory, findings_list=[])
    async with joined(job.settings, job.snapshot, listen=listen) as ends:
        state = await target_state.read(ends.target)
        fleet = await decided(
            job.settings,
            ends,
            vessels,
            state,
            on_error=job.settings.on_error,
            companies=job.companies,
        )
        fleet.leave_deleted_users()
        fleet.decisions.imo_taken |= await imo_numbers.taken(ends.holder, ends.target, state, vessels)
        fleet.decisions.vessels_due = job.due
        between = Between()
        with stop.scope():
            await _vessels(job.settings, ends, fleet, vessels, between, report, listen)
    return Share(report, between=between)


async def _vessels(
    settings: Settings,
    ends: Ends,
    fleet: Fleet,
    due: list[Vessel],
    between: Between,
    report: Report,
    listen: Listener,
) -> None:
    async def one(lane: Lane, vessels: list[Vessel]) -> None:
        started = time.perf_counter()

        async def attempt(number: int) -> tuple[_Counter, Tally]:
            for vessel in vessels:
                listen(VesselStarted(vessel.id, vessel.name))
            unit = new_unit(fleet.decisions, vessels, {})
            counter = _Counter(unit, between, report)
            try:
                return counter, await run(await lane.line(), unit, counter)
            except Exception:
                await lane.close()
                raise

        try:
            counter, tally = await lane.site.patience.work(f"vessel {vessels[0].id}", attempt)
        except Unreadable as error:
            if transient(error):
                raise
            if len(vessels) > 1:
                queue.split(vessels)  # as in a migration: alone, each fails or succeeds for itself
            else:
                between.failing.add(vessels[0].id)
                unreadable.record(vessels[0], error, report, listen)
            return
        add(report, tally)
        counter.tell(vessels, time.perf_counter() - started, listen)

    place = site(settings, ends, listen)
    queue = Queue(cut(due, settings.batch_bytes))
    await run_units(place, queue, settings.parallel_vessels, one)
    if queue.renew:
        raise SnapshotGone("the source's snapshot is lost: it was restarted", "run the same command again")
    report.peak_in_flight = place.memory.peak


class _Counter(Struct):
    """A sink that counts what a loader would do; `tell` adds that to the report. Nothing is added before the
    whole unit is through: one that is too large is done again vessel by vessel."""

    unit: Unit
    between: Between
    report: Report
    findings: list[pl.DataFrame] = field(default_factory=list)
    elsewhere: list[pl.DataFrame] = field(default_factory=list)
    rows: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    quarantined: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    apart: list[Parcel] = field(default_factory=list)  # what rows between vessels depend on

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None:
        """Nothing: what waits is counted by where its ends are."""

    def pack(self, outcome: Outcome) -> list[Parcel]:
        return parcels(outcome, self.unit.vessels)

    async def accept(self, parcel: Parcel) -> None:
        vessel = parcel.vessel_id
        self.findings.append(parcel.findings)
        if parcel.elsewhere is not None:
            self.elsewhere.append(parcel.elsewhere)
        for table in parcel.entity.tables:
            image = parcel.image
            rows = image.filter(pl.col(f"?{table.name}")) if table.when is not None else image
            self.rows[vessel, table.name] += rows.height
        self.quarantined[vessel, parcel.entity.source] += parcel.quarantined.height
        if parcel.entity.name == "equipment" or parcel.entity.waits is not None:
            self.apart.append(replace(parcel, image=parcel.image.clear()))

    async def finish(self) -> None:
        """Nothing is left."""

    def tell(self, vessels: Sequence[Vessel], seconds: float, listen: Listener) -> None:
        """Adds the unit's vessels to the report."""
        report = self.report
        for findings in self.findings:
            report.count_findings(findings)
        report.elsewhere += self.elsewhere
        for vessel in vessels:
            why = self.unit.failing.get(vessel.id)
            if why is not None:
                self.between.failing.add(vessel.id)
                report.failed += 1
                report.failures.append(Failure(vessel.id, vessel.name, vessel.imo_number, "validate", why))
                listen(VesselFailed(vessel.id, vessel.name, "validate", why))
            else:
                report.done += 1
                listen(VesselDone(vessel.id, vessel.name, "validated", self._add(vessel.id), seconds))

    def _add(self, vessel: str) -> int:
        """Adds a vessel's figures; returns how many target rows it would have."""
        adopted = ("vessel", vessel) in self.unit.decisions.adopted
        for (owner, table), n in self.rows.items():
            if owner == vessel:
                taken_over = adopted and table in ("vessels", "vessel_details")
                (self.report.updated if taken_over else self.report.inserted)[table] += n
        for (owner, source), n in self.quarantined.items():
            if owner == vessel:
                self.report.quarantined[source] += n
        for parcel in self.apart:
            if parcel.vessel_id == vessel:
                self.between.add(parcel)
        return sum(n for (owner, _), n in self.rows.items() if owner == vessel)
