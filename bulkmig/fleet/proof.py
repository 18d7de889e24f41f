"""The verification of what a run wrote, and the way back for vessels that fail it."""

from __future__ import annotations

from msgspec.structs import replace

from bulkmig.checkpoint.others import WAITING
from bulkmig.events import PhaseStarted
from bulkmig.fleet.run import Run
from bulkmig.report import Failure
from bulkmig.undo import Undo
from bulkmig.verify_fleet import verify_fleet
from bulkmig.verify_units import Comparison
from bulkmig.vessel_load import Loaded


async def prove(run: Run) -> None:
    """Compares every cell of this run's vessels, companies and users, seen in the same snapshot; where there
    had to be a second one, with what the source has now. With `--rollback-on-error`, vessels that differ go
    back to what they were and have failed."""
    run.listen(PhaseStarted("verification", len(run.counted.done)))
    await run.step("verification", lambda: _verify(run))
    if run.settings.rollback_on_error and run.report.differing:
        run.listen(PhaseStarted("rollback", len(run.report.differing)))
        await run.step("rollback", lambda: _undo(run))


async def _verify(run: Run) -> None:
    decisions = replace(run.fleet.decisions, on_error="quarantine")
    counted = run.counted
    for same in (True, False):
        vessels = [r.vessel for r in counted.done if (r.vessel.id not in counted.older) == same]
        if same or vessels:
            comparison = Comparison(
                site=run.site,
                settings=run.settings,
                ends=run.ends,
                fleet=replace(run.fleet, decisions=decisions),
                report=run.report,
                same_snapshot=same,
                listen=run.listen,
                behind=run.verified,
            )
            await verify_fleet(comparison, vessels)


async def _undo(run: Run) -> None:
    report, counted = run.report, run.counted
    done = {result.vessel.id: result for result in counted.done}
    wrong = [(done[id_].vessel, first) for id_, first in report.differing.items() if id_ in done]
    undo = Undo(run.ends, report.run_id, run.settings.operator, run.ends.seen)
    known = {id_: result.vessel for id_, result in done.items()}
    undone, report.pending = await undo.vessels(wrong, known)
    for one in undone:
        if one.back is None:
            report.failures.append(
                Failure(one.vessel.id, one.vessel.name, one.vessel.imo_number, "verify", one.error)
            )
            continue
        result = done[one.vessel.id]
        # Rows that waited went in after the vessel was counted; others wait for it again.
        for table in WAITING:
            late = one.back.restored.deleted[table] - one.back.waiting - result.inserted[table]
            report.inserted[table] -= max(late, 0) + one.back.waiting
        pending = report.pending
        counted.take_back([result])
        report.pending = pending
        counted.add(Loaded(one.vessel, "failed", phase="verify", error=one.error))
