"""`bulkmig verify`: the cell-by-cell comparison on its own, resumed where it was cut off."""

from __future__ import annotations

from functools import partial
from uuid import uuid4

import polars as pl

from bulkmig._core.stop import Stop
from bulkmig.config import Settings, check
from bulkmig.decide import imo_numbers
from bulkmig.errors import PreflightError
from bulkmig.events import Listener, PhaseStarted, RunStarted, silent
from bulkmig.fleet.beginning import decided, site
from bulkmig.fleet.ending import to_its_end
from bulkmig.fleet.run import Run
from bulkmig.ledger import base
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.preflight import both, joined
from bulkmig.processes import Job, Share
from bulkmig.report import Report
from bulkmig.selection import Selection, Vessel, listed, resolve
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.target import state as target_state
from bulkmig.verify_fleet import verify_fleet
from bulkmig.verify_units import Comparison, verify_vessels

_UNFINISHED = """
SELECT id::text FROM bulkmig.runs
 WHERE command = 'verify' AND selection = $1 AND status IN ('running', 'interrupted', 'stopped', 'failed')
   AND started_at > coalesce((SELECT max(started_at) FROM bulkmig.runs
                               WHERE command <> 'verify' OR (selection = $1 AND status NOT IN
                                     ('running', 'interrupted', 'stopped', 'failed'))), '-infinity')
 ORDER BY started_at DESC LIMIT 1
"""


async def verify(
    settings: Settings, selection: Selection, *, listen: Listener = silent, stop: Stop | None = None
) -> Report:
    """Compares what the target holds of the selected vessels with what the source yields now.

    Vessels that an interrupted verification of the same selection had behind it count as skipped, unless
    something was migrated since. So do vessels that were never migrated."""
    settings = check(settings)
    report = Report("verify", str(uuid4()), memory_bound=settings.memory)
    listen = report.timeline.hearing(listen)
    async with both(settings, writing=False, needs_ledger=True, listen=listen) as ends:
        selected = await resolve(ends.holder, selection)
        state = await target_state.read(ends.target)
        written = [v for v in selected if v.id in state.marks and state.marks[v.id].state != "failed"]
        if selected and not written:
            raise PreflightError("none of the selected vessels was migrated", "run `bulkmig migrate` first")
        behind = await _resume(ends.target, report, selection)
        due = [vessel for vessel in written if vessel.id not in behind]
        report.selected, report.skipped = len(selected), len(selected) - len(due)
        listen(RunStarted("verify", report.run_id, len(due), report.skipped, verifies=True))
        listen(listed(due))
        run = Run(settings, ends, state, report, listen, stop or Stop())
        if behind:
            await run.hold()
        else:
            await run.begin(str(selection))
        compared: set[str] = set()

        async def compare() -> None:
            fleet = await decided(
                settings, ends, written, state, on_error="quarantine", after=partial(_emails, ends.target)
            )
            fleet.leave_deleted_users()
            fleet.decisions.imo_taken |= await imo_numbers.taken(ends.holder, ends.target, state, written)
            comparison = Comparison(
                site=run.site,
                settings=settings,
                ends=ends,
                fleet=fleet,
                report=report,
                same_snapshot=False,
                listen=listen,
                behind=compared,
            )
            await verify_fleet(comparison, due)

        async with to_its_end(run):
            listen(PhaseStarted("verification", len(due)))
            await run.step("verification", compare)
    return report


async def _emails(target: Connection, users: pl.DataFrame) -> dict[str, str]:
    """Target id -> e-mail that these users, who are loaded, would get from a sync: who can't have it,
    since it is taken, keeps what was last written."""
    written = await base.among(target, [NIL], "user", users["source_id"].to_list()) if users.height else None
    if written is None:
        return {}
    before = written.select("source_id", pl.col("users.email").alias("before"))
    changed = users.join(before, on="source_id").filter(pl.col("users.email") != pl.col("before"))
    return dict(changed.select("@id", "users.email").iter_rows())


async def verify_share(job: Job, vessels: list[Vessel], listen: Listener, stop: Stop) -> Share:
    """A further process's share of a verification: vessels only."""
    settings = job.settings
    report = Report("verify", job.run_id, selected=len(vessels), memory_bound=settings.memory)
    share = Share(report)
    try:
        async with joined(settings, job.snapshot, listen=listen) as ends:

            async def attempt(number: int) -> bool:
                if number > 1:
                    await ends.mend()
                state = await target_state.read(ends.target)
                fleet = await decided(settings, ends, vessels, state, on_error="quarantine")
                fleet.leave_deleted_users()
                fleet.decisions.imo_taken = set(job.imo_taken)
                comparison = Comparison(
                    site=site(settings, ends, listen),
                    settings=settings,
                    ends=ends,
                    fleet=fleet,
                    report=report,
                    same_snapshot=job.same_snapshot,
                    listen=listen,
                    behind=share.behind,
                )
                due = [vessel for vessel in vessels if vessel.id not in share.behind]
                return await verify_vessels(comparison, due)

            with stop.scope() as scope:
                share.renew = await ends.patience.work("verification", attempt)
            if scope.cancelled_caught:
                report.status = "stopped"
    except SnapshotGone:
        share.renew = True
    report.finish()
    return share


async def _resume(target: Connection, report: Report, selection: Selection) -> set[str]:
    """Takes up an unfinished verification of the same selection: its run, and the vessels behind it."""
    run_id = await target.fetchval(_UNFINISHED, str(selection))
    if run_id is None:
        return set()
    # A vessel with differences is looked at again, so that the report lists them.
    rows = await target.fetch(
        "SELECT vessel_id::text FROM bulkmig.verified WHERE run_id = $1::text::uuid AND result = '0'", run_id
    )
    if rows:
        report.run_id = run_id
    return {row["vessel_id"] for row in rows}
