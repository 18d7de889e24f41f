"""`bulkmig sync`: what changed in the source since flows into the target.

which vessels ▶ companies and users ▶ changed vessels ▶ new vessels ▶ waiting rows ▶ gone users
▶ who waits for their e-mails ▶ verify
"""

from __future__ import annotations

from uuid import uuid4

import msgspec

from bulkmig._core.stop import Stop
from bulkmig.cluster.submit import crew
from bulkmig.config import Settings, check
from bulkmig.errors import PreflightError
from bulkmig.events import Listener, PhaseStarted, RunStarted, silent
from bulkmig.fleet.ahead import looking_ahead
from bulkmig.fleet.companies import write_companies
from bulkmig.fleet.ending import to_its_end
from bulkmig.fleet.proof import prove
from bulkmig.fleet.run import Run
from bulkmig.fleet.waiting import finish_waiting
from bulkmig.ledger import access
from bulkmig.preflight import both, ready
from bulkmig.report import Report
from bulkmig.selection import Selection, listed, resolve
from bulkmig.sync.allowed import PERMISSION
from bulkmig.sync.alone import rolled_back
from bulkmig.sync.changes import Changes
from bulkmig.sync.chosen import Chosen, choose
from bulkmig.sync.companies import Companies
from bulkmig.sync.rules import Rules
from bulkmig.sync.strategies import named
from bulkmig.target import state as target_state

_ONE_AT_A_TIME = 0x62756C6B73796E63  # "bulksync"


async def sync(
    settings: Settings, selection: Selection, *, listen: Listener = silent, stop: Stop | None = None
) -> Report:
    """Synchronises the selected vessels: with `--all` every vessel migrated before, and newly approved ones.
    Raises UsageError and PreflightError before anything was touched, also where another sync is running."""
    return await _run("sync", settings, selection, listen, stop or Stop())


async def remigrate(
    settings: Settings, selection: Selection, *, listen: Listener = silent, stop: Stop | None = None
) -> Report:
    """Migrates the selected vessels, and writes those anew, every row of them, that were migrated before,
    under the conflict strategy. Raises as `sync`."""
    settings = msgspec.structs.replace(settings, full=True, new=True)
    return await _run("migrate", settings, selection, listen, stop or Stop())


async def _run(
    command: str, settings: Settings, selection: Selection, listen: Listener, stop: Stop
) -> Report:
    settings = check(settings)
    named(settings.conflict)
    report = Report(command, str(uuid4()), memory_bound=settings.memory)
    listen = report.timeline.hearing(listen)
    async with both(settings, writing=not settings.dry_run, listen=listen) as ends:
        selected = await resolve(ends.holder, selection)
        await access.check(
            ends.target,
            settings.operator,
            PERMISSION[command],
            f"{command} {selection}",
            # All of them: also what is gone from the source, and users of whatever company.
            None if selection.all else [(vessel.id, vessel.company_id) for vessel in selected],
        )
        await ready(ends, settings)
        if not await ends.target.fetchval("SELECT pg_try_advisory_lock($1)", _ONE_AT_A_TIME):
            raise PreflightError("another sync of this target is running", "wait for its end: bulkmig status")
        workers = await crew(ends, settings, report, selection)
        state = await target_state.read(ends.target, ends.ledger)
        spares = command == "sync" and selection.all
        apart = await rolled_back(ends.target) if spares and state.ledger else set()
        chosen = await choose(ends, settings, selection, selected, state, apart)
        report.selected = len(chosen.coming)
        listen(RunStarted(command, report.run_id, report.selected, 0, settings.verify, settings.full))
        listen(listed(chosen.coming))
        run = Run(settings, ends, state, report, listen, stop, workers)
        run.syncs, run.spares = True, spares
        await run.begin(str(selection))
        at_once = chosen.looked_at if state.ledger else []
        async with to_its_end(run), looking_ahead(run.site, at_once) as run.ahead:
            await _steps(run, chosen, everything=selection.all)
    return report


async def _steps(run: Run, chosen: Chosen, *, everything: bool) -> None:
    """What the run does, once it is known which vessels it is about. `everything`: no vessel is left out."""
    settings, state = run.settings, run.state
    rules = Rules.of(settings, run.ends.target_catalogue, spares=run.spares)
    companies, changes = Companies(run, rules), Changes(run, rules, chosen)
    run.after = companies.emails
    due = await companies.due(state)
    await write_companies(run, chosen.coming, everything=everything, companies=due)
    if state.ledger:  # else this is a dry run, and nothing was ever written
        await run.step("who is gone", companies.look_for_gone)
        await run.step("companies and users", companies.change)
        run.listen(PhaseStarted("changes"))
        await run.step("changes", lambda: changes.look(companies.gone["user"]))
        if everything:
            await run.step("gone vessels", changes.make_way)
        await changes.write()
    await changes.load_new()
    await changes.look_again()
    if everything:
        await run.step("gone vessels", changes.delete_gone)
    if settings.dry_run:
        run.report.count_elsewhere()
    else:
        await finish_waiting(run)
    if everything and state.ledger:
        await run.step("gone users and companies", companies.delete)
        await run.step("users whose e-mails are free now", companies.let_in)
        await changes.name(companies.came)
    if settings.verify and not settings.dry_run:
        run.fleet.present = {}  # companies and users are as new as if they had come just now
        await prove(run)
