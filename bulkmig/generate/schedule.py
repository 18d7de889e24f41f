"""Which vessels a fleet has, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from random import Random

from bulkmig.generate import ids
from bulkmig.generate.offices import Offices
from bulkmig.generate.ships import Kind, Vessel
from bulkmig.generate.spec import FleetSpec, spread
from bulkmig.generate.traps import vessels
from bulkmig.generate.traps.plant import Planter
from bulkmig.generate.traps.registry import ON_VESSELS
from bulkmig.generate.world import World

_CARRIER_EQUIPMENT, _HIDDEN_EQUIPMENT = 9, 2
_MOST_CARRIERS = 1000
_UNAPPROVED = ("IN_PROGRESS", "SUBMITTED", "NOT_STARTED", "REJECTED")


def schedule(spec: FleetSpec, planter: Planter | None, offices: Offices, world: World) -> Iterator[Vessel]:
    """The vessels, each to be generated before the next is asked for: what it carries decides what comes."""
    rng = Random(f"{spec.seed}/vessels")
    if planter:
        yield from _hidden(rng, planter, offices)
    states = cycle(_UNAPPROVED)
    for number in range(spec.vessels):
        company = offices.fleet[number % len(offices.fleet)]
        status = "APPROVED" if spec.is_approved(number) else next(states)
        size, errors = spec.equipment_count(number, rng), spec.may_hold_errors(number)
        yield Vessel(ids.uuid(rng), company.id, status, size, errors, Kind.FLEET, company.users)
    if planter and planter.least:
        yield from _for_traps(rng, spec, planter, offices, world)


def _hidden(rng: Random, planter: Planter, offices: Offices) -> Iterator[Vessel]:
    for number, trap in enumerate(vessels.statuses(planter) * planter.least):
        company, status = offices.fleet[number % len(offices.fleet)], planter.make(trap) or ""
        yield Vessel(ids.uuid(rng), company.id, status, _HIDDEN_EQUIPMENT, errors=False, kind=Kind.HIDDEN)


def _for_traps(
    rng: Random, spec: FleetSpec, planter: Planter, offices: Offices, world: World
) -> Iterator[Vessel]:
    """Vessels for the companies that need one, and then as many as it takes to plant every trap."""
    for company in offices.failing:
        size = _HIDDEN_EQUIPMENT
        yield Vessel(ids.uuid(rng), company.id, "APPROVED", size, errors=True, kind=Kind.FAILING)
    homes = cycle(offices.carriers)
    for company in islice(homes, planter.least):
        yield Vessel(ids.uuid(rng), company.id, "APPROVED", 0, errors=False, kind=Kind.EMPTY)
    if spec.errors:
        for company in islice(homes, planter.least):
            size = _CARRIER_EQUIPMENT
            yield Vessel(ids.uuid(rng), company.id, "APPROVED", size, errors=True, kind=Kind.BROKEN)
    needed = len(offices.carriers) - planter.least * (2 if spec.errors else 1)
    for number, company in enumerate(homes):
        if number >= needed and not planter.lacking(ON_VESSELS):
            return
        if number >= _MOST_CARRIERS:
            raise RuntimeError(f"traps that can't be planted: {', '.join(planter.lacking(ON_VESSELS))}")
        errors, users = spread(number, spec.errors), company.users or world.users[:20]
        size = _CARRIER_EQUIPMENT
        yield Vessel(ids.uuid(rng), company.id, "APPROVED", size, errors, Kind.CARRIER, users)
