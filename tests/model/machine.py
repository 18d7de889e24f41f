"""Random sequences of what people and bulkmig do, against the model."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import uvloop
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.model import both_steps, portal_steps, source_steps
from tests.model.mirror import Mirror
from tests.model.package import SYNC
from tests.model.rules import Hits
from tests.model.run import ON_SQLITE, Options
from tests.model.session import Session
from tests.model.state import Decision, Strategy
from tests.oracle.file import path_of
from tests.support import lane
from tests.support.servers import EmbeddedServers

Step = Callable[[Session, int, int, int, int, bool], Coroutine[Any, Any, None]]


def _in(tables: Iterable[str], number: int) -> str:
    """One of these tables."""
    names = list(tables)
    return names[number % len(names)]


# What people do, by name. The numbers choose a table, a row, a column and a value, as far as the step has
# them to choose.
SOURCE: dict[str, Step] = {
    "change": lambda s, t, w, c, v, f: source_steps.change(
        s, _in(source_steps.POOLS, t), w, c, v, moves=True
    ),
    "change, unseen": lambda s, t, w, c, v, f: source_steps.change(
        s, _in(source_steps.POOLS, t), w, c, v, moves=f
    ),
    "refer": lambda s, t, w, c, v, f: source_steps.refer(s, t, w, c),
    "insert": lambda s, t, w, c, v, f: source_steps.insert(s, _in(source_steps.TABLES, t), w, c),
    "delete": lambda s, t, w, c, v, f: source_steps.delete(
        s, _in(source_steps.TABLES, t), w, whole=f, logged=v > 3
    ),
    "move": lambda s, t, w, c, v, f: source_steps.move(s, w, c),
    "approve": lambda s, t, w, c, v, f: source_steps.approve(s),
}
PORTAL: dict[str, Step] = {
    "change": lambda s, t, w, c, v, f: portal_steps.change(
        s, _in(portal_steps.POOLS, t + 12 * f), w, c, v, moves=c > 300
    ),
    "delete": lambda s, t, w, c, v, f: portal_steps.delete(s, _in(portal_steps.DELETABLE, t), w),
    "add": lambda s, t, w, c, v, f: portal_steps.add(s, _in(portal_steps.OWN, t), w, c),
}

STRATEGIES: tuple[Strategy, ...] = ("source_wins", "target_wins", "merge", "manual")

number = st.integers(0, 999)
few = st.integers(0, 11)
_portals = {"source": SOURCE, "portal": PORTAL}
SIDES: dict[str, dict[str, Callable[..., Coroutine[Any, Any, None]]]] = {**_portals, "both": both_steps.STEPS}
action = st.one_of(
    *(
        st.tuples(st.just(side), st.sampled_from([*steps]), few, number, number, few, st.booleans())
        for side, steps in _portals.items()
    ),
    *[
        st.tuples(
            st.just("both"),
            st.sampled_from([*both_steps.STEPS]),
            st.sampled_from(both_steps.ENTITIES),
            number,
            number,
            few,
        )
    ]
    * 2,
)
# Something happens before each sync: a sequence may have no rule in which people alone do anything.
some = st.lists(action, min_size=1, max_size=8)


class Databases:
    """Two databases for one sequence after the other."""

    def __init__(self, servers: EmbeddedServers) -> None:
        self.servers, self.server = servers, servers.get(servers.newest)

    def fresh(self) -> tuple[str, str]:
        """URLs of an empty source and an empty target."""
        source = self.server.url(self.servers.create(self.servers.newest, "onboarding"))
        if ON_SQLITE:
            return source, lane.fresh(Path(tempfile.mkdtemp()) / "portal.db")
        return source, self.server.url(self.servers.create(self.servers.newest, "maintenance"))

    def copies(self, source: str, target: str) -> tuple[str, str]:
        """URLs of copies of two that nobody is connected to."""
        if ON_SQLITE:
            file = Path(tempfile.mkdtemp()) / "portal.db"
            shutil.copy(path_of(target), file)
            return self._copy(source), f"sqlite:///{file}"
        return self._copy(source), self._copy(target)

    def _copy(self, url: str) -> str:
        return self.server.url(self.servers.copy(self.servers.newest, url.rpartition("/")[2]))

    def drop(self, *urls: str) -> None:
        """Removes them."""
        for url in urls:
            if url.startswith("sqlite:"):
                shutil.rmtree(Path(path_of(url)).parent)
                continue
            self.server.drop_database(url.rpartition("/")[2])


class Machine(RuleBasedStateMachine):
    """Each rule is one thing that somebody does; after bulkmig's commands all is compared."""

    databases: Databases
    hits: Hits
    runner: asyncio.Runner
    finished = 0

    @initialize(on_error=st.sampled_from(["quarantine", "quarantine", "fail"]), migrated=st.booleans())
    def begin(self, on_error: Any, migrated: bool) -> None:
        source, target = self.databases.fresh()
        self.session = Session(Mirror(source, target), self.hits, on_error)
        self.runner.run(self.session.mirror.open())
        self.runner.run(self.session.begin())
        if migrated:
            self.runner.run(self.session.migrate(None))

    @rule(actions=st.lists(action, min_size=1, max_size=8))
    def people(self, actions: list[tuple[Any, ...]]) -> None:
        for side, step, *numbers in actions:
            self.runner.run(SIDES[side][step](self.session, *numbers))

    @rule(actions=st.lists(action, min_size=3, max_size=12))
    def many_people(self, actions: list[tuple[Any, ...]]) -> None:
        self.people(actions)

    @rule(which=st.none() | number)
    def migrate(self, which: int | None) -> None:
        vessels = None if which is None else self.session.approved(which)
        if vessels is None or vessels:
            self.runner.run(self.session.migrate(vessels))

    @precondition(lambda _: SYNC)
    @rule(actions=some, strategy=st.sampled_from(STRATEGIES), full=few, new=few, deletions=st.booleans())
    def sync(
        self, actions: list[tuple[Any, ...]], strategy: Strategy, full: int, new: int, deletions: bool
    ) -> None:
        self.people(actions)
        options = Options(
            "sync", strategy=strategy, full=full == 0, new=new > 0, allow_deletions=deletions, brake_least=2
        )
        self.runner.run(self.session.sync(options))

    @precondition(lambda _: SYNC)
    @rule(actions=some, strategy=st.sampled_from(STRATEGIES))
    def sync_again(self, actions: list[tuple[Any, ...]], strategy: Strategy) -> None:
        self.people(actions)
        self.runner.run(self.session.sync(Options("sync", strategy=strategy, brake_least=2)))

    @precondition(lambda self: SYNC and any(one.open for one in self.session.state.conflicts.values()))
    @rule(which=number, take=st.sampled_from(["source", "target", "merge"]))
    def resolve(self, which: int, take: Decision) -> None:
        self.runner.run(self.session.resolve(which, take))

    @rule(which=number, force=st.booleans())
    def rollback(self, which: int, force: bool) -> None:
        changes = [one for one in self.session.history.changes if one.vessel is not None]
        if changes and which % 2:
            self.runner.run(self.session.rollback(changes[which % len(changes)], force=force))

    @rule(which=number, force=st.booleans(), run=st.booleans())
    def rollback_last(self, which: int, force: bool, run: bool) -> None:
        session = self.session
        if run and session.runs:
            self.runner.run(session.rollback_run(session.runs[which % len(session.runs)].run_id, force=force))
        elif not run:
            vessels = sorted(session.onboarding.of["vessels"])
            if vessels:
                self.runner.run(session.rollback_vessel(vessels[which % len(vessels)], force=force))

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.runner.run(self.session.mirror.close())
            self.databases.drop(self.session.mirror.source_url, self.session.mirror.target_url)
            type(self).finished += 1


def play(
    servers: EmbeddedServers, sequences: int, steps: int, *, number: int, shrink: bool = True
) -> tuple[Hits, int]:
    """Runs the sequences of a seed; returns how often each rule was hit, and how many ran. Raises
    Disagreement, with the smallest sequence that has it if `shrink`."""
    made = Hits()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:

        @seed(number)
        class Here(Machine):
            databases, hits, runner = Databases(servers), made, loop

        options = settings(
            max_examples=sequences,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        run_state_machine_as_test(Here, settings=options)
        return made, Here.finished
