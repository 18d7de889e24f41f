"""Cross references that end elsewhere, nowhere, where they began, or on what is quarantined."""

from __future__ import annotations

from math import ceil

from bulkmig.generate import ids, machinery
from bulkmig.generate.frame import Frame
from bulkmig.generate.ships import Kind, Vessel
from bulkmig.generate.traps import texts, times
from bulkmig.generate.traps.plant import Family, Planter, Trap
from bulkmig.generate.world import World

_PER_CARRIER = 4
_TWO_ROWS = ("reference_twice", "reference_both_ways")
_BOTH_UNKNOWN = Trap("reference_both_unknown")
_KINDS: Family = (
    Trap("reference_to_itself"),
    Trap("reference_twice"),
    Trap("reference_both_ways"),
    Trap("reference_to_other_vessel"),
    Trap("reference_from_other_vessel"),
    Trap("reference_row_of_other_vessel"),
    Trap("reference_between_other_vessels"),
    Trap("reference_not_approved"),
    Trap("reference_target_unknown"),
    Trap("reference_source_unknown"),
    _BOTH_UNKNOWN,
    Trap("reference_quarantined", error=True),
    Trap("reference_quarantined_other_vessel", error=True),
    Trap("reference_not_approved_and_unknown"),
)
_SLOTS = {
    "reference_type": (texts.GIVEN,),
    "notes": (texts.ANY, texts.LONG),
    "created_at": (times.TIMESTAMPS,),
    "updated_at": (times.TIMESTAMPS,),
}
TRAPS: Family = (*_KINDS, *(trap for families in _SLOTS.values() for family in families for trap in family))


Ends = tuple[str | None, str | None, str]


def plant(
    planter: Planter, world: World, vessel: Vessel, frame: Frame, own: list[str], quarantined: list[str]
) -> None:
    """Adds cross references around `own` equipment of a vessel and those that are errors."""
    rng = planter.rng
    for _ in range(ceil(len(frame) * planter.nasty) if vessel.kind is Kind.FLEET else _PER_CARRIER):
        trap = planter.draw(_KINDS) if vessel.kind is not Kind.BROKEN else _BOTH_UNKNOWN
        if trap is None:
            return
        source, target, of = _ends(trap.name, planter, world, vessel.id, own, quarantined)
        if source is None or target is None:
            continue
        pairs = [(source, target)]
        if trap.name in _TWO_ROWS:
            pairs.append((source, target) if trap.name == "reference_twice" else (target, source))
        added = machinery.cross_references(rng, of, pairs)
        for row in range(len(added)):
            if rng.random() < 0.5:
                planter.plant_slots(added, row, _SLOTS)
        frame.extend(added)
        planter.count(trap.name)


def _ends(
    name: str, planter: Planter, world: World, vessel: str, own: list[str], quarantined: list[str]
) -> Ends:
    """Source, target and the row's vessel; an end is None where the fleet doesn't have what it takes yet."""
    rng = planter.rng
    here, also_here = (rng.choice(own), rng.choice(own)) if own else (None, None)
    owner, other = world.equipment.elsewhere(vessel) or (vessel, None)
    hidden = world.hidden_equipment.one_elsewhere(vessel)
    nowhere = ids.uuid(rng)
    match name:
        case "reference_to_itself":
            return here, here, vessel
        case "reference_to_other_vessel":
            return here, other, vessel
        case "reference_from_other_vessel":
            return other, here, vessel
        case "reference_row_of_other_vessel":
            return here, also_here, owner
        case "reference_between_other_vessels":
            return other, world.equipment.one_elsewhere(vessel), vessel
        case "reference_not_approved":
            return here, hidden, vessel
        case "reference_target_unknown":
            return here, nowhere, vessel
        case "reference_source_unknown":
            return nowhere, here, vessel
        case "reference_both_unknown":
            return nowhere, ids.uuid(rng), vessel
        case "reference_quarantined":
            return here, rng.choice(quarantined) if quarantined else None, vessel
        case "reference_quarantined_other_vessel":
            return world.quarantined_equipment.one_elsewhere(vessel), here, vessel
        case "reference_not_approved_and_unknown":
            return hidden, nowhere, vessel
        case _:
            return here, also_here, vessel
