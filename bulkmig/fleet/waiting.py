"""The end of a run's writing: rows between vessels, and from where the next sync looks on."""

from __future__ import annotations

from msgspec.structs import replace

from bulkmig.events import PhaseStarted
from bulkmig.fleet import listed
from bulkmig.fleet.run import Run
from bulkmig.ledger import seen, write
from bulkmig.report import Failure
from bulkmig.settle import Settled, settle
from bulkmig.source.changes import Seen, compare, look


async def finish_waiting(run: Run) -> None:
    """Rows between vessels, now that all of this run are there; findings that several came across."""
    report = run.report
    elsewhere = report.count_elsewhere()
    await run.step("findings", lambda: write.findings(run.ends.target, report.run_id, [elsewhere]))
    run.listen(PhaseStarted("waiting rows"))
    settled = Settled()

    async def look() -> None:
        await settle(run.ends.holder, run.ends.target, run.fleet.decisions, run.checkpoints, run.who, settled)

    await run.step("waiting rows", look)
    report.inserted.update(settled.inserted)
    report.quarantined.update(settled.quarantined)
    for findings in settled.findings:
        report.count_findings(findings)
    report.pending = settled.pending
    if report.command == "migrate":
        await run.step("the list of what is kept out", lambda: listed.release(run))
    await run.step("what was seen", lambda: _remember(run))
    report.failures += [
        Failure(vessel, "", None, "load", f"{entity} {source_id}: {cause}")
        for entity, source_id, vessel, cause in settled.refused
    ]


async def _remember(run: Run) -> None:
    """From here the next sync looks for changes in the vessels that are up to date now."""
    due = [
        result.vessel.id
        for result in run.counted.done
        if result.state == "migrated"
        and not (result.held_back or result.unsettled)
        and result.vessel.id not in run.counted.older
    ]
    if due and run.report.command in ("migrate", "sync"):
        now = run.looked.get(run.ends.seen) or Seen("", 0)
        new = [vessel for vessel in due if vessel not in now.keys]
        if new:
            looked = await run.ahead.found(run.ends.snapshot, new) if run.ahead is not None else None
            found, _ = compare(looked or await look(run.ends.holder, new), dict.fromkeys(new, 0))
            now = replace(found, keys=now.keys | found.keys)
        await seen.remember(run.ends.target, now, due)
