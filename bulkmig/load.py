"""The loader: a pipeline's sink that writes vessels, each whole or not at all.

A vessel that comes alone streams: its rows are copied as they arrive. Vessels that come together are kept
until all their tables are there, and then loaded in one transaction; where that fails, one after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import asyncpg
import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Unit
from bulkmig.encode import encode
from bulkmig.errors import BulkmigError, ServerLost, VesselError
from bulkmig.events import VesselReached
from bulkmig.ledger.locks import lock_key
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown, transaction
from bulkmig.postgres.transient import transient
from bulkmig.selection import Vessel
from bulkmig.sqlite.address import FileAddress
from bulkmig.transform import Outcome
from bulkmig.vessel_load import (
    AlreadyMigrated,
    Loaded,
    LoadOptions,
    Rejected,
    VesselLoad,
    count_findings,
    record_failure,
)
from bulkmig.workers import Lane

# What a target refuses of several vessels, it may take of one of them.
_REFUSED = (Rejected, AlreadyMigrated, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, BulkmigError)
_MARK = "SELECT state FROM bulkmig.vessels WHERE vessel_id = $1::text::uuid AND run_id = $2::text::uuid"


class Loader:
    """A pipeline's sink that writes. When `finish` is done, `results` has an entry for each of its vessels,
    up to the first of which `go_on`, asked with what became of the ones before, said no. `unknown`: what
    became of vessels, by id, if their commit, of which the answer was lost, has happened."""

    def __init__(
        self,
        lane: Lane,
        unit: Unit,
        vessels: Sequence[Vessel],
        options: LoadOptions,
        unknown: dict[str, Loaded],
        go_on: Callable[[Sequence[Vessel], Sequence[Loaded]], bool],
    ) -> None:
        self.lane, self.unit, self.options, self.unknown = lane, unit, options, unknown
        self.go_on = go_on
        self.vessels = {vessel.id: vessel for vessel in vessels}
        self.results: list[Loaded] = []
        self.broke = False  # it was here, and not while reading, that an error came up
        self._kept: defaultdict[str, list[Parcel]] = defaultdict(list)
        self._open: VesselLoad | None = None
        self._stack = AsyncExitStack()
        self._streaming = len(vessels) == 1

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None:
        """Nothing: rows that need other vessels wait until all are loaded."""

    def pack(self, outcome: Outcome) -> list[Parcel]:
        return encode(outcome, self.unit.vessels, frames=isinstance(self.lane.site.target, FileAddress))

    async def accept(self, parcel: Parcel) -> None:
        if not self._streaming:
            if parcel.vessel_id is not None:
                self._kept[parcel.vessel_id].append(parcel)
            return
        try:
            if self._open is None:
                vessel = next(iter(self.vessels.values()))
                self._reached(vessel, "load")
                self._open = VesselLoad(await self.lane.target(), [vessel], self.unit, self.options)
                await self._stack.enter_async_context(self._open.transaction())
            await self._open.put([parcel])
        except Exception:
            self.broke = True
            raise

    async def finish(self) -> None:
        try:
            if self._streaming and self._open is not None:
                self.results += await self._close(self._open)
            elif not self._streaming:
                await self._load_all()
        except Exception:
            self.broke = True
            raise
        finally:
            self._kept.clear()  # the loader may be garbage for long before it is collected

    async def abort(self, error: BaseException) -> None:
        """Rolls back what a failed pipeline left open."""
        await self._stack.__aexit__(type(error), error, error.__traceback__)

    async def _close(self, load: VesselLoad) -> list[Loaded]:
        results = await load.close()
        for result in results:
            self._reached(result.vessel, "commit")
        try:
            await self._stack.aclose()  # the commit: only now is the vessel done
        except CommitUnknown:
            if not await self._committed(results):
                raise
        return results

    async def _load_all(self) -> None:
        """Loads what was kept, as many vessels at once as may be; one by one where that is refused."""
        await self.lane.turn.write()
        left = self._groups()
        while left and self.go_on(left[0], self.results):
            vessels = left.pop(0)
            if len(vessels) == 1:
                self.results.append(await self._load_alone(vessels[0]))
            elif (together := await self._load_together(vessels)) is not None:
                self.results += together
            else:
                left = [[vessel] for vessel in vessels] + left

    def _groups(self) -> list[list[Vessel]]:
        """The vessels in order, together where they follow each other; alone those known to fail, and
        adopted ones."""
        groups: list[list[Vessel]] = []
        apart, joins = self.options.dry_run or self.options.limiter is not None, False
        for vessel in self.vessels.values():
            adopted = ("vessel", vessel.id) in self.options.decisions.adopted
            alone = apart or adopted or vessel.id in self.unit.failing
            if joins and not alone:
                groups[-1].append(vessel)
            else:
                groups.append([vessel])
            joins = not alone
        return groups

    async def _load_together(self, vessels: list[Vessel]) -> list[Loaded] | None:
        """These vessels in one transaction, which is tried once; None where nothing of them was written."""
        target = await self.lane.target()
        load = VesselLoad(target, vessels, self.unit, self.options)
        for vessel in vessels:
            self._reached(vessel, "load")
        try:
            async with load.transaction():
                for parcels in zip(*(self._kept[vessel.id] for vessel in vessels), strict=True):
                    await load.put(parcels)
                results = await load.close()
        except CommitUnknown:
            return results if await self._committed(results) else None
        except _REFUSED as error:
            if transient(error):
                await self.lane.close_target()
            return None
        return results

    async def _load_alone(self, vessel: Vessel) -> Loaded:
        parcels = self._kept[vessel.id]

        async def attempt(number: int) -> Loaded:
            load = VesselLoad(await self.lane.target(), [vessel], self.unit, self.options)
            self._reached(vessel, "load")
            try:
                async with load.transaction():
                    for parcel in parcels:
                        await load.put([parcel])
                    (result,) = await load.close()
                return result
            except CommitUnknown:
                if await self._committed([result]):
                    return result
                raise
            except Exception as error:
                if transient(error):
                    await self.lane.close_target()
                raise

        try:
            return await self.lane.site.patience.work(f"vessel {vessel.id}", attempt)
        except Rejected:
            phase, why = "validate", self.unit.failing[vessel.id]
        except AlreadyMigrated:
            return await self.already(vessel)
        except VesselError as error:
            phase, why = error.phase, str(error)
        except ServerLost:
            raise
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, BulkmigError) as error:
            phase, why = "load", describe(error)
        return await record(self.lane, vessel, self.options, phase=phase, error=why, parcels=parcels)

    def _reached(self, vessel: Vessel, phase: str) -> None:
        self.lane.site.listen(VesselReached(vessel.id, vessel.name, phase))

    async def _committed(self, results: Sequence[Loaded]) -> bool:
        """Settles a commit of which the answer was lost."""
        self.unknown |= {result.vessel.id: result for result in results}
        await self.lane.close_target()
        # All of them have their marks, or none has.
        return await marked(self.lane, results[0].vessel, self.options) == results[0].state

    async def already(self, vessel: Vessel) -> Loaded:
        """What to say of a vessel that has its mark already: skipped, unless it is this run that set it."""
        result = self.unknown.get(vessel.id)
        if result is not None and await marked(self.lane, vessel, self.options) == result.state:
            return result
        return Loaded(vessel, "skipped")


async def marked(lane: Lane, vessel: Vessel, options: LoadOptions) -> str | None:
    """The state in which this very run has marked the vessel, if it has. Waits for whoever is at it."""

    async def look(number: int) -> str | None:
        target = await lane.target()
        try:
            async with transaction(target, commit=False):
                await target.execute(f"SELECT pg_advisory_xact_lock({lock_key(vessel.id)})")
                state: str | None = await target.fetchval(_MARK, vessel.id, options.run_id)
                return state
        except Exception:
            await lane.close_target()
            raise

    return await lane.site.patience.work(f"the mark of vessel {vessel.id}", look)


async def record(
    lane: Lane,
    vessel: Vessel,
    options: LoadOptions,
    *,
    phase: str,
    error: str,
    parcels: Sequence[Parcel] = (),
) -> Loaded:
    """A failed vessel's findings and mark. Where even these can't be written, it has failed all the same."""
    result = Loaded(vessel, "failed", phase=phase, error=error)

    async def attempt(number: int) -> None:
        if number > 1 and await marked(lane, vessel, options) == "failed":
            return
        target = await lane.target()
        try:
            await record_failure(target, vessel, options, phase=phase, error=error, parcels=parcels)
        except Exception:
            await lane.close_target()
            raise

    for parcel in parcels:
        count_findings(result, parcel)
    try:
        await lane.site.patience.work(f"the failure of vessel {vessel.id}", attempt)
    except ServerLost:
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, BulkmigError) as unrecorded:
        result.error += f" (and this could not be recorded: {describe(unrecorded)})"
    return result
