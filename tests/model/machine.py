"""Random sequences of what people and bulkmig do, against the model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
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

from tests.model import both_steps
from tests.model.databases import Databases
from tests.model.package import SYNC
from tests.model.rules import Hits
from tests.model.sequence import PORTAL, SOURCE, Action, Story, Taken
from tests.model.state import Decision, Strategy
from tests.support.servers import EmbeddedServers

STRATEGIES: tuple[Strategy, ...] = ("source_wins", "target_wins", "merge", "manual")

number = st.integers(0, 999)
few = st.integers(0, 11)
action = st.one_of(
    *(
        st.tuples(st.just(side), st.sampled_from([*steps]), few, number, number, few, st.booleans())
        for side, steps in (("source", SOURCE), ("portal", PORTAL))
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
some = st.lists(action, min_size=1, max_size=8)
# Before a sync: conflicts alone, so that each strategy's rules are hit by it.
clashes = st.lists(
    st.tuples(
        st.just("both"),
        st.sampled_from(["different", "numbers", "statuses", "same field"]),
        st.sampled_from(both_steps.ENTITIES),
        number,
        number,
        few,
    ),
    min_size=1,
    max_size=4,
)


@dataclass
class Played:
    """What came of the sequences of a seed. `steps`: the last one's; if one disagreed, it is that."""

    hits: Hits = field(default_factory=Hits)
    finished: int = 0
    steps: list[Taken] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """Each rule is one thing that somebody does; after bulkmig's commands all is compared."""

    databases: Databases
    played: Played
    runner: asyncio.Runner

    def _take(self, name: str, **values: Any) -> None:
        self.runner.run(self.story.take(name, **values))

    @initialize(on_error=st.sampled_from(["quarantine", "quarantine", "fail"]), migrated=st.booleans())
    def begin(self, on_error: str, migrated: bool) -> None:
        self.story = Story(self.databases, self.played.hits)
        self.played.steps = self.story.taken
        self._take("begin", on_error=on_error, migrated=migrated)

    @rule(actions=st.lists(action, min_size=1, max_size=8))
    def people(self, actions: list[Action]) -> None:
        self._take("people", actions=actions)

    @rule(actions=st.lists(action, min_size=3, max_size=12))
    def many_people(self, actions: list[Action]) -> None:
        self._take("people", actions=actions)

    @rule(which=st.none() | number)
    def migrate(self, which: int | None) -> None:
        self._take("migrate", which=which)

    @precondition(lambda _: SYNC)
    @rule(actions=some, strategy=st.sampled_from(STRATEGIES), full=few, new=few, deletions=st.booleans())
    def sync(self, actions: list[Action], strategy: Strategy, full: int, new: int, deletions: bool) -> None:
        self._take(
            "sync", actions=actions, strategy=strategy, full=full == 0, new=new > 0, deletions=deletions
        )

    @precondition(lambda _: SYNC)
    @rule(actions=some | clashes, strategy=st.sampled_from(STRATEGIES))
    def sync_again(self, actions: list[Action], strategy: Strategy) -> None:
        self._take("sync", actions=actions, strategy=strategy, full=False, new=True, deletions=False)

    @precondition(lambda self: SYNC and any(one.open for one in self.story.session.state.conflicts.values()))
    @rule(which=number, take=st.sampled_from(["source", "target", "merge"]))
    def resolve(self, which: int, take: Decision) -> None:
        self._take("resolve", which=which, take=take)

    @rule(which=number, force=st.booleans())
    def rollback(self, which: int, force: bool) -> None:
        self._take("rollback", which=which, force=force)

    @rule(which=number, force=st.booleans(), run=st.booleans(), brought=st.booleans())
    def rollback_last(self, which: int, force: bool, run: bool, brought: bool) -> None:
        self._take("rollback_last", which=which, force=force, run=run, brought=brought)

    def teardown(self) -> None:
        if hasattr(self, "story"):
            self.runner.run(self.story.end())
            self.played.finished += 1


def play(servers: EmbeddedServers, sequences: int, steps: int, *, number: int, into: Played) -> None:
    """Runs the sequences of a seed until one disagrees. Raises Disagreement."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:

        @seed(number)
        class Here(Machine):
            databases, played, runner = Databases(servers), into, loop

        options = settings(
            max_examples=sequences,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        run_state_machine_as_test(Here, settings=options)
