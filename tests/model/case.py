"""The model alone, without databases: hand-made cases on the first fleet, already migrated."""

from __future__ import annotations

from dataclasses import replace

from tests.model.clock import Clock
from tests.model.commands import execute
from tests.model.history import Change, History, Step
from tests.model.onboarding import ENTITY_OF, Onboarding
from tests.model.rules import Hits
from tests.model.run import Options, Outcome
from tests.model.start import new_row, start
from tests.model.state import Conflict, State
from tests.model.tables import THING_OF, vessel_of
from tests.oracle.contract import TABLES
from tests.oracle.draft import Cell, Ref, Row
from tests.oracle.fate import OnError


class Case:
    """A source and a target, both in memory."""

    def __init__(self, on_error: OnError = "quarantine", *, migrated: bool = True) -> None:
        self.onboarding, self.clock, self.state, self.hits = Onboarding(), Clock(), State(), Hits()
        self.history, self.options = History(), Options("sync", on_error=on_error)
        start(self.onboarding, self.clock)
        if migrated:
            self.migrate()

    def migrate(self, *vessels: Ref) -> Outcome:
        """Migrates these vessels, or all."""
        chosen = frozenset(vessel.source_id for vessel in vessels) or None
        return self._run(replace(self.options, command="migrate", vessels=chosen))

    def sync(self, **options: object) -> Outcome:
        """Syncs all."""
        return self._run(replace(self.options, **options))  # type: ignore[arg-type]

    def _run(self, options: Options) -> Outcome:
        before = self.state.copy()
        outcome = execute(self.state, self.onboarding, options, self.hits)
        self._changes(Step(str(len(self.history.changes)), options.command, before, self.state.copy()))
        return outcome

    def _changes(self, step: Step) -> None:
        roots = tuple(
            self.state.target_id(ref)
            for ref in {*step.after.base, *step.before.base}
            if ref.entity == "company"
        )
        for vessel in (None, *sorted(step.after.marks)):
            ref = Ref("vessel", vessel or "")
            own = roots if vessel is None else (self.state.target_id(ref),)
            change = Change(f"{step.run} {vessel}", vessel, own, step, None, (), incidental=False)
            self.history.changes.append(change)

    def find(self, table: str, **values: str) -> Ref:
        """The source row with these values."""
        for row in self.onboarding.rows(table):
            if all(row[column] == value for column, value in values.items()):
                return Ref(ENTITY_OF.get(table, table), str(row["id"]))
        raise KeyError(values)

    def add(self, table: str, **values: str | None) -> Ref:
        """A new source row."""
        return Ref(ENTITY_OF[table], str(new_row(self.onboarding, self.clock, table, **values)["id"]))

    def source(self, table: str, id_: str, **values: str | None) -> None:
        """Changes a source row and its `updated_at`."""
        self.onboarding.change(table, id_, updated_at=self.clock.moment(), **values)

    def gone(self, table: str, *ids: str) -> None:
        """Deletes source rows."""
        for id_ in ids:
            self.onboarding.delete(table, id_)

    def portal(self, ref: Ref, table: str, **values: Cell) -> None:
        """A person changes cells of a row in the portal, which moves `updated_at`."""
        unit = self.unit(ref)
        self.state.tables.put(table, {**unit[table], **values})
        main = THING_OF[ref.entity].table
        self.state.tables.put(main, {**self.unit(ref)[main], "updated_at": self.clock.moment()})

    def portal_deletes(self, ref: Ref) -> None:
        """A person deletes a row in the portal."""
        main = THING_OF[ref.entity].table
        self.state.tables.delete(main, self.unit(ref)[main])

    def own(self, table: str, **values: Cell) -> Row:
        """A row of the portal's own."""
        row: Row = dict.fromkeys(TABLES[table])
        row |= {"id": self.clock.id(80), **values}
        self.state.tables.put(table, row)
        return row

    def unit(self, ref: Ref) -> dict[str, Row]:
        """The row in the target."""
        unit = self.state.unit(ref)
        assert unit is not None, f"{ref} is not there"
        return unit

    def cell(self, ref: Ref, column: str, table: str | None = None) -> Cell:
        """A cell of the target."""
        return self.unit(ref)[table or THING_OF[ref.entity].table][column]

    def is_there(self, ref: Ref) -> bool:
        """Whether the row is in the target."""
        return self.state.unit(ref) is not None

    def conflict(self) -> Conflict:
        """The only conflict there is."""
        (conflict,) = self.state.conflicts.values()
        return conflict

    def of_equipment(self, ref: Ref) -> list[tuple[str, str]]:
        """(table, id) of the source rows that hang on an equipment, and itself last."""
        columns = ("equipment_id", "source_equipment_id", "target_equipment_id")
        found = [
            (table, str(row["id"]))
            for table in ("critical_parts", "documents", "quality_scores", "cross_references")
            for row in self.onboarding.rows(table)
            if ref.source_id in [row.get(column) for column in columns]
        ]
        return [*found, ("equipment", ref.source_id)]

    def gone_with_all(self, ref: Ref) -> None:
        """Deletes an equipment with what hangs on it."""
        for table, id_ in self.of_equipment(ref):
            self.gone(table, id_)

    def vessel_gone(self, name: str) -> Ref:
        """Deletes a vessel and everything of it."""
        vessel = self.find("vessels", name=name)
        machines = {
            row["id"] for row in self.onboarding.rows("equipment") if row["vessel_id"] == vessel.source_id
        }
        for row in self.onboarding.rows("critical_parts"):
            if row["equipment_id"] in machines:
                self.gone("critical_parts", str(row["id"]))
        for table in ("documents", "quality_scores", "cross_references", "equipment", "locations"):
            for row in self.onboarding.rows(table):
                if row["vessel_id"] == vessel.source_id:
                    self.gone(table, str(row["id"]))
        self.gone("vessels", vessel.source_id)
        return vessel

    def vessel_of(self, ref: Ref) -> Cell:
        """The vessel of a row in the target."""
        table = THING_OF[ref.entity].table
        return vessel_of(self.state.tables, table, self.unit(ref)[table])
