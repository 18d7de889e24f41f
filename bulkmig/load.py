"""The loader: a pipeline's sink that writes vessels, each in one transaction.

A vessel that comes alone streams: its rows are copied as they arrive. Vessels that come together are kept
until all their tables are there, and then loaded one after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack

import asyncpg
import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Unit
from bulkmig.encode import encode, parcels
from bulkmig.errors import VesselError
from bulkmig.postgres.errors import describe
from bulkmig.selection import Vessel
from bulkmig.transform import Outcome
from bulkmig.vessel_load import (
    AlreadyMigrated,
    Loaded,
    LoadOptions,
    Rejected,
    VesselLoad,
    record_failure,
)
from bulkmig.workers import Lane


class Loader:
    """A pipeline's sink that writes. `results` has one entry per vessel of the unit when `finish` is done."""

    def __init__(self, lane: Lane, unit: Unit, vessels: Sequence[Vessel], options: LoadOptions) -> None:
        self.lane, self.unit, self.options = lane, unit, options
        self.vessels = {vessel.id: vessel for vessel in vessels}
        self.results: list[Loaded] = []
        self._kept: defaultdict[str, list[Parcel]] = defaultdict(list)
        self._open: VesselLoad | None = None
        self._stack = AsyncExitStack()
        self._streaming = len(vessels) == 1

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None:
        """Nothing: rows that need other vessels wait until all are loaded."""

    def pack(self, outcome: Outcome) -> list[Parcel]:
        return [encode(parcel) for parcel in parcels(outcome, self.unit.vessels)]

    async def accept(self, parcel: Parcel) -> None:
        if self._streaming:
            if self._open is None:
                vessel = next(iter(self.vessels.values()))
                self._open = VesselLoad(await self.lane.target(), vessel, self.unit, self.options)
                await self._stack.enter_async_context(self._open.transaction())
            await self._open.put(parcel)
        elif parcel.vessel_id is not None:
            self._kept[parcel.vessel_id].append(parcel)

    async def finish(self) -> None:
        if self._streaming:
            if self._open is not None:
                result = await self._open.close()
                await self._stack.aclose()  # the commit: only now is the vessel done
                self.results.append(result)
            return
        for vessel in self.vessels.values():
            self.results.append(await self._load_kept(vessel, self._kept.pop(vessel.id, [])))

    async def abort(self, error: BaseException) -> None:
        """Rolls back what a failed pipeline left open."""
        await self._stack.__aexit__(type(error), error, error.__traceback__)

    async def _load_kept(self, vessel: Vessel, parcels: list[Parcel]) -> Loaded:
        connection = await self.lane.target()
        load = VesselLoad(connection, vessel, self.unit, self.options)
        try:
            async with load.transaction():
                for parcel in parcels:
                    await load.put(parcel)
                result = await load.close()
            return result
        except Rejected:
            return await record_failure(
                connection,
                vessel,
                self.options,
                phase="validate",
                error=self.unit.failing[vessel.id],
                parcels=parcels,
            )
        except AlreadyMigrated:
            return Loaded(vessel, "skipped")
        except VesselError as error:
            return await record_failure(
                connection, vessel, self.options, phase=error.phase, error=str(error), parcels=parcels
            )
        except asyncpg.PostgresConnectionError:
            raise
        except asyncpg.PostgresError as error:  # the commit itself: a deferred constraint
            return await record_failure(
                connection, vessel, self.options, phase="load", error=describe(error), parcels=parcels
            )
