"""`bulkmig rollback`: vessels, or all that a run did, back to what they were before.

which changes ▶ one transaction a vessel (or a group that changed together) ▶ companies and users ▶ report
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import anyio
import asyncpg

from bulkmig import shown
from bulkmig._core.stop import Stop
from bulkmig._version import __version__
from bulkmig.checkpoint import back, changes, companies
from bulkmig.checkpoint.back import Back, Refused, Way
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.restore import Restored
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.config import Settings
from bulkmig.errors import CheckpointError, UsageError
from bulkmig.events import Listener, RunStarted, VesselDone, VesselFailed, silent
from bulkmig.ledger import access, audit, runs, schema
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import Connection, pairs, transaction
from bulkmig.preflight import target_only
from bulkmig.report import Failure, Report
from bulkmig.security import keys

_NAMES = "SELECT vessel_id::text, name FROM bulkmig.vessels"
_PENDING = "SELECT count(*) FROM bulkmig.pending"


async def rollback(
    settings: Settings,
    *,
    checkpoint: str = "",
    run: str = "",
    vessel: str = "",
    force: bool = False,
    listen: Listener = silent,
    stop: Stop | None = None,
) -> Report:
    """Restores a checkpoint, all that a run changed, or a vessel's last change; one of the three is given.
    Raises UsageError for what there is not; a vessel that others changed since is in the report's `drift`
    and stays as it is, unless `force`."""
    if sum(map(bool, (checkpoint, run, vessel))) != 1:
        raise UsageError("one of a checkpoint, --run or --vessel", "see `bulkmig rollback --help`")
    keys.required(settings)
    report = Report("rollback", str(uuid4()), memory_bound=settings.memory)
    async with target_only(settings) as target:
        what = checkpoint or (f"--run {run}" if run else f"--vessel {vessel}")
        await access.check(target, settings.operator, "rollback", f"rollback {what}", ())  # at all
        await schema.upgrade(target)
        chosen = await _choose(target, checkpoint=checkpoint, run=run, vessel=vessel)
        await _allowed(target, settings, chosen, f"rollback {what}")
        own = Checkpoints(report.run_id)
        way = await Way.open(target, own, audit.who(settings.operator))
        await runs.begin(
            target,
            report.run_id,
            report.command,
            operator=settings.operator,
            selection=what,
            version=__version__,
        )
        names = pairs(await target.fetch(_NAMES))
        steps = _Steps(way, report, listen, names, force=force)
        stop = stop or Stop()
        try:
            with stop.scope() as scope:
                await steps.take(chosen)
                report.pending = await target.fetchval(_PENDING)
            if scope.cancelled_caught:
                report.status = "stopped"
        except BaseException:
            report.status = "failed"
            raise
        finally:
            report.finish()
            with anyio.move_on_after(10, shield=True):
                await shown.in_report(target, report)
                await runs.end(target, report.run_id, report.status, report.document())
    return report


async def _allowed(connection: Connection, settings: Settings, chosen: Sequence[Change], what: str) -> None:
    """Raises Denied. Companies and users are for those who may roll back everything."""
    vessels = {one.vessel_id for change in chosen for one in await changes.joined(connection, change)}
    where = await access.places(connection, vessels | {change.vessel_id for change in chosen})
    await access.check(connection, settings.operator, "rollback", what, where)


async def _choose(connection: Connection, *, checkpoint: str, run: str, vessel: str) -> list[Change]:
    if checkpoint:
        return [await changes.by_id(connection, checkpoint)]
    if run:
        return (await changes.of_run(connection, run))[1]
    try:
        id_ = str(UUID(vessel))
    except ValueError:
        raise UsageError(f"{vessel!r} is no vessel id (UUID)", "see `bulkmig status`") from None
    return [await changes.last_of(connection, id_)]


class _Steps:
    """Goes through the changes, the newest first."""

    def __init__(
        self, way: Way, report: Report, listen: Listener, names: dict[str, str], *, force: bool
    ) -> None:
        self.way, self.report, self.listen, self.force = way, report, listen, force
        self.names = names

    async def take(self, chosen: Sequence[Change]) -> None:
        """Restores these checkpoints."""
        report = self.report
        report.selected = sum(change.vessel_id is not None for change in chosen)
        self.listen(RunStarted(report.command, report.run_id, report.selected, 0))
        taken: set[str] = set()
        # Backwards: companies went in before their vessels; where a rollback is undone, they come back first.
        for change in changes.newest_first(chosen):
            if change.vessel_id is None:
                await self._companies(change)
            elif change.vessel_id not in taken:
                group = await changes.joined(self.way.connection, change)
                taken |= {one.vessel_id for one in group if one.vessel_id is not None}
                report.selected = max(report.selected, len(taken))
                await self._vessels(group)

    async def _vessels(self, group: Sequence[Change]) -> None:
        try:
            done = await back.go_back(self.way, group, force=self.force)
        except (Refused, CheckpointError, asyncpg.PostgresError) as error:
            for change in group:
                await self._fail(change, error)
            return
        self._count(done)
        for change in group:
            self.report.done += 1
            rows = done.restored
            total = sum((rows.inserted + rows.updated + rows.deleted).values())
            self.listen(
                VesselDone(
                    change.vessel_id or "",
                    self.names.get(change.vessel_id or "", ""),
                    "rolled back",
                    total,
                    0.0,
                )
            )
        if len(group) > 1:
            self.report.notes.setdefault("together", []).append([change.vessel_id for change in group])

    def _count(self, done: Back) -> None:
        report = self.report
        _add(report, done.restored)
        report.notes.setdefault("checkpoints", []).extend(done.checkpoints)
        report.notes.setdefault("undone", []).extend(
            {"checkpoint": one.id, "run_id": one.run_id, "vessel_id": one.vessel_id, "command": one.command}
            for one in done.undone
        )
        report.notes.setdefault("discarded", []).extend(vars(row) for row in done.discarded)

    async def _companies(self, change: Change) -> None:
        try:
            done = await companies.go_back(self.way, change, force=self.force)
        except (Refused, CheckpointError, asyncpg.PostgresError) as error:
            await self._fail(change, error)
            return
        _add(self.report, done.restored)
        self.report.notes.setdefault("checkpoints", []).append(done.checkpoint)
        self.report.notes.setdefault("stayed", []).extend(vars(row) for row in done.stayed)
        self.report.notes.setdefault("discarded", []).extend(vars(row) for row in done.discarded)

    async def _fail(self, change: Change, error: Exception) -> None:
        report = self.report
        if isinstance(error, Refused):
            message = (
                f"{len(error.drift)} rows were changed by others since: see `drift`; --force gives them up"
            )
            report.refused += [row for row in error.drift if row not in report.refused]
        else:
            message = describe(error) if isinstance(error, asyncpg.PostgresError) else str(error)
        vessel = change.vessel_id or ""
        name = self.names.get(vessel, "")
        report.failures.append(Failure(vessel, name, None, "rollback", message))
        report.failed += change.vessel_id is not None
        report.was_refused = True
        async with transaction(self.way.connection):
            await audit.entry(
                self.way.connection,
                self.way.who,
                "refused",
                f"rollback to checkpoint {change.id}",
                run_id=report.run_id,
                vessel_id=change.vessel_id,
            )
        self.listen(VesselFailed(vessel, name, "rollback", message))


def _add(report: Report, done: Restored) -> None:
    report.inserted.update(done.inserted)
    report.updated.update(done.updated)
    report.deleted.update(done.deleted)
