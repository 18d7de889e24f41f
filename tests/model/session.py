"""One sequence: the model and the package side by side, compared after each step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from msgspec.structs import asdict

from bulkmig import Report, Selection, Settings, migrate, rollback
from tests.model import package
from tests.model.clock import Clock
from tests.model.commands import execute
from tests.model.compare import differences
from tests.model.conflicts import conflict_differences
from tests.model.history import FLEET_TABLES, Change, History, Step, changed_companies, part, taken_before
from tests.model.mirror import Mirror
from tests.model.onboarding import Onboarding
from tests.model.resolving import resolvable, resolve
from tests.model.rollback import Refused, Taken, go_back, wait
from tests.model.rules import Hits
from tests.model.run import Options, Outcome
from tests.model.start import start
from tests.model.state import Decision, State
from tests.model.vessels import now_on
from tests.oracle.contract import KEYS
from tests.oracle.draft import Cell, Ref, Row
from tests.oracle.fate import OnError
from tests.oracle.source import SourceRow, identity

_CHECKPOINTS = """
SELECT id::text, vessel_id::text AS vessel, roots::text[] AS roots, restored::text AS restored,
       together::text[] AS together, incidental
  FROM bulkmig.checkpoints WHERE run_id = $1::text::uuid ORDER BY seq
