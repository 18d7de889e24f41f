"""References to equipment of other vessels that the same run keeps out: they stay as they were last written,
whichever vessel is synchronised first (mapping.md, "A loaded row that would now be quarantined")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import polars as pl
from msgspec import Struct, field
from msgspec.structs import replace

from bulkmig._core.declare import Entity
from bulkmig._core.parcel import Parcel
from bulkmig._core.unit import Decisions
from bulkmig.entities import PER_VESSEL
from bulkmig.migrate_units import new_unit
from bulkmig.pipeline import Line, run
from bulkmig.selection import Selection, resolve
from bulkmig.settle import of_ends
from bulkmig.sync.gather import Gather, abroad
from bulkmig.target.postgres import ends
from bulkmig.transform import Outcome, transform

_EQUIPMENT_AND_BEFORE = ("vessel", "location", "equipment")


class _Out:
    """A pipeline's sink that keeps nothing but which equipment is quarantined."""

    def __init__(self) -> None:
        self.ids: set[str] = set()

    async def look_up(self, entity: Entity, frame: pl.DataFrame) -> None: ...

    def pack(self, outcome: Outcome) -> list[Parcel]:
        if outcome.entity.name == "equipment":
            self.ids.update(outcome.quarantined["source_id"])
        return []

    async def accept(self, parcel: Parcel) -> None: ...

    async def finish(self) -> None: ...


class Foretold(Struct):
    """What becomes of other vessels' equipment in this run, found out once a vessel. `refused`: as
    `migrate_units.new_unit` has it; `apart`: vessels that were rolled back and stay as they are."""

    decisions: Decisions
    refused: dict[str, str]
    apart: Collection[str]
    _known: dict[tuple[str, bool], set[str] | None] = field(default_factory=dict)

    async def out(self, line: Line, vessel: str, ids: set[str]) -> set[str]:
        """Those of this equipment that will be in quarantine: of a vessel that the run isn't about, none."""
        if vessel in self.apart or vessel not in self.decisions.vessels_due:
            return set()
        key = vessel, vessel in self.decisions.imo_taken
        if key not in self._known:
            self._known[key] = await self._look(line, vessel)
        known = self._known[key]
        return ids if known is None else ids & known

    async def _look(self, line: Line, vessel: str) -> set[str] | None:
        """None: all of it."""
        chosen = await resolve(line.source, Selection(vessels=(vessel,), allow_unapproved=True))
        unit, sink = new_unit(self.decisions, chosen, self.refused), _Out()
        entities = [entity for entity in line.entities if entity.name in _EQUIPMENT_AND_BEFORE]
        await run(replace(line, entities=entities), unit, sink)
        return None if vessel in unit.whole else sink.ids


async def keep(line: Line, gathered: Sequence[Gather], foretold: Foretold) -> None:
    """Moves such references from what would be written to what is kept, quarantined and told."""
    together = {vessel: gather for gather in gathered for vessel in gather.vessels}
    for gather in gathered:
        for entity in PER_VESSEL:
            if entity.waits is None:
                continue
            raw = gather.abroad(entity)
            if raw is None:
                continue
            lost: set[str] = set()
            for vessel, ids in _ends(raw).items():
                other = together.get(vessel)
                if other is None:
                    lost |= await foretold.out(line, vessel, ids)
                else:
                    lost |= ids & other.out
            if lost:
                await _keep(gather, entity, raw, lost)


def _ends(raw: pl.DataFrame) -> Mapping[str, set[str]]:
    """By vessel, the equipment of other vessels that is named."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for column, vessel in abroad(raw.columns):
        pairs = raw.filter(pl.col(vessel) != pl.col("vessel_id")).select(vessel, column)
        for of, id_ in pairs.iter_rows():
            found[of].add(id_)
    return found


async def _keep(gather: Gather, entity: Entity, raw: pl.DataFrame, lost: set[str]) -> None:
    columns = [column for column, _ in abroad(raw.columns)]
    bad = raw.filter(pl.any_horizontal(pl.col(columns).is_in(list(lost))))
    known = await ends(gather.target, sorted({id_ for c in columns for id_ in bad[c].drop_nulls()}))
    gather.unit.ends = known.with_columns(pl.col("out") | pl.col("source_id").is_in(list(lost)))
    outcome = transform(entity, bad, gather.unit)
    gather.keep_out(entity, outcome.quarantined, of_ends(outcome))
