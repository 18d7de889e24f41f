"""`bulkmig sync`: what changed in the source since flows into the target.

which vessels ▶ companies and users ▶ changed vessels ▶ new vessels ▶ waiting rows ▶ gone users ▶ verify
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import msgspec
import polars as pl

from bulkmig import numbers
from bulkmig._core.stop import Stop
from bulkmig.cluster.submit import crew
from bulkmig.config import Settings, check
from bulkmig.entities import FLEET
from bulkmig.errors import PreflightError
from bulkmig.events import Listener, PhaseStarted, RunStarted, VesselsUnchanged, silent
from bulkmig.fleet.ahead import looking_ahead
from bulkmig.fleet.companies import write_companies, write_late_users
from bulkmig.fleet.ending import to_its_end
from bulkmig.fleet.proof import prove
from bulkmig.fleet.run import Run
from bulkmig.fleet.vessels import load_vessels
from bulkmig.fleet.waiting import finish_waiting
from bulkmig.ledger import access, base
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.preflight import both, ready
from bulkmig.report import Report
from bulkmig.selection import Selection, Vessel, listed, resolve
from bulkmig.source.changes import Seen
from bulkmig.sync import along, gone, held, shared
from bulkmig.sync.alone import rolled_back
from bulkmig.sync.detect import Detected, detect
from bulkmig.sync.moves import Moves, find
from bulkmig.sync.numbers import holders
from bulkmig.sync.plan import Rules
from bulkmig.sync.record import BRAKE
from bulkmig.sync.released import released
from bulkmig.sync.step import Applied
from bulkmig.sync.strategies import named
from bulkmig.sync.vessel import Finished, work
from bulkmig.target import state as target_state
from bulkmig.target.state import TargetState
from bulkmig.units import in_order
from bulkmig.workers import Queue, run_units

_ONE_AT_A_TIME = 0x62756C6B73796E63  # "bulksync"
_OPEN = "SELECT count(*) FROM bulkmig.conflicts WHERE status = 'open'"
_STAYING = "SELECT source_id::text FROM bulkmig.retained WHERE entity = 'company' AND reason <> 'brake'"
# Companies of these users, and those of these companies that are there.
_COMPANIES = """
SELECT company_id::text AS id FROM users WHERE id = ANY ($1::text[]::uuid[])
 UNION SELECT id::text FROM companies WHERE id = ANY ($2::text[]::uuid[])
