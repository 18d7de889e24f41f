"""The work of a sync's workers, and what becomes of vessels that can't be synchronised, or not together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import asyncpg
from msgspec import Struct

from bulkmig.errors import BulkmigError, ServerLost
from bulkmig.events import VesselStarted
from bulkmig.load import record
from bulkmig.migrate_units import add, name_of
from bulkmig.pipeline import Tally, UnitTooLarge
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.sync.abroad import Foretold
from bulkmig.sync.moves import Moves
from bulkmig.sync.rules import Rules
from bulkmig.sync.vessel import Failing, RolledBack, sync_unit
from bulkmig.vessel_load import Loaded, LoadOptions
from bulkmig.workers import Lane, Queue, Work

_MEANWHILE = (
    "it, or a vessel that changes in one commit with it, was rolled back meanwhile: run the command again"
)

Finished = Callable[[list[Loaded], Queue], None]


def work(
    options: LoadOptions, rules: Rules, moves: Moves, queue: Queue, report: Report, finished: Finished
) -> Work:
    """The work of a sync's workers: units of vessels. Those between which rows move change in one commit; of
    a unit of others each could change alone, and does where they can't together."""
    foretold = Foretold(options.decisions, options.shared.failures, moves.apart)
    return _Work(options, rules, moves, foretold, queue, report, finished).unit


class _Work(Struct, frozen=True):
    options: LoadOptions
    rules: Rules
    moves: Moves
    foretold: Foretold
    queue: Queue
    report: Report
    finished: Finished

    async def unit(self, lane: Lane, vessels: list[Vessel]) -> None:
        """These vessels, and what is to be done where they, or some of them, can't be synchronised."""
        tallies: list[Tally] = []

        async def attempt(number: int) -> list[Loaded]:
            tallies.clear()
            for vessel in vessels:
                if vessel.id not in self.moves.giving:
                    lane.site.listen(VesselStarted(vessel.id, vessel.name))
            try:
                return await sync_unit(
                    lane, vessels, self.options, self.rules, self.moves, self.foretold, tallies
                )
            except Exception:
                await lane.close()
                raise

        try:
            results = await lane.site.patience.work(name_of(vessels), attempt)
        except (SnapshotGone, ServerLost, UnitTooLarge):
            raise
        except RolledBack as error:
            return await self._without_rolled_back(lane, vessels, error.vessels)
        except Failing as error:
            return await self._without_failing(lane, vessels, error.vessels)
        except (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, CommitUnknown) as error:
            apart, why = self.moves.groups(vessels), describe(error)
            if len(apart) > 1:
                return self.queue.put_back(apart)
            results = []
            await self._failed(lane, vessels, "load", lambda vessel: why)
        for tally in tallies:
            add(self.report, tally)
        self._finish(results)

    async def _without_rolled_back(self, lane: Lane, vessels: list[Vessel], gone: Collection[str]) -> None:
        """Those that don't change in one commit with any of them: it was decided with rows that they have no
        more."""
        apart = self.moves.groups(vessels)
        along = [group for group in apart if any(vessel.id in gone for vessel in group)]
        for vessel in (vessel for group in along for vessel in group):
            if self.rules.spares and vessel.id in gone:
                self._finish([Loaded(vessel, "skipped")])
            else:
                await self._failed(lane, [vessel], "load", lambda vessel: _MEANWHILE)
        left = [group for group in apart if group not in along]
        if left and not self.queue.stopped:
            await self.unit(lane, [vessel for group in left for vessel in group])

    async def _without_failing(self, lane: Lane, vessels: list[Vessel], errors: Mapping[str, str]) -> None:
        """Those that only exchange numbers with failing ones do what they can without them."""
        moves, apart = self.moves, self.moves.groups(vessels)
        why = {other: error for failing, error in errors.items() for other in moves.partners(failing)}
        why |= errors
        failed = [vessel for vessel in vessels if vessel.id in why]
        await self._failed(lane, failed, "validate", lambda vessel: why[vessel.id])
        others = [vessel for vessel in vessels if vessel not in failed]
        if others and (len(apart) == 1 or not self.queue.stopped):
            await self.unit(lane, others)

    async def _failed(
        self, lane: Lane, vessels: Sequence[Vessel], phase: str, why: Callable[[Vessel], str]
    ) -> None:
        for vessel in vessels:
            if vessel.id not in self.moves.apart:
                self._finish([await record(lane, vessel, self.options, phase=phase, error=why(vessel))])

    def _finish(self, results: Sequence[Loaded]) -> None:
        # What becomes of vessels that are gone from the source is decided afterwards.
        there = [result for result in results if result.vessel.id not in self.moves.giving]
        self.finished(there, self.queue)
