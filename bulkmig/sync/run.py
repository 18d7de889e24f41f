"""`bulkmig sync`: what changed in the source since flows into the target.

which vessels ▶ companies and users ▶ new vessels ▶ changed vessels ▶ waiting rows ▶ gone users ▶ verify
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import msgspec
import polars as pl

from bulkmig._core.stop import Stop
from bulkmig.config import Settings, check
from bulkmig.entities import FLEET
from bulkmig.errors import PreflightError
from bulkmig.events import Listener, PhaseStarted, RunStarted, silent
from bulkmig.fleet import Migration
from bulkmig.ledger import base
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.preflight import both, ready
from bulkmig.report import Report
from bulkmig.selection import Selection, Vessel, listed, resolve
from bulkmig.source.changes import Seen
from bulkmig.sync import gone, shared
from bulkmig.sync.apply import Applied
from bulkmig.sync.detect import Detected, detect
from bulkmig.sync.moves import Moves, find
from bulkmig.sync.plan import Rules
from bulkmig.sync.strategies import STRATEGIES
from bulkmig.sync.vessel import BRAKE, work
from bulkmig.target import state as target_state
from bulkmig.target.state import TargetState
from bulkmig.workers import Queue, run_units

_ONE_AT_A_TIME = 0x62756C6B73796E63  # "bulksync"
_ROLLED_BACK = """
SELECT vessel_id::text FROM (SELECT DISTINCT ON (vessel_id) vessel_id, restored FROM bulkmig.checkpoints
  WHERE vessel_id IS NOT NULL AND NOT incidental ORDER BY vessel_id, seq DESC) last WHERE restored IS NOT NULL
