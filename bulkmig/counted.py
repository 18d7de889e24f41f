"""What became of a run's vessels, counted into its report."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bulkmig.events import Event, Listener, VesselDone, VesselFailed, VesselUndone
from bulkmig.report import SLOWEST, Failure, Report
from bulkmig.vessel_load import Loaded
from bulkmig.workers import Queue


def add_rows(report: Report, result: Loaded) -> None:
    """Adds what was done of a vessel's rows."""
    report.inserted.update(result.inserted)
    report.updated.update(result.updated)
    report.deleted.update(result.deleted)
    report.unchanged.update(result.unchanged)


class Counted:
    """`ended`: vessels of which it is known what became of them; `older`: those that were read in an earlier
    snapshot than the run has now."""

    def __init__(self, report: Report, listen: Listener, *, continue_on_error: bool) -> None:
        self.report, self.listen, self.continue_on_error = report, listen, continue_on_error
        self._done: dict[str, Loaded] = {}
        self.ended: set[str] = set()
        self.older: set[str] = set()

    @property
    def done(self) -> Collection[Loaded]:
        """Vessels that are in the target, or quarantined whole."""
        return self._done.values()

    def finished(self, results: list[Loaded], queue: Queue) -> None:
        """Counts what a worker has done; after a failure no more may be started, unless the run goes on."""
        for result in results:
            self.add(result)
            if result.state == "failed" and not self.continue_on_error:
                queue.fail()

    def finished_again(self, results: list[Loaded], queue: Queue) -> None:
        """For vessels that had to be looked at twice: what they wrote is added up, what is kept out and what
        was found is as it was the second time."""
        for result in results:
            first = self._done.get(result.vessel.id)
            if result.state == "failed" or first is None:
                self.finished([result], queue)
                self.report.done -= result.state != "failed"
                continue
            self.take_back([first])
            for now, before in (
                (result.inserted, first.inserted),
                (result.updated, first.updated),
                (result.deleted, first.deleted),
                (result.conflicts, first.conflicts),
            ):
                now.update(before)
            result.unchanged = first.unchanged
            self.add(result)

    def add(self, result: Loaded) -> None:
        """Adds what became of a vessel to the report, and tells whoever listens."""
        report, vessel = self.report, result.vessel
        self.ended.add(vessel.id)
        report.findings.update(result.findings)
        report.elsewhere += result.elsewhere
        result.elsewhere = []
        event: Event
        if result.state == "failed":
            report.failed += 1
            report.failures.append(
                Failure(vessel.id, vessel.name, vessel.imo_number, result.phase, result.error)
            )
            event = VesselFailed(vessel.id, vessel.name, result.phase, result.error)
        elif result.state == "skipped":
            report.skipped += 1
            event = VesselDone(vessel.id, vessel.name, "skipped", 0, 0.0)
        else:
            report.done += 1
            add_rows(report, result)
            report.conflicts.update(result.conflicts)
            report.held_back += result.held_back
            report.quarantined.update(result.quarantined)
            report.pending += result.pending
            report.slowest = sorted(
                [*report.slowest, (vessel.name, result.seconds, result.rows)], key=lambda entry: -entry[1]
            )[:SLOWEST]
            self._done[vessel.id] = result
            event = VesselDone(
                vessel.id,
                vessel.name,
                result.state,
                result.rows,
                result.seconds,
                sum(n for (severity, _), n in result.findings.items() if severity == "warning"),
                result.quarantined.total(),
            )
        self.listen(event)

    def merge(self, done: Sequence[Loaded], ended: Collection[str]) -> None:
        """Adds vessels that a further process has counted, and has told of."""
        self._done |= {result.vessel.id: result for result in done}
        self.ended |= set(ended)

    def take_back(self, undone: Sequence[Loaded]) -> None:
        """These were committed, and a crash of the target has undone it."""
        report = self.report
        for result in undone:
            report.done -= 1
            report.findings.subtract(result.findings)
            report.inserted.subtract(result.inserted)
            report.updated.subtract(result.updated)
            report.deleted.subtract(result.deleted)
            report.unchanged.subtract(result.unchanged)
            report.conflicts.subtract(result.conflicts)
            report.held_back -= result.held_back
            report.quarantined.subtract(result.quarantined)
            report.pending -= result.pending
            self.listen(VesselUndone(result.vessel.id, result.vessel.name))
            self._done.pop(result.vessel.id, None)
            self.ended.discard(result.vessel.id)
            self.older.discard(result.vessel.id)
