"""What one command works on: the state, the source as it is now, and what was asked for."""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from bulkmig import schemas
from tests.model.onboarding import Onboarding
from tests.model.rules import Hits
from tests.model.state import Base, State, Strategy
from tests.model.tables import THING_OF, Unit
from tests.oracle.draft import Draft, Ref, World
from tests.oracle.fate import OnError
from tests.oracle.file import read_columns
from tests.oracle.rules import Findings
from tests.oracle.sample import Sample
from tests.oracle.target import Column, Target

ON_SQLITE = os.environ.get("BULKMIG_TARGET") == "sqlite"


def _columns() -> dict[tuple[str, str], Column]:
    if not ON_SQLITE:
        return Sample().target.columns
    file = sqlite3.connect(":memory:")
    file.executescript(schemas.read("maintenance.sqlite.sql"))
    found = read_columns(file)
    file.close()
    return found


COLUMNS = _columns()  # what the target's can hold


@dataclass(frozen=True)
class Options:
    """What a command was asked for. `vessels`: by name, None for --all."""

    command: Literal["migrate", "sync"] = "migrate"
    vessels: frozenset[str] | None = None
    on_error: OnError = "quarantine"
    strategy: Strategy = "source_wins"
    full: bool = False
    new: bool = True
    allow_deletions: bool = False
    brake_share: float = 0.2
    brake_least: int = 10


@dataclass
class Outcome:
    """What the command's report says."""

    failed: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    braked: set[str] = field(default_factory=set)
    inserted: int = 0
    updated: int = 0


@dataclass(frozen=True)
class Due:
    """A source row as the transform gives it. `codes`: why it can't be in the target, by its own fault."""

    ref: Ref
    unit: Unit
    vessel: str | None
    codes: frozenset[str]


class Run:
    """A migration or a sync on its way."""

    def __init__(self, state: State, onboarding: Onboarding, options: Options, hits: Hits) -> None:
        self.state, self.onboarding, self.options, self.hits = state, onboarding, options, hits
        self.outcome = Outcome()
        self.written = set(state.base)  # before this run
        year = datetime.datetime.now(datetime.UTC).year
        self.source = onboarding.source()
        self.world = World(self.source, Target(columns=COLUMNS), year, Findings(), state.adopted)
        self.kept: set[Ref] = set()  # rows that keep their last written state, whatever the source says
        self.undecided: dict[Ref, str | None] = {}  # with an open conflict found now -> the source's vessel

    @property
    def is_sync(self) -> bool:
        """Whether rows that are there already are looked at."""
        return self.options.command == "sync"

    def due(self, draft: Draft, vessel: str | None) -> Due:
        """A draft with its rows as they are now, and what keeps it out."""
        codes = self.world.findings.keeps_out(draft.entity, draft.source_id)
        unit = {table: dict(row) for table, row in draft.rows.items()}
        return Due(Ref(draft.entity, draft.source_id), unit, vessel, frozenset(codes))

    def errors(self, ref: Ref) -> frozenset[str]:
        """The row's own errors."""
        return frozenset(self.world.findings.errors(*ref))

    def put_aside(self, ref: Ref, vessel: str | None, codes: Iterable[str], *, sure: bool = True) -> None:
        """Lists a row in quarantine; it keeps what is there of it."""
        self.state.put_aside(ref, vessel, codes, sure=sure)
        self.kept.add(ref)

    def release(self, ref: Ref) -> None:
        """Takes a row off the quarantine's list."""
        listed = self.state.quarantine.pop(ref, None)
        if listed is not None:
            self.hits("e-mail won" if "user.email_duplicate" in listed.codes else "leaves quarantine")

    def insert(self, due: Due) -> None:
        """Writes a row that wasn't there."""
        self.state.tables.put_unit(THING_OF[due.ref.entity], due.unit)
        self.state.base[due.ref] = Base(due.unit, due.vessel)
        self.outcome.inserted += 1
        self.hits("insert")