"""
_LONGEST_WAITING = "SELECT vessel_id::text FROM bulkmig.vessels ORDER BY finished_at, vessel_id"
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
    report = Report(command, str(uuid4()), memory_bound=settings.memory)
    listen = report.timeline.hearing(listen)
    async with both(settings, writing=not settings.dry_run, listen=listen) as ends:
        await ready(ends, settings)
        if not await ends.target.fetchval("SELECT pg_try_advisory_lock($1)", _ONE_AT_A_TIME):
            raise PreflightError("another sync of this target is running", "wait for its end: bulkmig status")
        state = await target_state.read(ends.target)
        apart = await _rolled_back(ends.target, state) if command == "sync" and selection.all else set()
        old, new = await _chosen(ends.holder, ends.target, settings, selection, state, apart)
        report.selected = len(old) + len(new)
        listen(RunStarted(command, report.run_id, report.selected, 0, settings.verify))
        listen(listed([*old, *new]))
        run = Migration(settings, ends, state, report, listen, stop)
        run.syncs = True
        await run.begin(str(selection))
        steps = _Steps(run, settings)
        async with run.to_its_end():
            await run.shared([*old, *new], everything=selection.all, companies=await steps.companies(state))
            await run.step("who is gone", steps.look_for_gone)
            await run.step("companies and users", steps.change_shared)
            if new:
                await run.vessels(new)
            await run.step("changes", lambda: steps.look_for_changes(old))
            await steps.vessels(old)
            if selection.all:
                await run.step("gone vessels", steps.delete_vessels)
            if settings.dry_run:
                report.count_elsewhere()
            else:
                await run.waiting()
            if selection.all:
                await run.step("gone users and companies", steps.delete_shared)
            if settings.verify and not settings.dry_run:
                run.fleet.present = {}  # companies and users are as new as if they had come just now
                await run.verify()
    return report


async def _chosen(
    source: Connection,
    target: Connection,
    settings: Settings,
    selection: Selection,
    state: TargetState,
    apart: set[str],
) -> tuple[list[Vessel], list[Vessel]]:
    """Vessels to be brought up to date, those that waited longest first, and vessels that are new; without
    those that are left `apart`."""
    migrated = {vessel for vessel, mark in state.marks.items() if mark.state == "migrated"}
    selected = await resolve(source, selection)
    if selection.all:
        known = {vessel.id for vessel in selected}
        more = [row[0] for row in await source.fetch(_THERE, sorted(migrated - known))]
        if more:
            selected += await resolve(source, Selection(vessels=tuple(more), allow_unapproved=True))
    waited = {}
    if state.ledger:
        waited = {row[0]: n for n, row in enumerate(await target.fetch(_LONGEST_WAITING))}
    old = [v for v in selected if v.id in migrated and v.id not in apart]
    new = [v for v in selected if v.id not in migrated and v.id not in apart] if settings.new else []
    return sorted(old, key=lambda vessel: waited.get(vessel.id, 0)), new


async def _rolled_back(target: Connection, state: TargetState) -> set[str]:
    """Vessels that were rolled back and not migrated since: they are left alone (mapping.md, "Sync")."""
    return {row[0] for row in await target.fetch(_ROLLED_BACK)} if state.ledger else set()


class _Steps:
    """The steps that a sync has besides a migration's."""

    def __init__(self, run: Migration, settings: Settings) -> None:
        self.run, self.settings = run, settings
        self.gone: dict[str, set[str]] = {}  # entity -> source ids
        self.detected = Detected(Seen("", 0))
        self.moves = Moves()

    @property
    def rules(self) -> Rules:
        """What this run decides by."""
        settings = self.settings
        return Rules(
            STRATEGIES[settings.conflict],
            self.run.fleet.decisions.catalogue,
            settings.allow_deletions,
            settings.brake_share,
            settings.brake_least,
        )

    async def companies(self, state: TargetState) -> set[str]:
        """Companies that are in the target, and those that users who are there have moved to."""
        known = set(state.identities.get("company", ()))
        rows = await self.run.ends.holder.fetch(
            "SELECT DISTINCT company_id::text AS id FROM users WHERE id = ANY ($1::text[]::uuid[])",
            list(state.identities.get("user", ())),
        )
        there = await self.run.ends.holder.fetch(
            "SELECT id::text FROM companies WHERE id = ANY ($1::text[]::uuid[])", list(known)
        )
        return {row["id"] for row in rows} | {row["id"] for row in there}

    async def change_shared(self) -> None:
        """Companies and users that are in the target already."""
        options = self.run.options()
        target, decisions = self.run.ends.target, self.run.fleet.decisions
        self._count(await shared.change(target, self.run.fleet, options, self.rules))
        # Nothing refers to those who are gone from the source, or whom the portal deleted, from now on.
        users = decisions.identity("user")
        there = await target.fetch(
            "SELECT id::text FROM users WHERE id = ANY ($1::text[]::uuid[])", users["target_id"].to_list()
        )
        left = pl.col("target_id").is_in([row["id"] for row in there]) | pl.lit(self.settings.dry_run)
        decisions.identities["user"] = users.filter(left, ~pl.col("source_id").is_in(list(self.gone["user"])))

    async def look_for_gone(self) -> None:
        """Users and companies that the source has no more."""
        for of in FLEET:
            written = await base.read(
                self.run.ends.target, [NIL], of.name, shape=lambda frame: frame.select("source_id")
            )
            ids = [] if written is None else written["source_id"].to_list()
            rows = await self.run.ends.holder.fetch(
                f"SELECT id::text FROM {of.source} WHERE id = ANY ($1::text[]::uuid[])", ids
            )
            self.gone[of.name] = set(ids) - {row["id"] for row in rows}

    async def delete_vessels(self) -> None:
        """Vessels that the source has no more."""
        run, ends = self.run, self.run.ends
        found = await gone.find(ends.holder, ends.target)
        for vessel in found:
            if vessel.id not in run.ended:
                result = await gone.delete(ends.target, vessel, run.options(), self.rules)
                if result is not None:
                    run.report.selected += 1
                    run.count(result)

    async def delete_shared(self) -> None:
        """Deletes them, as far as nothing of the portal's refers to them; the brake holds where a company is
        gone whole."""
        if self.gone["company"] and not self.settings.allow_deletions:
            self.run.report.held_back += sum(map(len, self.gone.values()))
            self.run.report.findings["warning", BRAKE] += 1
            return
        if any(self.gone.values()):
            options = self.run.options()
            self._count(await shared.delete(self.run.ends.target, self.gone, options, self.rules))

    def _count(self, done: Applied) -> None:
        report = self.run.report
        report.inserted.update(done.inserted)
        report.updated.update(done.updated)
        report.deleted.update(done.deleted)
        report.unchanged.update(done.unchanged)
        report.conflicts["open"] += done.open
        report.conflicts.update(done.resolved)

    async def look_for_changes(self, old: Sequence[Vessel]) -> None:
        """Which of these vessels have anything to be brought up to date."""
        run, ends = self.run, self.run.ends
        came = set(run.fleet.decisions.identity("user")["source_id"]) - run.fleet.present.get("user", set())
        self.detected = await detect(
            ends.holder, ends.target, [vessel.id for vessel in old], users=came | self.gone["user"]
        )
        if self.settings.full:
            self.detected.affected = {vessel.id for vessel in old}
        due = [vessel for vessel in old if vessel.id in self.detected.affected]
        self.moves = await find(ends.holder, ends.target, self.detected.shuffled, due)
        for entity, ids in self.moves.ids.items():
            run.fleet.decisions.kept_ids.setdefault(entity, {}).update(ids)

    async def vessels(self, old: Sequence[Vessel]) -> None:
        """Vessels that are in the target already and have changed, those that waited longest first."""
        run, settings = self.run, self.settings
        due = [vessel for vessel in old if vessel.id in self.detected.affected]
        run.report.done += len(old) - len(due)
        run.listen(PhaseStarted("vessels", len(due)))
        queue = Queue(self.moves.groups(due), go=run.may_start)
        one = work(run.options(), self.rules, self.moves, queue, run.report, run.finished)
        await run_units(run.site, queue, 1 if settings.dry_run else settings.loaders, one)
        if queue.stopped and not run.report.failed:
            run.report.status = "stopped"
