"""`bulkmig rollback`: vessels, or all that a run did, back to what they were before.

which changes ▶ one transaction a vessel (or a group that changed together) ▶ companies and users ▶ report
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar
from uuid import UUID, uuid4

import anyio
import asyncpg
from msgspec.structs import asdict

from bulkmig import shown
from bulkmig._core.stop import Stop
from bulkmig._version import __version__
from bulkmig.checkpoint import back, changes, companies, unit
from bulkmig.checkpoint.back import Back, Refused
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.restore import Restored, Taken
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.checkpoint.way import Way
from bulkmig.config import Settings
from bulkmig.ends import answers
from bulkmig.errors import BulkmigError, CheckpointError, UsageError
from bulkmig.events import Listener, RunStarted, VesselDone, VesselFailed, silent
from bulkmig.ledger import access, audit, runs, schema
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import DURABLE, Connection, close, pairs, reach, transaction
from bulkmig.preflight import address, patience, target_only
from bulkmig.report import Failure, Report
from bulkmig.security import keys

_NAMES = "SELECT vessel_id::text, name FROM bulkmig.vessels"
_PENDING = "SELECT count(*) FROM bulkmig.pending"
_COMMITTED = """
SELECT EXISTS (SELECT FROM bulkmig.checkpoints
                WHERE run_id = $1::text::uuid AND restored = $2::text::uuid)
