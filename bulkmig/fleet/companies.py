"""Companies and users of a run's vessels, and the decisions that come with them."""

from __future__ import annotations

import time
from collections.abc import Collection

import polars as pl

from bulkmig import numbers, orphans
from bulkmig._core.unit import Decisions
from bulkmig.events import PhaseStarted
from bulkmig.fleet.beginning import decided
from bulkmig.fleet.run import Run
from bulkmig.ledger import runs
from bulkmig.postgres.session import CommitUnknown
from bulkmig.processes import Job
from bulkmig.selection import Vessel
from bulkmig.shared import REFUSED, Shared
from bulkmig.target import state as target_state


async def write_companies(
    run: Run, due: list[Vessel], *, everything: bool, companies: Collection[str] = ()
) -> None:
    """Companies and users of all vessels that are due, then rows that belong to no vessel at all."""
    run.listen(PhaseStarted("companies and users"))

    async def attempt() -> None:
        await _write(run, due, everything=everything, companies=companies)

    async def again() -> None:
        run.state = await target_state.read(run.ends.target)
        await attempt()

    await run.step("companies and users", attempt)
    run.decide_again = again


async def _write(run: Run, due: list[Vessel], *, everything: bool, companies: Collection[str]) -> None:
    started = time.perf_counter()
    report, target = run.report, run.ends.target
    fleet = await decided(
        run.settings,
        run.ends,
        due,
        run.state,
        on_error=run.settings.on_error,
        companies=companies,
        after=run.after,
    )
    if run.syncs:
        # Companies and users whom the portal deleted are the conflict strategy's to bring back.
        for of in ("company", "user"):
            fleet.present[of] = fleet.present.get(of, frozenset()) | fleet.deleted[of]
        if run.rows is not None:
            _keep_found(fleet.decisions, run.fleet.decisions)
    else:
        fleet.leave_deleted_users()
    rows = Shared(fleet, before=run.rows)
    nowhere = await orphans.find(run.ends.holder) if everything and run.rows is None else None
    if not run.settings.dry_run:
        # A sync asks for numbers again once it has seen which vessels have new rows.
        await numbers.assign(
            run.ends.holder, target, fleet, run.grown if run.syncs and not run.outdated else due
        )
        try:
            await rows.load(target, run.checkpoints, nowhere, run.ends.seen)
        except CommitUnknown:
            seen, again = run.ends.seen, run.rows is not None and not run.outdated
            await run.reopen()
            # Of a second look under one snapshot that tells nothing: the step reads what is there.
            if again or not await runs.has_snapshot(run.ends.target, report.run_id, seen):
                raise
    inserted, updated = rows.counts() if run.settings.dry_run else (rows.inserted, rows.updated)
    report.inserted.update(inserted)
    report.updated.update(updated)
    for findings in rows.findings():
        report.count_findings(findings)
    if run.rows is not None:
        _count(run, run.rows, -1)
    _count(run, rows, 1)
    for orphan in nowhere or ():
        report.count_findings(orphan.findings)
        report.quarantined[orphan.source] += orphan.quarantined.height
    run.fleet, run.rows, run.outdated = fleet, rows, False
    report.phases["load"] += time.perf_counter() - started


def _keep_found(decisions: Decisions, before: Decisions) -> None:
    """What a sync has found out since it decided: the ids of rows that leave their vessels, or would, and who
    gets an IMO number."""
    for of, ids in before.kept_ids.items():
        decisions.kept_ids.setdefault(of, {}).update(ids)
    decisions.imo_taken = before.imo_taken


def _count(run: Run, rows: Shared, sign: int) -> None:
    """What a look at the same companies and users under a new snapshot replaces."""
    for outcome in rows.fleet.shared:
        for code, n in outcome.lossiness.items():
            run.report.lossiness[code] += sign * n
        run.report.quarantined[outcome.entity.source] += sign * rows.quarantined(outcome).height
        run.report.read[outcome.entity.source] += sign * outcome.rows


async def write_late_users(run: Run) -> None:
    """Users whose e-mails were somebody else's until those who were there had changed."""
    if run.rows is not None and run.fleet.late and not run.settings.dry_run:
        inserted, updated = run.rows.inserted.copy(), run.rows.updated.copy()
        await run.rows.load_late(run.ends.target, run.checkpoints)
        run.report.inserted.update(run.rows.inserted - inserted)
        run.report.updated.update(run.rows.updated - updated)


async def decide_as(run: Run, job: Job, vessels: list[Vessel]) -> None:
    """In a further process: decides as the first one did, about its share."""
    run.state = await target_state.read(run.ends.target)
    run.fleet = await decided(run.settings, run.ends, vessels, run.state, on_error=run.settings.on_error)
    decisions = run.fleet.decisions
    decisions.vessels_due = job.due
    decisions.companies_out.update(dict.fromkeys(job.refused, REFUSED))
    # Only users whom the parent has written: those that the target refused are not there.
    written = list(run.state.identities.get("user", {}))
    users = decisions.identity("user")
    decisions.identities["user"] = users.filter(pl.col("source_id").is_in(written))
    run.rows = Shared(run.fleet, failures=job.refused)
