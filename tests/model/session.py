"""One sequence: the model and the package side by side, compared after each step."""

from __future__ import annotations

from bulkmig import Report, Selection, Settings, migrate, rollback
from tests.model.clock import Clock
from tests.model.commands import execute
from tests.model.compare import differences
from tests.model.history import FLEET_TABLES, Change, History, Step
from tests.model.mirror import Mirror
from tests.model.onboarding import Onboarding
from tests.model.rollback import Refused, go_back
from tests.model.rules import Hits
from tests.model.run import Options, Outcome
from tests.model.start import start
from tests.model.state import State
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

    def settings(self) -> Settings:
        """What every command runs with."""
        return Settings(
            source=self.mirror.source_url,
            target=self.mirror.target_url,
            on_error=self.on_error,
            continue_on_error=True,
            parallel_vessels=2,
        )

    def may_move(self, equipment: SourceRow, vessel: SourceRow) -> bool:
        """Whether the contract says what comes of moving this equipment to this vessel: both are synced, and
        neither was rolled back."""
        marks, away = self.state.marks, self.state.rolled_back
        ends = {str(equipment["vessel_id"]), str(vessel["id"])}
        there = {marks.get(one) == "migrated" for one in ends}
        return there == {False} or (there == {True} and not ends & away)

    def is_settled(self, table: str, row: Row) -> bool:
        """Whether the row stays although the source deleted its own: what people do to it after that is not
        said."""
        for ref, base in self.state.base.items():
            if (
                base.gone
                and table in base.unit
                and base.unit[table].get(KEYS[table][0]) == row[KEYS[table][0]]
            ):
                return True
        return table == "maintenance_logs" and any(
            base.gone and self.state.target_id(ref) == row["equipment_id"]
            for ref, base in self.state.base.items()
        )

    async def migrate(self, vessels: frozenset[str] | None) -> None:
        """Migrates these vessels, or all."""
        chosen = Selection(all=True) if vessels is None else Selection(vessels=tuple(sorted(vessels)))
        self.log.append(f"migrate {chosen}")
        before = self.state.copy()
        outcome = execute(self.state, self.onboarding, self._options(vessels), self.hits)
        report = await migrate(self.settings(), chosen)
        self._figures(report, outcome)
        await self._record(report, before)
        await self.check()

    def _options(self, vessels: frozenset[str] | None) -> Options:
        return Options(command="migrate", vessels=vessels, on_error=self.on_error)

    def _figures(self, report: Report, outcome: Outcome) -> None:
        failed = {failure.vessel_id for failure in report.failures}
        wrong = [one for one in report.verified.differences if one.table not in FLEET_TABLES]
        told = (failed, report.done, report.skipped, len(wrong))
        wanted = (outcome.failed, len(outcome.done), len(outcome.skipped), 0)
        if told != wanted:
            found = [vars(one) for one in wrong[:3]]
            self.fail([f"the report says {told}, expected {wanted}: {report.failures} {found}"])

    async def rollback(self, change: Change, *, force: bool) -> None:
        """Goes back to before a change."""
        self.log.append(f"rollback {change.vessel} to before {change.step.command} force={force}")
        before = self.state.copy()
        try:
            self.state = go_back(self.state, self.history, change, self.hits, force=force)
            wanted = "completed"
        except Refused:
            self.state, wanted = before, "refused"
        report = await rollback(self.settings(), checkpoint=change.id, force=force)
        if report.status != wanted:
            self.fail([f"rollback is {report.status}, expected {wanted}: {report.failures} {report.refused}"])
        await self._record(report, before)
        await self.check()

    async def _record(self, report: Report, before: State) -> None:
        self.runs.append(report)
        actual = await self.mirror.read()
        self.mirror.learn(self.state, actual)
        step = Step(report.run_id, report.command, before, self.state.copy())
        real: dict[str, Cell] = {id_: ref for ref, id_ in self.mirror.ids.items()}
        for row in await self.mirror.target.fetch(_CHECKPOINTS, report.run_id):
            self.history.changes.append(
                Change(
                    row["id"],
                    row["vessel"],
                    tuple(real.get(root, self._future(row["vessel"], root)) for root in row["roots"]),
                    step,
                    row["restored"],
                    tuple(row["together"]),
                    row["incidental"],
                )
            )

    def _future(self, vessel: str | None, root: str) -> Cell:
        """A root that has no id yet: a vessel that didn't come, or a row of the portal's own."""
        adopted = {id_ for id_ in self.state.adopted.values()}
        if root in adopted or vessel is None:
            return root
        return Ref("vessel", vessel)

    async def check(self) -> None:
        """Compares; raises Disagreement."""
        lines = await differences(self.state, self.mirror)
        if lines:
            self.fail(lines)

    def fail(self, lines: list[str]) -> None:
        """Raises Disagreement with what was done so far."""
        raise Disagreement("\n".join(["", *lines[:40], "after:", *self.log]))
