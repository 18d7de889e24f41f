"""Verification of many vessels in one process: its workers compare one unit after the other."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bulkmig import unreadable
from bulkmig._core.ids import prefix
from bulkmig._core.unit import Decisions, Unit
from bulkmig.config import Settings
from bulkmig.decide.fleet import Fleet
from bulkmig.ends import Ends
from bulkmig.events import Listener, VesselReached, VesselVerified
from bulkmig.pipeline import Tally, run
from bulkmig.postgres.session import Connection
from bulkmig.postgres.transient import transient
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.units import cut
from bulkmig.unreadable import Unreadable
from bulkmig.unseen import unseen
from bulkmig.verified import Deviation, Verified
from bulkmig.verify import Verifier
from bulkmig.weigh import Unseen, Weigher
from bulkmig.workers import Lane, Queue, Site, run_units


class Comparison(Struct, kw_only=True):
    """What the target is compared with, and how. What it finds is added to the report.

    `behind`: vessels that an earlier call, which broke off, has compared already, and what this one does."""

    site: Site
    settings: Settings
    ends: Ends
    fleet: Fleet
    report: Report
    same_snapshot: bool
    listen: Listener
    behind: set[str]


async def verify_vessels(comparison: Comparison, vessels: Sequence[Vessel]) -> bool:
    """Compares these vessels in this process. Returns whether those that are missing need a new snapshot."""
    site, ends, report = comparison.site, comparison.ends, comparison.report
    queue = Queue(cut(vessels, site.batch_bytes))
    if vessels:
        units = _Units(comparison, queue, await unseen(ends.holder, ends.target))
        await run_units(site, queue, comparison.settings.parallel_vessels, units.one)
    report.peak_in_flight = max(report.peak_in_flight, site.memory.peak)
    return queue.renew


class _Units(Struct):
    """The work of the workers."""

    of: Comparison
    queue: Queue
    unseen: Unseen

    async def one(self, lane: Lane, members: list[Vessel]) -> None:
        async def attempt(number: int) -> tuple[Verified, Tally]:
            for vessel in members:
                self.of.listen(VesselReached(vessel.id, vessel.name, "verify"))
            try:
                return await self._compared(lane, members)
            except Exception:
                await lane.close()
                raise

        what = f"the verification of {members[0].id}" + (" and others" if len(members) > 1 else "")
        try:
            result, tally = await lane.site.patience.work(what, attempt)
        except Unreadable as error:
            if transient(error) or self.of.report.command != "verify":
                raise  # a run has just read and written all of it
            if len(members) > 1:
                self.queue.split(members)
            else:
                unreadable.record(members[0], error, self.of.report, self.of.listen)
                self.of.behind.add(members[0].id)
            return
        if self.of.settings.rollback_on_error and self.of.same_snapshot:
            differing = by_vessel(members, self.of.fleet.decisions, result)
            if differing is None:
                self.queue.split(members)
                return
            self.of.report.differing |= differing
        self._add(members, result, tally)

    async def _compared(self, lane: Lane, members: list[Vessel]) -> tuple[Verified, Tally]:
        fleet, report, target = self.of.fleet, self.of.report, await lane.target()
        unit = Unit(fleet.decisions, tuple(vessel.id for vessel in members))
        for vessel in members:
            if vessel.company_id in fleet.decisions.companies_out:
                unit.whole[vessel.id] = fleet.decisions.companies_out[vessel.company_id]
        weigher = Weigher(target, unit.vessels, self.of.same_snapshot, self.unseen, self.of.settings.reveal)
        verifier = Verifier(target, unit, weigher)
        tally = await run(await lane.line(), unit, verifier)
        result = verifier.result
        if verifier.surplus:
            again = Unit(fleet.decisions, unit.vessels)
            second = Verifier(target, again, weigher, collect=verifier.surplus)
            await run(await lane.line(), again, second)
            result.add(second.result)
        if report.command == "verify" and report.run_id:
            await _remember(target, report.run_id, members, result)
        return result, tally

    def _add(self, members: list[Vessel], result: Verified, tally: Tally) -> None:
        report = self.of.report
        report.verified.add(result)
        self.of.behind.update(vessel.id for vessel in members)
        for vessel in members:
            self.of.listen(VesselVerified(vessel.id, vessel.name, result.difference_count))
        if report.command == "verify":
            report.done += len(members)
            for phase, seconds in tally.seconds.items():
                report.phases[phase] += seconds


def by_vessel(
    members: Sequence[Vessel], decisions: Decisions, result: Verified
) -> dict[str, Deviation] | None:
    """Each vessel that differs, with its first difference; None where the list doesn't tell."""
    if len(members) == 1:
        return {members[0].id: result.differences[0]} if result.differences else {}
    if len(result.differences) < result.difference_count:
        return None
    # A row's id begins like its vessel's; a vessel that was taken over has an id of the portal's.
    target_ids = dict(decisions.identity("vessel").iter_rows())
    known = {prefix(vessel.id): vessel.id for vessel in members}
    known |= {target_ids[vessel.id]: vessel.id for vessel in members if vessel.id in target_ids}
    length = len(prefix(members[0].id))
    found: dict[str, Deviation] = {}
    for one in result.differences:
        vessel = known.get(one.id) or known.get(one.id[:length])
        if vessel is None:
            return None
        found.setdefault(vessel, one)
    return found


async def _remember(target: Connection, run_id: str, vessels: Sequence[Vessel], result: Verified) -> None:
    """Records that these vessels are behind this verification, so that it can be resumed."""
    await target.executemany(
        "INSERT INTO bulkmig.verified (run_id, vessel_id, result) VALUES ($1::text::uuid, $2::text::uuid, $3)"
        " ON CONFLICT DO NOTHING",
        [(run_id, vessel.id, str(result.difference_count)) for vessel in vessels],
    )