"""


class Disagreement(AssertionError):
    """The model and the package differ."""


class Session:
    """A source, a target and their model."""

    def __init__(self, mirror: Mirror, hits: Hits, on_error: OnError) -> None:
        self.mirror, self.hits, self.on_error = mirror, hits, on_error
        self.onboarding, self.clock = Onboarding(), Clock()
        self.state, self.history = State(), History()
        self.runs: list[Report] = []
        self.log: list[str] = []
        # Companies or users have stayed in a rollback, in use. Whether they go the next time is left out.
        self.stayed = False
        # Written equipment has changed its vessel. What id it gets after a rollback is left out.
        self.moved = False
        self.unmoved = False  # a source row has changed without its `updated_at`
        start(self.onboarding, self.clock)

    async def begin(self) -> None:
        """Writes the first fleet into the source."""
        for table, rows in self.onboarding.of.items():
            for row in rows.values():
                await self.mirror.put_source(table, row)

    def approved(self, which: int) -> frozenset[str]:
        """Some of the approved vessels: one bit says of each whether it is among them."""
        rows = self.onboarding.rows("vessels")
        there = [identity(row) for row in rows if row["onboarding_status"] == "APPROVED"]
        return frozenset(vessel for bit, vessel in enumerate(there) if which >> bit & 1)

    def settings(self, options: Options | None = None) -> Settings:
        """What every command runs with."""
        return package.settings(
            options,
            source=self.mirror.source_url,
            target=self.mirror.target_url,
            on_error=self.on_error,
            continue_on_error=True,
            parallel_vessels=2,
            reveal=True,
        )

    def may_move(self, equipment: SourceRow, vessel: SourceRow) -> bool:
        """Whether the contract says what comes of moving this equipment to this vessel: both are synced, and
        neither was rolled back; or neither was ever there."""
        marks, away = self.state.marks, self.state.rolled_back
        if self.went("equipment", equipment):
            return False
        if self.on_error == "fail" and self._disputed(str(equipment["vessel_id"])):
            return False  # whether what stays lets its new vessel fail with the old one
        ends = {str(equipment["vessel_id"]), str(vessel["id"])}
        there = {marks.get(one) == "migrated" for one in ends}
        if there == {False}:
            return Ref("equipment", identity(equipment)) not in self.mirror.ids
        return there == {True} and not ends & away

    def _disputed(self, vessel: str) -> bool:
        """Whether the portal has changed a row of this vessel, or a conflict about one is open."""
        state = self.state
        if any(one.open and one.vessel == vessel for one in state.conflicts.values()):
            return True
        return any(state.unit(ref) != state.base[ref].unit for ref in state.of_vessel(vessel))

    def between(self, id_: Cell) -> bool:
        """Whether this row is on another vessel in the source by now, with `--on-error fail`: whether a
        conflict about it lets its vessels fail together is not said."""
        base = self.state.base.get(id_) if isinstance(id_, Ref) else None
        if base is None or base.vessel is None or not isinstance(id_, Ref) or self.on_error != "fail":
            return False
        return now_on(self.onboarding, id_) not in (None, base.vessel)

    def has_moved(self, equipment: SourceRow) -> None:
        """Notes that equipment that was written once is on another vessel now."""
        self.moved = self.moved or Ref("equipment", identity(equipment)) in self.mirror.ids

    def may_hang(self, part: str, equipment: SourceRow) -> bool:
        """Whether it is said which id this part has when it hangs on this equipment: it is there, as the
        equipment's vessel is, or never was."""
        ref = Ref("critical_part", part)
        if ref in self.state.base and not self.state.is_there(ref):
            return False  # whether the portal's deletion goes with it to another vessel
        there = self.state.marks.get(str(equipment["vessel_id"])) == "migrated"
        return (ref in self.state.base and there) or ref not in self.mirror.ids

    def assessed(self, id_: Cell) -> bool:
        """Whether this is a user who assessed a score as it was written: whether a score changes that the
        portal has deleted, when it deletes the user as well, is not said."""
        return any(
            base.unit["quality_scores"]["assessed_by"] == id_
            for ref, base in self.state.base.items()
            if ref.entity == "quality_score"
        )

    def leaves(self, id_: Cell) -> bool:
        """Whether this is a part, or equipment of one, that the source has on another vessel by now: whether
        the portal's deletion goes along, should that be loaded only then, is not said."""
        for ref, base in self.state.base.items():
            if ref.entity == "critical_part" and id_ in (ref, base.unit["critical_parts"]["equipment_id"]):
                part = self.onboarding.get(*ref) or {}
                equipment = self.onboarding.of["equipment"].get(part.get("equipment_id") or "")
                if equipment is not None and equipment["vessel_id"] != base.vessel:
                    return True
        return False

    def went(self, entity: str, row: SourceRow) -> bool:
        """Whether the row was there once and isn't now: which id it gets on another vessel is not said."""
        ref = Ref(entity, identity(row))
        return ref in self.mirror.ids and ref not in self.state.base

    def is_settled(self, table: str, row: Row) -> bool:
        """Whether the row stays although the source deleted its own: what people do to it after that is not
        said."""
        for base in self.state.base.values():
            if (
                base.gone
                and table in base.unit
                and base.unit[table].get(KEYS[table][0]) == row[KEYS[table][0]]
            ):
                return True
        return False

    async def migrate(self, vessels: frozenset[str] | None) -> None:
        """Migrates these vessels, or all."""
        chosen = Selection(all=True) if vessels is None else Selection(vessels=tuple(sorted(vessels)))
        self.log.append(f"migrate {chosen}")
        before = self.state.copy()
        outcome = execute(self.state, self.onboarding, self._options(vessels), self.hits)
        report = await migrate(self.settings(), chosen)
        await self._record(report, before)
        await self.check()
        self._figures(report, outcome)

    def _options(self, vessels: frozenset[str] | None) -> Options:
        return Options(command="migrate", vessels=vessels, on_error=self.on_error)

    def _figures(self, report: Report, outcome: Outcome) -> None:
        failed = {failure.vessel_id for failure in report.failures}
        wrong = [one for one in report.verified.differences if one.table not in FLEET_TABLES]
        told = (failed, report.done, report.skipped, len(wrong))
        wanted = (outcome.failed, len(outcome.done), len(outcome.skipped), 0)
        if told != wanted:
            found = [asdict(one) for one in wrong[:3]]
            self.fail([f"the report says {told}, expected {wanted}: {report.failures} {found}"])

    async def sync(self, options: Options) -> None:
        """Syncs all vessels."""
        options = replace(options, full=options.full or self.unmoved, on_error=self.on_error)
        if self.on_error == "fail" and options.strategy == "manual" and self._has_moving():
            # Whether a row that stays, in conflict, lets its old vessel fail with the new one is not said.
            options = replace(options, strategy="merge")
        self.log.append(
            f"sync {options.strategy}{' --full' * options.full}{' --no-new' * (not options.new)}"
            f"{' --allow-deletions' * options.allow_deletions}"
        )
        if options.full and self.unmoved:
            self.hits("full")
        before = self.state.copy()
        outcome = execute(self.state, self.onboarding, options, self.hits)
        self.unmoved = False
        report = await package.sync(self.settings(options), Selection(all=True))
        await self._record(report, before)
        await self.check()
        await self._conflicts(before, report)
        self._figures(report, outcome)

    def _has_moving(self) -> bool:
        """Whether the source has a row on another vessel than it was written for."""
        return any(
            base.vessel is not None and now_on(self.onboarding, ref) not in (base.vessel, None)
            for ref, base in self.state.base.items()
            if ref.entity != "vessel"
        )

    async def resolve(self, which: int, take: Decision) -> None:
        """Decides an open conflict."""
        found = resolvable(self.state)
        if not found:
            return
        conflict = found[which % len(found)]
        self.log.append(f"resolve {conflict.ref} --take {take}")
        documents = await package.conflicts(self.settings(), "open")
        ids = [one["id"] for one in documents if one["source_id"] == conflict.ref.source_id]
        before = self.state.copy()
        resolve(self.state, self.onboarding, conflict, take, self.hits)
        report = await package.resolve(self.settings(), ids, take)
        await self._record(report, before)
        await self.check()

    async def _conflicts(self, before: State, report: Report) -> None:
        """Compares the open conflicts, and those that this run has recorded as decided; its report counts
        both."""
        new = [one for number, one in self.state.conflicts.items() if number not in before.conflicts]
        still = [one for one in self.state.conflicts.values() if one.open and one not in new]
        documents = await package.conflicts(self.settings(), None)
        mine = [one for one in documents if one["status"] == "open" or one["run_id"] == report.run_id]
        lines = conflict_differences(new, still, mine, self.mirror)
        counted = Counter("open" if one["status"] == "open" else one["strategy"] for one in mine)
        if +report.conflicts != counted:
            lines.append(f"conflicts counted as {report.conflicts}, recorded are {counted}")
        if lines:
            self.fail(lines)

    async def rollback(self, change: Change, *, force: bool) -> None:
        """Goes back to before a change of a vessel."""
        self.log.append(f"rollback {self._told(change)}, force={force}")
        await self._go_back([change], checkpoint=change.id, force=force)

    async def rollback_vessel(self, vessel: str, *, force: bool) -> None:
        """Undoes a vessel's last change, if there is one."""
        found = [one for one in self.history.in_force(vessel) if one.restored is None and not one.incidental]
        if found:
            self.log.append(f"rollback --vessel: {self._told(found[-1])}, force={force}")
            await self._go_back(found[-1:], vessel=vessel, force=force)

    async def rollback_run(self, run: str, *, force: bool) -> None:
        """Undoes what is in force of a run, the newest change first."""
        chosen = [one for one in self.history.all_in_force() if one.step.run == run]
        if not chosen or (self.stayed and any(one.vessel is None for one in chosen)):
            return
        self.hits("rollback of a run")
        self.log.append(f"rollback --run: {[self._told(one) for one in chosen]}, force={force}")
        await self._go_back(chosen[::-1], run=run, force=force)

    def brought(self) -> list[str]:
        """Runs in force that brought companies or users, which others may use by now."""
        return [
            one.step.run
            for one in self.history.all_in_force()
            if one.vessel is None and part(one.step.after, one).keys() - part(one.step.before, one).keys()
        ]

    def _told(self, change: Change) -> str:
        number = self.history.changes.index(change)
        return f"{change.vessel or 'companies'} to before change {number}, of {change.step.command}"

    async def _go_back(
        self, chosen: list[Change], *, checkpoint: str = "", run: str = "", vessel: str = "", force: bool
    ) -> None:
        if self.moved:
            return
        before, wanted = self.state.copy(), "completed"
        taken: set[str | None] = set()
        steps: dict[str | None, tuple[State, State]] = {}
        held_up: list[Change] = []

        def back(change: Change, also: Sequence[Change] = ()) -> None:
            nonlocal wanted
            group = {one.vessel for one in (*self.history.joined(change, chosen), *also)}
            taken.update(group)
            try:
                after = go_back(
                    self.state,
                    self.history,
                    change,
                    self.hits,
                    force=force and not also,
                    chosen=chosen,
                    began=before,
                    also=also,
                )
            except Refused as refused:
                if isinstance(refused, Taken) and change.vessel is not None:
                    held_up.append(change)
                else:
                    wanted = "refused"
                return
            steps.update(dict.fromkeys(group, (self.state.copy(), after.copy())))
            self.state = after

        def again() -> None:
            """As long as others go back, what is another's by now may become free."""
            nonlocal wanted
            count = -1
            while held_up and len(held_up) != count:
                count, some = len(held_up), held_up.copy()
                held_up.clear()
                for change in some:
                    back(change)
            if len(held_up) > 1 and all(len(self.history.joined(one, chosen)) == 1 for one in held_up):
                together = held_up.copy()
                held_up.clear()
                back(together[0], together[1:])  # each may have what the other needs
            if held_up:
                wanted = "refused"
                held_up.clear()

        for change in chosen:
            if change.vessel is None:
                again()
            if change.vessel in taken or (change.vessel is None and wanted == "refused"):
                continue  # companies and users wait for the last vessel
            back(change)
        again()
        report = await rollback(self.settings(), checkpoint=checkpoint, run=run, vessel=vessel, force=force)
        if report.status != wanted:
            self.fail([f"rollback is {report.status}, expected {wanted}: {report.failures} {report.refused}"])
        self.stayed = self.stayed or bool(report.notes.get("stayed"))
        if went := [change for change in chosen if change.vessel in steps]:
            # Each state once: vessels that go back together share theirs. The first is from before all of it.
            passed = list({id(state): state for step in steps.values() for state in step}.values())
            await self._learn_what_waits(went, before, passed[1:])
            await self._learn_what_is_listed()
        for ref in before.base.keys() - self.state.base.keys():
            if ref.entity == "critical_part" and now_on(self.onboarding, ref) != before.base[ref].vessel:
                self.mirror.ids.pop(ref, None)  # it will be new on the vessel that the source has it on
        await self._record(report, before, steps)
        await self.check()

    async def _learn_what_waits(
        self, chosen: Iterable[Change], before: State, passed: Sequence[State]
    ) -> None:
        """References that were gone when the checkpoint was taken wait; those may wait on that did `before`
        or in one of the states `passed`, of vessels that went back themselves. These learn it, too."""
        there = await self.mirror.read()
        joined = [one for first in chosen for one in self.history.joined(first, chosen)]
        back = {one.vessel for one in joined} | {one.vessel for one in self.history.changes if one.restored}
        ids = {id_ for change in joined for id_ in taken_before(self.history, change)}
        waited = [pair for state in (before, *passed) for pair in state.pending.items()]
        ids |= {Ref("cross_reference", id_) for id_, vessel in waited if vessel in back}
        for id_ in ids:
            row = self.state.tables.get("cross_references", id_)
            if row is not None and (self.mirror.real(id_),) not in there["cross_references"]:
                for state in (*passed, self.state):
                    if (one := state.tables.get("cross_references", id_)) is not None:
                        state.tables.delete("cross_references", one)
                        wait(state, id_)
        # Where vessels went in one transaction, each checkpoint has the references between them.
        for source_id in list(self.state.pending):
            ref = Ref("cross_reference", source_id)
            if (self.mirror.real(self.state.target_id(ref)),) in there["cross_references"]:
                for state in (*passed, self.state):
                    if source_id in state.pending:
                        self._came_back(state, ref)

    async def _learn_what_is_listed(self) -> None:
        """Equipment that went back and may be listed still: what ends on it goes by whether it is."""
        rows = await self.mirror.target.fetch("SELECT entity, source_id::text FROM bulkmig.quarantine")
        found = {Ref(row["entity"], row["source_id"]) for row in rows}
        for ref, listed in list(self.state.quarantine.items()):
            if ref.entity == "equipment" and not listed.sure and ref not in found:
                del self.state.quarantine[ref]

    def _came_back(self, state: State, ref: Ref) -> None:
        """A reference that waited is as it last was, if both its ends are there."""
        for change in reversed(self.history.changes):
            then = change.step.before
            row = then.tables.get("cross_references", then.target_id(ref))
            if row is not None and ref in then.base:
                if not state.tables.dangling({"cross_references": row}):
                    state.tables.put("cross_references", row)
                    state.base[ref] = then.base[ref]
                    del state.pending[ref.source_id]
                return

    async def _record(
        self, report: Report, before: State, steps: Mapping[str | None, tuple[State, State]] | None = None
    ) -> None:
        """Notes the run and its changes; `steps`: by vessel, the states around its own, where there are
        several in a run."""
        self.runs.append(report)
        actual = await self.mirror.read()
        self.mirror.learn(self.state, actual)
        whole = before, self.state.copy()
        real: dict[str, Cell] = {id_: ref for ref, id_ in self.mirror.ids.items()}
        for row in await self.mirror.target.fetch(_CHECKPOINTS, report.run_id):
            self.log.append(f"    change {len(self.history.changes)}: {row['vessel'] or 'companies'}")
            self.history.changes.append(
                Change(
                    row["id"],
                    row["vessel"],
                    tuple(real.get(root, self._future(row["vessel"], root, before)) for root in row["roots"]),
                    Step(report.run_id, report.command, *(steps or {}).get(row["vessel"], whole)),
                    row["restored"],
                    tuple(row["together"]),
                    row["incidental"],
                )
            )
        if report.command != "rollback":  # which brings along what a vessel needs
            changed = changed_companies(before.tables, self.state.tables)
            mine = [one for one in self.history.changes if one.step.run == report.run_id]
            covered = {root for one in mine if one.vessel is None for root in one.roots}
            if changed - covered:
                self.fail([f"no checkpoint has {company}" for company in changed - covered])

    def _future(self, vessel: str | None, root: str, before: State) -> Cell:
        """A root that bulkmig has given no id: a vessel that didn't come, or a row of the portal's own."""
        of_portal = {row["id"] for state in (before, self.state) for row in state.tables.rows("vessels")}
        if root in of_portal or vessel is None:
            return root
        return Ref("vessel", vessel)

    async def check(self) -> None:
        """Compares; raises Disagreement."""
        lines = await differences(self.state, self.mirror)
        if lines:
            self.fail(lines)

    def fail(self, lines: list[str]) -> None:
        """Raises Disagreement with what was done so far."""
        failures = [f"the report says: {one.error}" for run in self.runs[-1:] for one in run.failures]
        raise Disagreement("\n".join(["", *lines[:40], *failures, "after:", *self.log]))
