"""A fleet as a stream of frames, in an order in which everything that a key refers to comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

from bulkmig.generate import clock, ids, machinery, offices, ships
from bulkmig.generate.frame import NULL, Frame
from bulkmig.generate.schedule import schedule
from bulkmig.generate.ships import Kind, Vessel
from bulkmig.generate.spec import FleetSpec, FleetSummary
from bulkmig.generate.traps import (
    documents,
    equipment,
    history,
    locations,
    parts,
    qr,
    references,
    scores,
    vessels,
)
from bulkmig.generate.traps.plant import Planter
from bulkmig.generate.world import World

_BATCH = 4096  # equipment in one frame: what bounds the memory of a vessel of any size
_SHOWN = 40  # of a batch, to the samples that other vessels may point at
_OWN_DOCUMENTS, _OWN_SCORES = 3, 2  # of the vessel itself
_OVER_VESSELS = 0.15  # share of the cross references that lead to another vessel


class Fleet:
    """One fleet, to be generated once."""

    def __init__(self, spec: FleetSpec, *, jsonb: bool = False) -> None:
        """`jsonb`: the source's columns are `jsonb`, so what that refuses is left out."""
        self._spec = spec
        self._planter = Planter(spec, jsonb=jsonb) if spec.nasty else None
        self._qr = qr.QrGroups(spec.seed) if spec.nasty else None
        self._world = World(Random(f"{spec.seed}/world"))
        self._imo_numbers = ids.ImoNumbers(spec.seed)
        self._rows: Counter[str] = Counter()

    def summary(self) -> FleetSummary:
        """What the frames held that were taken so far."""
        traps = self._planter.counts if self._planter else {}
        return FleetSummary(dict(sorted(self._rows.items())), dict(sorted(traps.items())))

    def frames(self) -> Iterator[Frame]:
        """All rows of all tables."""
        for frame in self._frames():
            self._rows[frame.table] += len(frame)
            yield frame

    def _frames(self) -> Iterator[Frame]:
        made = offices.build(self._spec, self._planter, self._world)
        yield made.companies
        yield made.users
        for number, vessel in enumerate(schedule(self._spec, self._planter, made, self._world)):
            yield from self._vessel(Random(f"{self._spec.seed}/vessel/{number}"), vessel)

    def _vessel(self, rng: Random, vessel: Vessel) -> Iterator[Frame]:
        planter = self._planter if vessel.approved or vessel.kind is Kind.HIDDEN else None
        row = Frame.of("vessels", [ships.vessel_row(rng, vessel, self._imo_numbers.take())])
        if planter and not vessels.plant(planter, row, vessel, self._imo_numbers):
            planter = None
        yield row
        if vessel.kind is Kind.EMPTY:
            return
        places = ships.locations(rng, vessel.id, self._location_count(vessel))
        clean = list(places.columns.get("id", ()))
        leaves = locations.plant(planter, self._world, vessel, places) if planter else []
        for place in clean[:_SHOWN]:
            self._world.locations.add(vessel.id, place)
        yield places
        for first in range(0, vessel.equipment, _BATCH):
            count = min(_BATCH, vessel.equipment - first)
            batch = machinery.equipment(
                rng, vessel.id, count, first=first, locations=clean, verifiers=vessel.users
            )
            yield from self._batch(rng, vessel, first, batch, leaves, planter)

    def _batch(
        self,
        rng: Random,
        vessel: Vessel,
        first: int,
        machines: Frame,
        leaves: locations.Leaves,
        planter: Planter | None,
    ) -> Iterator[Frame]:
        spec, world = self._spec, self._world
        broken: list[str] = []
        if planter and self._qr:
            broken = equipment.plant(planter, world, self._qr, vessel, machines, leaves)
        elif self._planter and self._qr and vessel.kind is Kind.HIDDEN:
            qr.plant_hidden(self._planter, world, self._qr, vessel, machines)
        own, bad = machines.columns["id"], set(broken)
        good = [id_ for id_ in own if id_ not in bad] if bad else own
        whole = [] if spec.exact or first else [NULL]

        def part(of_vessel: int) -> int:
            """The batch's part of what the vessel has, such that the parts add up."""
            last = first + len(own)
            return of_vessel * last // vessel.equipment - of_vessel * first // vessel.equipment

        links = machinery.cross_references(
            rng, vessel.id, self._ends(rng, vessel, good, part(self._link_count(vessel)))
        )
        of_machines = machinery.owners(rng, own, spec.parts, exact=spec.exact)
        pieces = machinery.critical_parts(rng, of_machines)
        of_machines = whole * _OWN_DOCUMENTS + machinery.owners(rng, own, spec.documents, exact=spec.exact)
        papers = machinery.documents(rng, vessel.id, of_machines)
        of_machines = whole * _OWN_SCORES + rng.choices(own, k=part(self._score_count(vessel)))
        marks = machinery.quality_scores(rng, vessel.id, of_machines, vessel.users)
        log = self._log(rng, vessel, own, first=not first)
        if planter:
            parts.plant(planter, vessel, pieces, broken)
            documents.plant(planter, world, vessel, papers, broken)
            scores.plant(planter, world, vessel, marks, broken)
            references.plant(planter, world, vessel, links, good, broken)
            history.plant(planter, log, vessel, good)
        self._show(vessel, good, broken)
        yield from (machines, pieces, papers, marks, links, log)

    def _ends(self, rng: Random, vessel: Vessel, own: Sequence[str], count: int) -> list[tuple[str, str]]:
        if not own or vessel.kind is Kind.BROKEN:
            return []
        ends = list(zip(rng.choices(own, k=count), rng.choices(own, k=count), strict=True))
        for place in range(int(count * _OVER_VESSELS)):
            other = self._world.equipment.one_elsewhere(vessel.id)
            if other is not None:
                source, target = ends[place]
                ends[place] = (source, other) if place % 2 else (other, target)
        return ends

    def _log(self, rng: Random, vessel: Vessel, own: Sequence[str], *, first: bool) -> Frame:
        """The vessel's creation, a change, and the deletion of what isn't there any more."""
        changes = [("equipment", rng.choice(own), "UPDATE"), ("equipment", ids.uuid(rng), "DELETE")]
        if first:
            changes.insert(0, ("vessels", vessel.id, "CREATE"))
        moments = sorted(rng.choices(clock.moments(), k=len(changes)))
        entries = [(*change, moment) for change, moment in zip(changes, moments, strict=True)]
        return Frame.of("audit_logs", [history.entry(vessel.id, *entry) for entry in entries])

    def _show(self, vessel: Vessel, good: Sequence[str], broken: Sequence[str]) -> None:
        """Lets later vessels point at this one's equipment."""
        world = self._world
        sample = world.equipment if vessel.approved else world.hidden_equipment
        if vessel.kind is not Kind.FAILING:
            for id_ in good[:_SHOWN]:
                sample.add(vessel.id, id_)
            for id_ in broken[:_SHOWN]:
                world.quarantined_equipment.add(vessel.id, id_)

    def _location_count(self, vessel: Vessel) -> int:
        if vessel.kind is not Kind.FLEET:
            return 3
        return (
            self._spec.locations if self._spec.locations is not None else min(400, 8 + vessel.equipment // 20)
        )

    def _link_count(self, vessel: Vessel) -> int:
        given = self._spec.cross_references
        return given if given is not None else vessel.equipment // 10

    def _score_count(self, vessel: Vessel) -> int:
        return self._spec.scores if self._spec.scores is not None else vessel.equipment // 10