"""
_GAVE_UP = (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_LOOK = "see `bulkmig checkpoints list` for what is rolled back, then go on with the rest"
_AFTER_VESSELS = (
    "companies and users go back after the last of the run's vessels: deal with those that were refused and"
    " run the same command again, or roll back checkpoint {} alone"
)
_END_SECONDS = 10
T = TypeVar("T")


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
    async with target_only(settings, unsealed=True, writing=True) as target:
        what = checkpoint or (f"--run {run}" if run else f"--vessel {vessel}")
        await access.check(target, settings.operator, "rollback", f"rollback {what}", ())  # at all
        await schema.upgrade(target)
        chosen = await _choose(target, checkpoint=checkpoint, run=run, vessel=vessel)
        await _allowed(target, settings, chosen, f"rollback {what}")
        names = pairs(await target.fetch(_NAMES))
        steps = _Steps(target, settings, report, listen, names, force=force)
        async with steps.to_their_end(what, stop or Stop()):
            await steps.take(chosen)
    return report


async def _allowed(connection: Connection, settings: Settings, chosen: Sequence[Change], what: str) -> None:
    """Raises Denied. Companies and users are for those who may roll back everything."""
    where = await access.places(connection, await changes.reached(connection, chosen))
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
    """Goes through the changes, the newest first, on a session that is opened anew when it is lost."""

    def __init__(
        self,
        target: Connection,
        settings: Settings,
        report: Report,
        listen: Listener,
        names: dict[str, str],
        *,
        force: bool,
    ) -> None:
        self.target, self.settings, self.report, self.listen = target, settings, report, listen
        self.names, self.force = names, force
        self.checkpoints, self.who = Checkpoints(report.run_id), audit.who(settings.operator)
        self.patience = patience(settings, listen)
        self.way: Way | None = None
        self.chosen: Sequence[Change] = ()
        self.held_up: list[tuple[Change, int, Taken]] = []  # and how many had gone back before

    @asynccontextmanager
    async def to_their_end(self, what: str, stop: Stop) -> AsyncIterator[None]:
        """Records the run around a block that `stop` cancels. A server or data that gave up are in the
        report, other errors are raised."""
        report, first = self.report, self.target
        begin = partial(
            runs.begin,
            run_id=report.run_id,
            command=report.command,
            operator=self.settings.operator,
            selection=what,
            version=__version__,
        )
        await self._step("the beginning", lambda way: begin(way.connection))
        try:
            with stop.scope() as scope:
                yield
            if scope.cancelled_caught:
                report.status = "stopped"
        except _GAVE_UP as error:
            report.fail(describe(error), getattr(error, "hint", "") or _LOOK)
        except BaseException:
            report.status = "failed"
            raise
        finally:
            with anyio.CancelScope(shield=True, deadline=anyio.current_time() + _END_SECONDS):
                try:
                    await self._step("the end", self._end)
                except _GAVE_UP as error:
                    report.fail(f"how the run ended could not be recorded: {describe(error)}", _LOOK)
            report.finish()
            if self.target is not first:
                await close(self.target)

    async def _end(self, way: Way) -> None:
        report = self.report
        report.pending = await way.connection.fetchval(_PENDING)
        report.conflicts["open"] = await runs.open_conflicts(way.connection)
        await shown.in_report(way.connection, report)
        report.finish()
        await runs.end(way.connection, report.run_id, report.status, report.document())

    async def _step(self, name: str, work: Callable[[Way], Awaitable[T]]) -> T:
        async def attempt(number: int) -> T:
            if number > 1 and not await answers(self.target):
                to = address(self.settings, "target")
                self.target = await reach(
                    to, DURABLE, role="target", patience=self.patience, instead_of=self.target
                )
                await runs.hold(self.target, self.report.run_id)
                self.way = None
            if self.way is None:
                self.way = await Way.open(self.target, self.checkpoints, self.who)
            return await work(self.way)

        return await self.patience.work(name, attempt)

    async def _back(self, change: Change, work: Callable[[Way, Callable[[T], None]], Awaitable[T]]) -> T:
        """A way back. Where the answer to its commit is lost, its own checkpoint says whether it was done."""
        tried: list[T] = []

        async def attempt(way: Way) -> T:
            if tried and await way.connection.fetchval(_COMMITTED, self.report.run_id, change.id):
                return tried[-1]
            return await work(way, tried.append)

        return await self._step("rollback", attempt)

    async def take(self, chosen: Sequence[Change]) -> None:
        """Restores these checkpoints."""
        report, self.chosen = self.report, chosen
        report.selected = sum(change.vessel_id is not None for change in chosen)
        self.listen(RunStarted(report.command, report.run_id, report.selected, 0))
        taken: set[str] = set()
        # Backwards: companies went in before their vessels; where a rollback is undone, they come back first.
        for due in await self._step("rollback", lambda way: unit.cut(way.connection, chosen)):
            together = [change for change in due if change.vessel_id not in taken]
            if len(together) > 1 and await self._unit(together):
                taken |= {change.vessel_id for change in together if change.vessel_id is not None}
                continue
            for change in together:
                if change.vessel_id is None:
                    await self._held_up_ones()
                if change.vessel_id is None and report.failed:
                    # Once a part of them had gone back, a repetition would take the rest for undone.
                    await self._stays(change, _AFTER_VESSELS.format(change.id))
                elif change.vessel_id is None:
                    await self._companies(change)
                elif change.vessel_id not in taken:
                    group = await self._vessels(change)
                    taken |= {one.vessel_id for one in group if one.vessel_id is not None}
                    report.selected = max(report.selected, len(taken))
        await self._held_up_ones()

    async def _held_up_ones(self) -> None:
        """Vessels to which something is to come back that another of the run had: as long as others go back,
        each is tried again, and those that are left together, since each may have what the other needs."""
        while self.held_up:
            tried, now = self.held_up, self.report.done
            free = [change for change, done, _ in tried if now > done]
            self.held_up = [one for one in tried if now == one[1]] if free else []
            if free:
                for change in free:
                    await self._vessels(change)
            elif len(tried) == 1 or not await self._unit([change for change, *_ in tried]):
                for change, _, error in tried:
                    await self._refuse(change, error)

    async def _unit(self, together: Sequence[Change]) -> bool:
        """Whether these went back, in one transaction. Where one can't none did: each has its turn."""
        try:
            done = await self._back(
                together[0], lambda way, tell: back.go_back_apart(way, together, tell=tell)
            )
        except (Refused, CheckpointError, asyncpg.PostgresError):
            return False
        self._count(done)
        return True

    async def _vessels(self, change: Change) -> list[Change]:
        """The checkpoints of the vessel and of those that changed with it: restored, or none of them."""
        try:
            done = await self._back(
                change,
                lambda way, tell: back.go_back(way, change, force=self.force, chosen=self.chosen, tell=tell),
            )
        except Taken as error:
            self.held_up.append((change, self.report.done, error))
            return await self._group(change)
        except (Refused, CheckpointError, asyncpg.PostgresError) as error:
            return await self._refuse(change, error)
        self._count(done)
        if len(done.targets) > 1:
            self.report.notes.setdefault("together", []).append([one.vessel_id for one in done.targets])
        return done.targets

    async def _refuse(self, change: Change, error: Exception) -> list[Change]:
        group = await self._group(change)
        for one in group:
            await self._fail(one, error)
        return group

    async def _group(self, change: Change) -> list[Change]:
        return await self._step("rollback", lambda way: changes.joined(way.connection, change, self.chosen))

    def _count(self, done: Back) -> None:
        report, rows = self.report, done.restored
        _add(report, rows)
        total = (rows.inserted + rows.updated + rows.deleted).total()
        for place, one in enumerate(done.targets):
            report.done += 1
            vessel = one.vessel_id or ""
            # Of the rows of several vessels each has its share: they were exchanged as one set.
            share = (total + place) // len(done.targets)
            self.listen(VesselDone(vessel, self.names.get(vessel, ""), "rolled back", share, 0.0))
        report.notes.setdefault("checkpoints", []).extend(done.checkpoints)
        report.notes.setdefault("undone", []).extend(
            {"checkpoint": one.id, "run_id": one.run_id, "vessel_id": one.vessel_id, "command": one.command}
            for one in done.undone
        )
        report.notes.setdefault("discarded", []).extend(asdict(row) for row in done.discarded)

    async def _companies(self, change: Change) -> None:
        try:
            done = await self._back(
                change, lambda way, tell: companies.go_back(way, change, force=self.force, tell=tell)
            )
        except (Refused, CheckpointError, asyncpg.PostgresError) as error:
            await self._fail(change, error)
            return
        _add(self.report, done.restored)
        self.report.notes.setdefault("checkpoints", []).append(done.checkpoint)
        self.report.notes.setdefault("stayed", []).extend(asdict(row) for row in done.stayed)
        self.report.notes.setdefault("discarded", []).extend(asdict(row) for row in done.discarded)

    async def _fail(self, change: Change, error: Exception) -> None:
        report = self.report
        if isinstance(error, Refused):
            message = (
                f"{len(error.drift)} rows were changed by others since: see `drift`; --force gives them up"
            )
            report.refused += [row for row in error.drift if row not in report.refused]
        else:
            said = describe(error) if isinstance(error, asyncpg.PostgresError) else str(error)
            message = await self._step("rollback", lambda way: shown.in_text(way.connection, said))
        await self._stays(change, message)

    async def _stays(self, change: Change, message: str) -> None:
        report = self.report
        vessel = change.vessel_id or ""
        name = self.names.get(vessel, "")
        report.failures.append(Failure(vessel, name, None, "rollback", message))
        report.failed += change.vessel_id is not None
        report.was_refused = True

        async def record(way: Way) -> None:
            async with transaction(way.connection):
                await audit.entry(
                    way.connection,
                    way.who,
                    "refused",
                    f"rollback to checkpoint {change.id}",
                    run_id=report.run_id,
                    vessel_id=change.vessel_id,
                )

        await self._step("rollback", record)
        self.listen(VesselFailed(vessel, name, "rollback", message))


def _add(report: Report, done: Restored) -> None:
    report.inserted.update(done.inserted)
    report.updated.update(done.updated)
    report.deleted.update(done.deleted)
