"""One vessel's share of a commit: what is to be done, what it is done with, what was done."""

from __future__ import annotations

from collections import Counter, defaultdict

from msgspec import Struct, field

from bulkmig._core.declare import Entity, Table
from bulkmig._core.unit import Catalogue
from bulkmig.ledger import write
from bulkmig.postgres.session import Connection
from bulkmig.report import Report
from bulkmig.sync.parts import Part, Plan
from bulkmig.target.graph import Graph
from bulkmig.vessel_load import Loaded


class Applied(Struct):
    """Rows per target table, and conflicts by what became of them."""

    inserted: Counter[str] = field(default_factory=Counter)
    updated: Counter[str] = field(default_factory=Counter)
    deleted: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    open: int = 0
    resolved: Counter[str] = field(default_factory=Counter)

    def count_into(self, report: Report) -> None:
        """Adds it to a run's figures."""
        report.inserted.update(self.inserted)
        report.updated.update(self.updated)
        report.deleted.update(self.deleted)
        report.unchanged.update(self.unchanged)
        report.conflicts["open"] += self.open
        report.conflicts.update(self.resolved)


class Means(Struct, frozen=True):
    """What applying needs. `owner`: the vessel, or the nil UUID; `root`: its target id; `checkpoint`: the one
    of this change."""

    connection: Connection
    catalogue: Catalogue
    graph: Graph
    run_id: str
    owner: str
    root: str
    checkpoint: str

    @property
    def vessel(self) -> str | None:
        return None if self.owner == write.NIL else self.owner


class Step(Struct):
    """One vessel's share of a commit. `decides`: whether it says what becomes of its references, else they go
    along with their ends as any other vessel's do; `removed`: table -> keys of rows that it has no more."""

    means: Means
    plan: Plan
    decides: bool = True
    done: Applied = field(default_factory=Applied)
    removed: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def part(self, entity: Entity) -> Part:
        return self.plan.parts[entity.name]

    def tell(self, result: Loaded) -> None:
        """Puts what was done into what is told of the vessel."""
        done = self.done
        result.inserted, result.updated = +done.inserted, +done.updated
        result.deleted, result.unchanged = +done.deleted, +done.unchanged
        result.conflicts = Counter({"open": done.open}) + done.resolved


def was_in(part: Part, id_: str, table: Table) -> bool:
    was = part.was[id_]
    return was is not None and table.name in was.tables