"""
_THERE = "SELECT id::text FROM vessels WHERE id = ANY ($1::text[]::uuid[])"


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
            "sync" if command == "sync" else "migrate_vessel",
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
        chosen = await _chosen(ends.holder, ends.target, settings, selection, selected, state, apart)
        report.selected = len(chosen.old) + len(chosen.new)
        listen(RunStarted(command, report.run_id, report.selected, 0, settings.verify, settings.full))
        listen(listed([*chosen.old, *chosen.new]))
        run = Run(settings, ends, state, report, listen, stop, workers)
        run.syncs, run.spares = True, spares
        await run.begin(str(selection))
        steps = _Steps(run, settings, chosen)
        at_once = steps.looked_at if state.ledger else []
        async with to_its_end(run), looking_ahead(run.site, at_once) as run.ahead:
            run.after = steps.emails
            await write_companies(
                run,
                [*chosen.old, *chosen.new],
                everything=selection.all,
                companies=await steps.companies(state),
            )
            if state.ledger:  # else this is a dry run, and nothing was ever written
                await run.step("who is gone", steps.look_for_gone)
                await run.step("companies and users", steps.change_shared)
                listen(PhaseStarted("changes"))
                await run.step("changes", steps.look_for_changes)
                await steps.vessels()
            await steps.new_vessels()
            await steps.look_again()
            if selection.all:
                await run.step("gone vessels", steps.delete_vessels)
            if settings.dry_run:
                report.count_elsewhere()
            else:
                await finish_waiting(run)
            if selection.all and state.ledger:
                await run.step("gone users and companies", steps.delete_shared)
            if not settings.dry_run:
                await run.step("open conflicts", steps.count_open)
            if settings.verify and not settings.dry_run:
                run.fleet.present = {}  # companies and users are as new as if they had come just now
                await prove(run)
    return report


@dataclass
class _Chosen:
    """`old`: vessels to be brought up to date, those that waited longest first; `new`: vessels that come;
    `others`: vessels in the target that were not selected; `vanished`: those that the source has no more."""

    old: list[Vessel]
    new: list[Vessel]
    others: list[Vessel]
    vanished: list[Vessel]


async def _chosen(
    source: Connection,
    target: Connection,
    settings: Settings,
    selection: Selection,
    selected: list[Vessel],
    state: TargetState,
    apart: set[str],
) -> _Chosen:
    """The vessels that a sync is about, without those that are left `apart`."""
    migrated = {vessel for vessel, mark in state.marks.items() if mark.state == "migrated"}
    known = {vessel.id for vessel in selected}
    unlisted = sorted(migrated - known)
    there = [row[0] for row in await source.fetch(_THERE, unlisted)] if unlisted else []
    missing = set(unlisted) - set(there) - apart
    vanished = await gone.named(target, missing) if missing else []
    others = []
    if there:
        others = await resolve(source, Selection(vessels=tuple(there), allow_unapproved=True))
    if selection.all:
        selected, others = [*selected, *others], []
    waited = {vessel: n for n, vessel in enumerate(state.marks)}
    old = [v for v in selected if v.id in migrated and v.id not in apart]
    return _Chosen(
        sorted(old, key=lambda vessel: waited.get(vessel.id, 0)),
        [v for v in selected if v.id not in migrated and v.id not in apart] if settings.new else [],
        [v for v in others if v.id not in apart],
        vanished,
    )


class _Steps:
    """The steps that a sync has besides a migration's."""

    def __init__(self, run: Run, settings: Settings, chosen: _Chosen) -> None:
        self.run, self.settings, self.chosen = run, settings, chosen
        self.gone: dict[str, set[str]] = {of.name: set() for of in FLEET}  # entity -> source ids
        self.before: dict[str, pl.DataFrame] | None = None  # companies and users as they were last written
        self.detected = Detected(Seen("", 0))
        self.moves = Moves()
        self.due: list[Vessel] = []

    @property
    def looked_at(self) -> list[Vessel]:
        """Vessels whose rows may have changed."""
        return [*self.chosen.old, *self.chosen.others]

    @property
    def rules(self) -> Rules:
        """What this run decides by."""
        settings = self.settings
        return Rules(
            named(settings.conflict),
            self.run.ends.target_catalogue,
            settings.allow_deletions,
            settings.brake_share,
            settings.brake_least,
            self.run.spares,
        )

    async def companies(self, state: TargetState) -> set[str]:
        """Companies that are in the target, and those that users who were written have moved to."""
        known = set(state.identities.get("company", ()))
        users = await self._written("user") if state.ledger else []
        rows = await self.run.ends.holder.fetch(_COMPANIES, users, list(known))
        return {row["id"] for row in rows}

    async def emails(self, users: pl.DataFrame) -> dict[str, str]:
        """What users who are loaded will have for e-mails."""
        if not users.height:
            return {}
        return await shared.emails(self.run.ends.target, users, await self._read_written(), self.rules)

    async def change_shared(self) -> None:
        """Companies and users that are in the target already, and users who could not come before that."""
        options = self.run.options()
        target, decisions = self.run.ends.target, self.run.fleet.decisions
        self._count(await shared.change(target, self.run.fleet, options, self.rules))
        await write_late_users(self.run)
        # Nothing refers to those who are gone from the source, or whom the portal deleted, from now on.
        users = decisions.identity("user")
        there = await target.fetch(
            "SELECT id::text FROM users WHERE id = ANY ($1::text[]::uuid[])", users["target_id"].to_list()
        )
        left = pl.col("target_id").is_in([row["id"] for row in there]) | pl.lit(self.settings.dry_run)
        going = users.filter(pl.col("source_id").is_in(list(self.gone["user"])))["target_id"].to_list()
        if going:
            graph = await self.run.checkpoints.read_graph(target)
            stay = await shared.portals_own(target, graph, going)
            going = [id_ for id_ in going if id_ not in stay]
        decisions.identities["user"] = users.filter(left, ~pl.col("target_id").is_in(going))

    async def look_for_gone(self) -> None:
        """Users and companies that the source has no more."""
        for of in FLEET:
            self.gone[of.name] = set(await self._written(of.name)) - self.run.fleet.there[of.name]
        self.before = None  # they change from now on

    async def _written(self, of: str) -> list[str]:
        """The companies or users that bulkmig had written before this run (source ids)."""
        before = await self._read_written()
        return before[of]["source_id"].to_list() if of in before else []

    async def _read_written(self) -> dict[str, pl.DataFrame]:
        if self.before is None:
            self.before = await base.read_each(self.run.ends.target, [NIL], [of.name for of in FLEET])
        return self.before

    async def delete_vessels(self) -> None:
        """Vessels that the source has no more."""
        run, ends = self.run, self.run.ends
        settled = {result.vessel.id for result in run.counted.done} | self.moves.vanished
        for vessel in self.chosen.vanished:
            if vessel.id not in run.counted.ended:
                stays = self.moves.stays[vessel.id]
                if self.moves.partners(vessel.id) - settled:
                    continue  # what it gives away, or decides about with another, is on it still
                result = await gone.delete(ends.target, vessel, run.options(), self.rules, stays)
                run.report.selected += 1
                run.counted.add(result)

    async def delete_shared(self) -> None:
        """Deletes them, as far as nothing of the portal's refers to them; the brake holds where a company is
        gone whole."""
        target, gone = self.run.ends.target, self.gone
        # What stays on purpose was gone before, and let go of.
        staying = await target.fetch(_STAYING) if gone["company"] else []
        whole = gone["company"] - {row[0] for row in staying}
        if whole and not self.settings.allow_deletions:
            held = await shared.of_companies(target, gone["user"], whole)
            self.run.report.held_back += len(held) + len(whole)
            self.run.report.findings["warning", BRAKE] += 1
            gone = {"company": set(), "user": gone["user"] - held}
        if any(gone.values()):
            self._count(await shared.delete(target, gone, self.run.options(), self.rules))

    async def count_open(self) -> None:
        """How many conflicts are open by now, those of earlier runs among them."""
        self.run.report.conflicts["open"] = await self.run.ends.target.fetchval(_OPEN)

    def _count(self, done: Applied) -> None:
        report = self.run.report
        report.inserted.update(done.inserted)
        report.updated.update(done.updated)
        report.deleted.update(done.deleted)
        report.unchanged.update(done.unchanged)
        report.conflicts["open"] += done.open
        report.conflicts.update(done.resolved)

    async def look_for_changes(self) -> None:
        """Which vessels have anything to be brought up to date."""
        run, ends, chosen = self.run, self.run.ends, self.chosen
        came = set(run.fleet.decisions.identity("user")["source_id"]) - run.fleet.present.get("user", set())
        there = [vessel.id for vessel in self.looked_at]
        self.detected = await detect(
            ends.holder,
            ends.target,
            there,
            users=came | self.gone["user"],
            vanished=bool(chosen.vanished),
            looked=await run.ahead.found(ends.snapshot, there) if run.ahead is not None else None,
        )
        run.looked[ends.seen] = self.detected.now
        affected = {vessel.id for vessel in chosen.old} if self.settings.full else self.detected.affected
        # A company that turned erroneous keeps its vessels out, be nothing changed in them.
        out = run.fleet.decisions.companies_out
        affected |= {vessel.id for vessel in chosen.old if vessel.company_id in out}
        freed = await held.free(ends.target, run.checkpoints) if run.state.retains else {}
        affected |= {vessel for vessel, _ in freed.values()}
        self.due = [vessel for vessel in chosen.old if vessel.id in affected]
        self.moves = await find(
            ends.holder,
            ends.target,
            self.detected.shuffled,
            [*self.due, *(vessel for vessel in chosen.others if vessel.id in affected)],
            vanished=[vessel.id for vessel in chosen.vanished],
            arriving=chosen.new,
        )
        await along.note(ends.target, self.moves, self.moves.going | {id_ for _, id_ in freed.values()})
        for entity, ids in self.moves.ids.items():
            run.fleet.decisions.kept_ids.setdefault(entity, {}).update(ids)
        shuffled = [vessel for vessel in self.looked_at if vessel.id in self.detected.shuffled]
        run.grown = [*shuffled, *chosen.new]
        if not self.settings.dry_run:
            await numbers.assign(ends.holder, ends.target, run.fleet, run.grown)

    async def vessels(self) -> None:
        """Vessels that are in the target already and have changed, those that waited longest first, and
        those with which they change in one commit."""
        run, moves, chosen = self.run, self.moves, self.chosen
        arriving = [vessel for vessel in chosen.new if moves.receives(vessel.id)]
        # Whether they get the numbers that they want is judged by the plans.
        run.fleet.decisions.imo_taken -= {vessel.id for vessel in arriving}
        along = moves.joined([v.id for v in (*self.due, *arriving)], [*chosen.others, *chosen.vanished])
        vanished = {vessel.id for vessel in chosen.vanished}
        run.report.selected += sum(vessel.id not in vanished for vessel in along)
        changed = {vessel.id for vessel in self.due}
        unchanged = tuple(vessel.id for vessel in chosen.old if vessel.id not in changed)
        run.report.done += len(unchanged)
        if unchanged:
            run.listen(VesselsUnchanged(unchanged))
        due = [*self.due, *along, *arriving]
        run.listen(PhaseStarted("vessels", len(due)))
        units = self._units(due, moves)
        # Whether a vessel gets the number that it wants is known only when these are done, and decides about
        # other vessels' references to its equipment.
        first = [unit for unit in units if any(vessel.id in moves.renumbered for vessel in unit)]
        units = [unit for unit in units if unit not in first]
        if first and not await self._change(first, moves, run.report, run.counted.finished):
            return
        if run.crew is not None:
            # Rows that move concern several vessels: these few units are done here.
            plain = [unit for unit in units if len(unit) == 1 and not moves.concern(unit[0].id)]
            await run.crew.work(run, "sync", plain)
            units = [unit for unit in units if unit not in plain]
        await self._change(units, moves, run.report, run.counted.finished)

    def _units(self, due: Sequence[Vessel], moves: Moves) -> list[list[Vessel]]:
        """The vessels in their order: those that change in one commit, and others together as far as each
        needn't start for itself (within a window, or at a rate)."""
        settings = self.settings
        bound = settings.window is not None or settings.max_rows_per_second or self.run.crew is not None
        units: list[list[Vessel]] = []
        plain: list[Vessel] = []
        for group in moves.groups(due):
            if len(group) > 1 or bound or moves.concern(group[0].id) or group[0].id in moves.renumbered:
                units.append(group)
            else:
                plain.append(group[0])
        return [*units, *in_order(plain, settings.batch_bytes)]

    async def _change(
        self, units: list[list[Vessel]], moves: Moves, tally: Report, finished: Finished
    ) -> bool:
        """Whether all of these were done, as far as they didn't fail."""
        run, settings = self.run, self.settings
        if settings.window is not None and units and not settings.dry_run:
            await run.step("the pace so far", run.read_pace)
        queue = Queue(units, go=run.may_start)
        one = work(run.options(), self.rules, moves, queue, tally, finished)
        await run_units(run.site, queue, 1 if settings.dry_run else settings.loaders, one)
        if queue.stopped and not run.report.failed:
            run.report.status = "stopped"
        return not queue.stopped

    async def new_vessels(self) -> None:
        """Vessels that are not in the target yet."""
        run = self.run
        new = [vessel for vessel in self.chosen.new if not self.moves.receives(vessel.id)]
        new = [vessel for vessel in new if vessel.id not in run.counted.ended]
        if new and run.report.status != "stopped":
            await run.step("IMO numbers", lambda: self._look_at_numbers(new))
            await load_vessels(run, new)

    async def _look_at_numbers(self, new: Sequence[Vessel]) -> None:
        """Which numbers others hold now: vessels that changed may have let go of some, and got some."""
        decisions = self.run.fleet.decisions
        held = await holders(self.run.ends.target, [v.imo_number for v in new if v.imo_number is not None])
        ids = dict(decisions.identity("vessel").iter_rows())
        for vessel in new:
            if held.get(vessel.imo_number or "", ids[vessel.id]) == ids[vessel.id]:
                decisions.imo_taken.discard(vessel.id)
            else:
                decisions.imo_taken.add(vessel.id)

    async def look_again(self) -> None:
        """References that are in quarantine although their ends are there by now: their vessels once more."""
        run, counted = self.run, self.run.counted
        if not counted.done or self.settings.dry_run or run.report.status == "stopped":
            return
        freed: set[str] = set()

        async def look() -> None:
            freed.update(await released(run.ends.holder, run.ends.target, run.fleet.decisions))

        await run.step("references in quarantine", look)
        if any(result.state == "migrated" for result in counted.done if result.vessel in self.chosen.new):
            # What a written reference waits for may have come with a new vessel.
            freed |= {result.vessel.id for result in counted.done if result.unsettled}
        there = {
            *self.chosen.old,
            *self.chosen.vanished,
            *(result.vessel for result in counted.done if result.state == "migrated"),
        }
        moves = self.moves.still_due()
        known = sorted(there, key=lambda vessel: vessel.id)
        due = [vessel for vessel in known if vessel.id in freed]
        due += moves.joined(freed, [vessel for vessel in known if vessel.id not in freed])
        await self._change(self._units(due, moves), moves, Report("sync"), counted.finished_again)
