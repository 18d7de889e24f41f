"""Rows between vessels, told without writing: what `settle.py` would make of them at the end of the run that
`plan` and `validate` foretell."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl
from msgspec import Struct, field

from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Decisions
from bulkmig.entities import PER_VESSEL
from bulkmig.postgres.session import Connection
from bulkmig.report import Report
from bulkmig.settle import CHUNK, look, of_ends
from bulkmig.target.postgres import ends

_PENDING = "SELECT source_id::text FROM bulkmig.pending WHERE entity = $1"
_NONE = pl.DataFrame(schema={"source_id": pl.String, "target_id": pl.String, "out": pl.Boolean})
_SAID = ["source_id", "code", "field"]


class Between(Struct):
    """What the assessment of vessels leaves to be told: by entity the source ids of rows that wait for other
    vessels and of rows that are kept out already, and the findings of the latter; equipment that would be
    quarantined; vessels that fail."""

    waiting: dict[str, set[str]] = field(default_factory=dict)
    kept_out: dict[str, set[str]] = field(default_factory=dict)
    said: list[pl.DataFrame] = field(default_factory=list)
    equipment_out: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)

    def add(self, parcel: Parcel) -> None:
        """Notes what a vessel that doesn't fail leaves."""
        entity = parcel.entity
        if entity.name == "equipment":
            self.equipment_out.update(parcel.quarantined["source_id"])
        elif entity.waits is not None:
            self.waiting.setdefault(entity.name, set()).update(parcel.waiting["id"])
            self.kept_out.setdefault(entity.name, set()).update(parcel.quarantined["source_id"])
            self.said.append(parcel.findings.select(_SAID))

    def merge(self, other: Between) -> None:
        """Adds what another process has noted."""
        for mine, theirs in ((self.waiting, other.waiting), (self.kept_out, other.kept_out)):
            for name, ids in theirs.items():
                mine.setdefault(name, set()).update(ids)
        self.said += other.said
        self.equipment_out |= other.equipment_out
        self.failing |= other.failing

    async def tell(
        self,
        source: Connection,
        target: Connection,
        decisions: Decisions,
        report: Report,
        *,
        ledger: bool,
        earlier: bool,
    ) -> None:
        """Adds to the report what becomes of these rows, and with `earlier` of those that wait since earlier
        runs."""

        async def know(frame: pl.DataFrame, equipment: list[str]) -> pl.DataFrame:
            there = await ends(target, equipment) if ledger else _NONE
            return pl.concat([there, self._foretold(frame, decisions.vessels_due)]).unique(
                "source_id", keep="last"
            )

        said = pl.concat([pl.DataFrame(schema=dict.fromkeys(_SAID, pl.String)), *self.said])
        for entity in PER_VESSEL:
            if entity.waits is None:
                continue
            waiting, kept_out = self.waiting.get(entity.name, set()), self.kept_out.get(entity.name, set())
            if ledger and earlier:
                waiting |= {row[0] for row in await target.fetch(_PENDING, entity.name)}
            ids = sorted(waiting | kept_out)
            for begin in range(0, len(ids), CHUNK):
                outcome, _ = await look(source, decisions, entity, ids[begin : begin + CHUNK], know)
                report.count_findings(
                    of_ends(outcome).join(said, on=_SAID, how="anti", maintain_order="left")
                )
                new = outcome.quarantined.filter(pl.col("source_id").is_in(list(waiting)))
                report.quarantined[entity.source] += new.height
                report.pending += outcome.waiting.filter(pl.col("id").is_in(list(waiting))).height
                loaded = outcome.image.filter(pl.col("source_id").is_in(list(waiting))).height
                for table in entity.tables:
                    report.inserted[table.name] += loaded

    def _foretold(self, frame: pl.DataFrame, due: Collection[str]) -> pl.DataFrame:
        """As `target.postgres.ends`, of the equipment of vessels that are due. What is there is its source
        id: any will do."""
        found = [
            pl.DataFrame({"id": frame[f"{end}_equipment_id"], "vessel": frame[f"{end}_vessel"]})
            for end in ("source", "target")
        ]
        out = pl.col("id").is_in(list(self.equipment_out))
        absent = out | pl.col("vessel").is_in(list(self.failing))
        return (
            pl.concat(found)
            .unique()
            .filter(pl.col("vessel").is_in(list(due)))
            .select(
                pl.col("id").alias("source_id"),
                pl.when(~absent).then("id").alias("target_id"),
                out.alias("out"),
            )
        )
