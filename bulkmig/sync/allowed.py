"""Vessels that change in one commit with those asked for, and that are not this operator's to change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bulkmig.fleet.run import Run
from bulkmig.ledger import access
from bulkmig.ledger.access import Denied, Permission
from bulkmig.selection import Vessel
from bulkmig.vessel_load import Loaded, record_failure

PERMISSION: dict[str, Permission] = {"sync": "sync", "migrate": "migrate_vessel"}  # by the command
_ERROR = (
    "it changes in one commit with vessel {}, for which the operator has no permission {}: have somebody who"
    " has it synchronise both"
)


async def without_denied(run: Run, groups: Iterable[Sequence[Vessel]], along: Collection[str]) -> set[str]:
    """The vessels of groups in which one that comes `along` is not to be changed: those that were asked for
    fail. Which vessels change together is known only here, long after the command asked for its own."""
    failed: dict[str, Loaded] = {}
    denied: set[str] = set()

    async def look() -> None:
        failed.clear()  # of an attempt that broke off
        denied.clear()
        if not await access.enabled(run.ends.target):
            return
        for group in groups:
            if (other := await _first(run, group, along)) is None:
                continue
            denied.update(vessel.id for vessel in group)
            error = _ERROR.format(other, PERMISSION[run.report.command])
            for vessel in (vessel for vessel in group if vessel.id not in along):
                failed[vessel.id] = await record_failure(
                    run.ends.target, vessel, run.options(), phase="validate", error=error
                )

    await run.step("permissions", look)
    for result in failed.values():
        run.counted.add(result)
    return denied


async def _first(run: Run, group: Sequence[Vessel], along: Collection[str]) -> str | None:
    """The first of a group that the operator may not change."""
    target, command = run.ends.target, run.report.command
    what = f"{command} {' '.join(vessel.id for vessel in group if vessel.id not in along)}"
    for place in await access.places(target, [vessel.id for vessel in group if vessel.id in along]):
        try:
            await access.check(target, run.settings.operator, PERMISSION[command], what, [place])
        except Denied:
            return place[0]
    return None
