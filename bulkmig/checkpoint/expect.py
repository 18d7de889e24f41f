"""What vessels were, what bulkmig left of them since, and what is there: the three sets of a way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from bulkmig.checkpoint import changes, others, parts
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.way import Way


async def expect(
    way: Way,
    targets: Sequence[Change],
    since: Mapping[str, Sequence[Change]],
    roots: Sequence[str],
    *,
    apart: bool,
) -> None:
    """Fills the stage: `was` from the checkpoints, `now` from the target, and `due` by going through every
    change since that is in force. What a rollback found changed by the portal, and left so, is its still."""
    connection, stage = way.connection, way.vessels
    for copy in ("was", "due", "now"):
        await stage.clear(copy)
    await stage.look(roots)
    await parts.complete(connection, {change.id: change.parts for change in targets})
    # A row may have gone from one to another of those that belong together.
    for some in [targets] if apart else [[change] for change in targets]:
        await _state(way, some)
        await stage.add("one", "was")
        for change in some:
            await _given_back(way, change, changes.in_force(since[change.id]))
        await _go_through(way, {change: since[change.id] for change in some})
        await others.with_returned(stage, [change.vessel_id or "" for change in some])
        await stage.add("one", "due")
    await others.without_waiting(stage, [change.vessel_id or "" for change in targets])
    for copy in ("was", "due"):
        await stage.look_for(copy)
    await stage.look_below(roots)
    await stage.leave_shared(roots)


async def _go_through(way: Way, chains: Mapping[Change, Sequence[Change]]) -> None:
    """Lets `one`, which has what these checkpoints hold, go through what changed each vessel since."""
    begins, steps = [], []
    for change, since in chains.items():
        begin, written = change, list[str]()
        for later in changes.in_force(since):
            if later.restored is None:
                written.append(later.id)
            elif later.restored not in {one.id for one in since}:
                (begin,) = await changes.find(way.connection, "c.id = $1::text::uuid", later.restored)
                written.clear()
        begins.append(begin)
        steps.append(written)
    if begins != [*chains]:
        await _state(way, begins)
    for at_once in zip_longest(*steps):
        await way.vessels.expect_written([id_ for id_ in at_once if id_ is not None])


async def _given_back(way: Way, change: Change, since: Sequence[Change]) -> None:
    """Lets `was` have the rows of the portal's that one of these changes has taken over in the place of what
    the change is about: they are the portal's again."""
    first = {later.roots: later for later in reversed(since) if later.roots != change.roots}
    for later in first.values():
        async for part in way.read([later], "state"):
            await way.vessels.load(part, "was")


async def _state(way: Way, some: Sequence[Change]) -> None:
    await way.vessels.clear("one")
    async for part in parts.joined(way.read(some, "state")):
        await way.vessels.load(part, "one")
