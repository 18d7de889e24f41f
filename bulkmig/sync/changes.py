"""The steps of a sync that vessels take: what changed in them is looked for, and flows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bulkmig import numbers
from bulkmig.entities import PER_VESSEL
from bulkmig.events import PhaseStarted, VesselsUnchanged
from bulkmig.fleet.run import Run
from bulkmig.fleet.vessels import load_vessels
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.sync import along, gone, held
from bulkmig.sync.allowed import without_denied
from bulkmig.sync.chosen import Chosen
from bulkmig.sync.detect import detect, naming
from bulkmig.sync.moves import Moves, find
from bulkmig.sync.numbers import holders
from bulkmig.sync.released import released, unlisted
from bulkmig.sync.rules import Rules
from bulkmig.sync.share import change, spread
from bulkmig.sync.units import Group, is_plain, parted
from bulkmig.sync.unread import unwritten
from bulkmig.target import statistics

MANY = 100  # vessels: fewer are done sooner than the target's tables are analysed


class Changes:
    """The vessels of a sync. `due`: those that are to be brought up to date; `moves`: what goes from one to
    another."""

    def __init__(self, run: Run, rules: Rules, chosen: Chosen) -> None:
        self.run, self.rules, self.chosen = run, rules, chosen
        self.moves = Moves()
        self.due: list[Vessel] = []
        self._taken: set[str] = set()  # vessels that are brought up to date, and those that change with them
        self._counted: set[str] = set()  # vessels that are gone, as selected
        self._left: set[str] = set()  # vessels that are left alone, since one of them may not change

    async def look(self, gone_users: Collection[str]) -> None:
        """Which vessels have anything to be brought up to date. `gone_users`: source ids."""
        run, ends, chosen = self.run, self.run.ends, self.chosen
        came = set(run.fleet.decisions.identity("user")["source_id"]) - run.fleet.present.get("user", set())
        there = [vessel.id for vessel in chosen.looked_at]
        detected = await detect(
            ends.holder,
            ends.target,
            there,
            users=came.union(gone_users),
            looked=await run.ahead.found(ends.snapshot, there) if run.ahead is not None else None,
        )
        run.looked[ends.seen] = detected.now
        affected = detected.affected
        if self.run.settings.full:
            affected = {vessel.id for vessel in chosen.old}
        else:
            unshuffled = affected - detected.shuffled
            run.fleet.decisions.unwritten = unwritten(unshuffled, detected.changed)
        # A company that turned erroneous keeps its vessels out, be nothing changed in them.
        out = run.fleet.decisions.companies_out
        affected |= {vessel.id for vessel in chosen.old if vessel.company_id in out}
        freed = await held.free(ends.target, run.checkpoints) if run.state.retains else {}
        affected |= {vessel for vessel, _ in freed.values()}
        self.due = [vessel for vessel in chosen.old if vessel.id in affected]
        self.moves = await find(
            ends.holder,
            ends.target,
            detected.shuffled,
            [*self.due, *(vessel for vessel in chosen.others if vessel.id in affected)],
            vanished=[vessel.id for vessel in chosen.vanished],
            apart={vessel.id for vessel in chosen.apart},
            arriving=chosen.new,
        )
        self.moves.releases = self.rules.allow_deletions
        if run.state.retains or self.moves.going:
            going = await held.may_go(ends.target, run.checkpoints, self.moves)
            await along.note(ends.target, self.moves, going)
        # One that is as it was may be bound to one that isn't.
        self.due = self.moves.joined([vessel.id for vessel in self.due], chosen.old)
        for entity, ids in self.moves.ids.items():
            run.fleet.decisions.kept_ids.setdefault(entity, {}).update(ids)
        shuffled = [vessel for vessel in (*chosen.old, *chosen.others) if vessel.id in detected.shuffled]
        run.grown = [*shuffled, *chosen.new]
        if not self.run.settings.dry_run:
            await numbers.assign(ends.holder, ends.target, run.fleet, run.grown)

    async def write(self) -> None:
        """Vessels that are in the target already and have changed, those that waited longest first, and
        those with which they change in one commit."""
        run, moves, chosen = self.run, self.moves, self.chosen
        arriving = [vessel for vessel in chosen.new if moves.receives(vessel.id)]
        # Whether they get the numbers that they want is judged by the plans.
        run.fleet.decisions.imo_taken -= {vessel.id for vessel in arriving}
        along = moves.joined(
            [vessel.id for vessel in (*self.due, *arriving)],
            [*chosen.others, *chosen.vanished, *chosen.apart],
        )
        changed = {vessel.id for vessel in self.due}
        unchanged = tuple(vessel.id for vessel in chosen.old if vessel.id not in changed)
        run.report.done += len(unchanged)
        if unchanged:
            run.listen(VesselsUnchanged(unchanged))
        due = [*self.due, *along, *arriving]
        if along:
            self._left = await without_denied(run, moves.groups(due), {vessel.id for vessel in along})
            due, along = ([v for v in vessels if v.id not in self._left] for vessels in (due, along))
            if run.ends_early:
                return
        run.report.selected += sum(vessel.id not in moves.giving for vessel in along)
        self._taken = {vessel.id for vessel in due}
        run.listen(PhaseStarted("vessels", len(due)))
        if len(due) >= MANY and not run.settings.dry_run:
            await statistics.refresh(run.ends.target)
        groups = moves.groups(due)
        # Whether a vessel gets the number that it wants is known only when these are done, and decides about
        # other vessels' references to its equipment.
        first, groups = parted(groups, lambda group: any(v.id in moves.renumbered for v in group))
        await change(run, self.rules, first, moves, run.report, run.counted.finished)
        if run.ends_early:
            return
        if run.crew is not None or (run.settings.processes > 1 and not run.settings.dry_run):
            # Rows that move concern several vessels: these few are done here.
            plain, groups = parted(groups, lambda group: is_plain(group, moves))
            if run.crew is not None:
                await run.crew.work(run, "sync", plain)
            elif len(plain) > 1:
                await spread(run, [vessel for group in plain for vessel in group])
            else:
                groups += plain
        if not run.ends_early:
            await change(run, self.rules, groups, moves, run.report, run.counted.finished)

    async def load_new(self) -> None:
        """Vessels that are not in the target yet."""
        run = self.run
        new = [vessel for vessel in self.chosen.new if not self.moves.receives(vessel.id)]
        new = [vessel for vessel in new if vessel.id not in run.counted.ended]
        if new and not run.ends_early:
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
        """References that are in quarantine although their ends are there by now, or that aren't although an
        end is: their vessels once more."""
        run, counted = self.run, self.run.counted
        # A vessel that was rolled back took along what was listed of it.
        if not (counted.done or self.chosen.apart) or run.settings.dry_run or run.ends_early:
            return
        freed: set[str] = set()

        async def look() -> None:
            ends = run.ends
            freed.update(await released(ends.holder, ends.target, run.fleet.decisions))
            freed.update(await unlisted(ends.holder, ends.target, run.report.run_id))

        await run.step("references in quarantine", look)
        if any(result.inserted["equipment"] for result in counted.done):
            # What a written reference waits for may have come with another vessel.
            freed |= {result.vessel.id for result in counted.done if result.unsettled}
        await self._once_more(freed)

    async def name(self, users: Collection[str]) -> None:
        """Vessels with rows that name these users (source ids), who have come since: once more."""
        if users and not self.run.ends_early:
            rows = await naming(self.run.ends.holder, users)
            await self._once_more({vessel for vessel, _ in rows})

    async def _once_more(self, vessels: set[str]) -> None:
        """A second look at those of these vessels that the run is about."""
        run, counted = self.run, self.run.counted
        there = {
            *self.chosen.old,
            *self.chosen.vanished,
            *self.chosen.apart,
            *(result.vessel for result in counted.done if result.state == "migrated"),
        }
        moves = self.moves.still_due()
        known = sorted((vessel for vessel in there if vessel.id not in self._left), key=lambda v: v.id)
        vessels -= moves.apart
        due = [vessel for vessel in known if vessel.id in vessels]
        due += moves.joined(vessels, [vessel for vessel in known if vessel.id not in vessels])
        groups = moves.groups(due)
        await change(run, self.rules, groups, moves, Report("sync"), counted.finished_again)

    async def make_way(self) -> None:
        """Vessels that the source has no more, and whose IMO numbers others are to get: they go first, unless
        rows go from them to others."""
        if self.run.settings.dry_run or not self._vanished:
            return
        wanted = [vessel.imo_number for vessel in self.chosen.coming if vessel.imo_number is not None]
        holding = set((await holders(self.run.ends.target, wanted)).values())
        known = dict(self.run.fleet.decisions.identity("vessel").iter_rows())
        groups = [
            group
            for group in self.moves.groups(self._vanished)
            if any(known.get(vessel.id) in holding for vessel in group)
            and not any(self.moves.partners(vessel.id) - self.moves.giving for vessel in group)
        ]
        self._count([vessel for group in groups for vessel in group])
        await self._delete(groups)

    async def delete_gone(self) -> None:
        """Vessels that the source has no more."""
        self._count(self._vanished)
        # A reference that the portal has changed is decided about in the commit that takes its ends.
        settled = {result.vessel.id for result in self.run.counted.done} | self.moves.giving
        waits = {
            vessel.id
            for vessel in self._vanished
            # What it gives away, or decides about with another, is on it still.
            if self.moves.partners(vessel.id) & self._taken - settled
        }
        groups = self.moves.groups(self._vanished)
        await self._delete([group for group in groups if waits.isdisjoint(one.id for one in group)])

    def _count(self, vanished: Sequence[Vessel]) -> None:
        """Counts these as selected, once."""
        self.run.report.selected += sum(vessel.id not in self._counted for vessel in vanished)
        self._counted.update(vessel.id for vessel in vanished)

    @property
    def _vanished(self) -> list[Vessel]:
        """Those of the vessels that are gone of which nothing was decided yet."""
        return [vessel for vessel in self.chosen.vanished if vessel.id not in self.run.counted.ended]

    async def _delete(self, groups: Sequence[Group]) -> None:
        run, ends = self.run, self.run.ends
        if groups and run.settings.window is not None:
            await run.read_pace()  # nobody has, where no vessel has changed
        for group in groups:
            if run.ends_early or not run.may_start(group):
                run.not_all_taken()
                return
            stays = {vessel.id: self._kept_on(vessel) for vessel in group}
            for result in await gone.delete(
                ends.holder, ends.target, group, run.options(), self.rules, stays
            ):
                run.counted.add(result)

    def _kept_on(self, vessel: Vessel) -> dict[str, Collection[str]]:
        """entity -> source ids of rows that stay on this vessel, and that the source has on another now."""
        stays, away = self.moves.stays[vessel.id], self.moves.away[vessel.id]
        return {entity.name: stays[entity.name].keys() | away[entity.name] for entity in PER_VESSEL}
