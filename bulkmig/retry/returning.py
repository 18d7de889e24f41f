"""What has left quarantine comes to a vessel that is in the target: new rows, and what goes back to them."""

from __future__ import annotations

from collections import defaultdict

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Unit
from bulkmig.encode import base, parcels, table_loads
from bulkmig.ledger import base as ledger_base
from bulkmig.ledger import seen, write
from bulkmig.ledger.locks import lock_key
from bulkmig.postgres.session import Connection
from bulkmig.retry.reattach import reattach
from bulkmig.selection import Vessel
from bulkmig.sync.row import end_cells
from bulkmig.target.postgres import copy_in
from bulkmig.transform import Outcome
from bulkmig.vessel_load import Loaded, LoadOptions, count_findings


class Returning:
    """A sink that adds what has left quarantine to a vessel that is in the target."""

    def __init__(self, connection: Connection, unit: Unit, vessel: Vessel, options: LoadOptions) -> None:
        self.connection, self.unit, self.vessel, self.options = connection, unit, vessel, options
        self.result = Loaded(vessel, "migrated")
        self._quarantined: defaultdict[str, set[str]] = defaultdict(set)
        self._checkpoint = ""
        self._returned = set[str]()  # target ids
        self._left: list[str] = []  # entries of rows that are in order, and wait for a sync

    async def begin(self) -> None:
        """Locks the vessel, takes its checkpoint and reads which of its rows are quarantined."""
        await self.connection.execute(f"SELECT pg_advisory_xact_lock({lock_key(self.vessel.id)})")
        target_ids = dict(self.options.decisions.identity("vessel").iter_rows())
        self._checkpoint = await self.options.checkpoints.of_vessel(
            self.connection, self.vessel.id, target_ids[self.vessel.id]
        )
        rows = await self.connection.fetch(
            "SELECT entity, source_id::text FROM bulkmig.quarantine"
            " WHERE vessel_id = $1::text::uuid OR vessel_id IS NULL",
            self.vessel.id,
        )
        for row in rows:
            self._quarantined[row["entity"]].add(row["source_id"])

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None:
        """Nothing: rows between vessels are finished at the end of the run."""

    def pack(self, outcome: Outcome) -> list[Parcel]:
        return parcels(outcome, self.unit.vessels)

    async def accept(self, parcel: Parcel) -> None:
        entity, image = parcel.entity, parcel.image
        known = list(self._quarantined[entity.name])
        still = parcel.quarantined.filter(pl.col("source_id").is_in(known))
        await write.quarantine(self.connection, self.options.run_id, [still])
        self.result.quarantined[entity.source] += still.height
        parcel.findings = parcel.findings.filter(pl.col("source_id").is_in(known))
        await write.findings(self.connection, self.options.run_id, [parcel.findings])
        count_findings(self.result, parcel)
        parcel.waiting = await self._without_kept(entity, parcel.waiting.filter(pl.col("id").is_in(known)))
        await write.pending(self.connection, self.options.run_id, [parcel])
        await write.release(self.connection, entity.name, parcel.waiting["id"].to_list())
        returned = await self._without_loaded(entity, image.filter(pl.col("source_id").is_in(known)))
        await self._insert(entity, await self._with_ends(entity, returned))
        moved = await reattach(
            self.connection,
            self.vessel.id,
            entity,
            image.filter(~pl.col("source_id").is_in(known)),
            self._returned,
        )
        if moved.height:
            self.result.updated[entity.tables[0].name] += moved.height
            await self._write_base(entity, moved)

    async def _without_loaded(self, entity: Entity, image: pl.DataFrame) -> pl.DataFrame:
        """Without rows that were loaded before they were listed: they are there as they were last written, or
        the portal has deleted them, and what has become of them in the source since is for a sync."""
        if not image.height:
            return image
        main = entity.tables[0]
        there = await self._there(main.name, main.own_key, image["@id"])
        written = await ledger_base.among(self.connection, [self.vessel.id], entity.name, image["source_id"])
        loaded = pl.col("@id").is_in(there)
        if written is not None:
            loaded |= pl.col("source_id").is_in(written["source_id"].to_list())
        return image.filter(~loaded)

    async def _without_kept(self, entity: Entity, waiting: pl.DataFrame) -> pl.DataFrame:
        """Without rows that were loaded before they were listed for an end on another vessel: they stay as
        they were last written, and listed until a sync finds that end in order."""
        if not waiting.height:
            return waiting
        written = await ledger_base.among(self.connection, [self.vessel.id], entity.name, waiting["id"])
        if written is None:
            return waiting
        kept = pl.col("id").is_in(written["source_id"].to_list())
        self._left += [f"{entity.name}:{source_id}" for source_id in waiting.filter(kept)["id"]]
        return waiting.filter(~kept)

    async def _with_ends(self, entity: Entity, image: pl.DataFrame) -> pl.DataFrame:
        """Without rows that name equipment which the portal has deleted: they stay listed, and a sync decides
        about both."""
        for cell in end_cells(entity) if image.height else ():
            there = await self._there("equipment", "id", image[cell].drop_nulls())
            self._left += [
                f"{entity.name}:{source_id}"
                for source_id in image.filter(~pl.col(cell).is_in(there))["source_id"]
            ]
            image = image.filter(pl.col(cell).is_null() | pl.col(cell).is_in(there))
        return image

    async def _there(self, table: str, key: str, ids: pl.Series) -> list[str]:
        """Those of these rows (target ids) that are in the target."""
        rows = await self.connection.fetch(
            f"SELECT {key}::text FROM {table} WHERE {key} = ANY ($1::text[]::uuid[])", ids.to_list()
        )
        return [row[0] for row in rows]

    async def _insert(self, entity: Entity, image: pl.DataFrame) -> None:
        if not image.height:
            return
        for load in table_loads(entity, image):
            if load.rows:
                self.result.inserted[load.table] += await copy_in(
                    self.connection, load.table, load.columns, load.data
                )
        self._returned.update(image["@id"])
        await write.release(self.connection, entity.name, image["source_id"].to_list())
        await self._write_base(entity, image)

    async def _write_base(self, entity: Entity, image: pl.DataFrame) -> None:
        await write.base(
            self.connection,
            self.options.run_id,
            self.vessel.id,
            [(entity.name, image.height, base(entity, image))],
            checkpoint=self._checkpoint,
        )

    async def finish(self) -> None:
        """Entries of rows that the source no longer has are forgotten; and what was seen of the vessel, since
        what is left to a sync may be older than that."""
        vessel = [self.vessel.id]
        await seen.forget(self.connection, vessel)
        await write.left_quarantine(self.connection, self.options.run_id, vessel, but=self._left)
