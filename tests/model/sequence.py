"""A sequence of what people and bulkmig do: its steps are values that can be written down and taken again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from tests.model import both_steps, portal_steps, source_steps
from tests.model.databases import Databases
from tests.model.mirror import Mirror
from tests.model.rules import Hits
from tests.model.run import Options
from tests.model.session import Session
from tests.model.state import Decision, Strategy
from tests.oracle.fate import OnError

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

SIDES: dict[str, dict[str, Callable[..., Coroutine[Any, Any, None]]]] = {
    "source": SOURCE,
    "portal": PORTAL,
    "both": both_steps.STEPS,
}

Action = Sequence[Any]
"""Who, what, and the numbers that choose among what is there."""
Taken = tuple[str, dict[str, Any]]
"""A step's name and its values, as they go into JSON."""


class Story:
    """Two databases and their model, and the steps that were taken on them. A step compares what it has
    done, and raises Disagreement."""

    def __init__(self, databases: Databases, hits: Hits) -> None:
        self._databases, self._hits = databases, hits
        self._session: Session | None = None
        self.taken: list[Taken] = []

    @property
    def session(self) -> Session:
        """What has begun."""
        assert self._session is not None, "a sequence begins with `begin`"
        return self._session

    async def take(self, name: str, **values: Any) -> None:
        """Takes a step, one of the methods below."""
        self.taken.append((name, values))
        await getattr(self, name)(**values)

    async def begin(self, on_error: OnError, *, migrated: bool) -> None:
        self._session = Session(Mirror(*self._databases.fresh()), self._hits, on_error)
        await self.session.mirror.open()
        await self.session.begin()
        if migrated:
            await self.session.migrate(None)

    async def end(self) -> None:
        """Removes the databases."""
        if self._session is not None:
            mirror = self._session.mirror
            await mirror.close()
            self._databases.drop(mirror.source_url, mirror.target_url)

    async def people(self, actions: Iterable[Action]) -> None:
        for side, step, *numbers in actions:
            await SIDES[side][step](self.session, *numbers)

    async def migrate(self, which: int | None) -> None:
        vessels = None if which is None else self.session.approved(which)
        if vessels is None or vessels:
            await self.session.migrate(vessels)

    async def sync(
        self, actions: Iterable[Action], strategy: Strategy, *, full: bool, new: bool, deletions: bool
    ) -> None:
        # Something happens before each sync: a sequence may have no step in which people alone do anything.
        await self.people(actions)
        await self.session.sync(
            Options("sync", strategy=strategy, full=full, new=new, allow_deletions=deletions, brake_least=2)
        )

    async def resolve(self, which: int, take: Decision) -> None:
        await self.session.resolve(which, take)

    async def rollback(self, which: int, *, force: bool) -> None:
        changes = [one for one in self.session.history.changes if one.vessel is not None]
        if changes and which % 2:
            await self.session.rollback(changes[which % len(changes)], force=force)

    async def rollback_last(self, which: int, *, force: bool, run: bool, brought: bool = False) -> None:
        session = self.session
        if run:
            runs = session.brought() if brought else [one.run_id for one in session.runs]
            if runs:
                await session.rollback_run(runs[which % len(runs)], force=force)
        else:
            vessels = sorted(session.onboarding.of["vessels"])
            if vessels:
                await session.rollback_vessel(vessels[which % len(vessels)], force=force)
