"""Traps of quality scores. One that is out of range or refers to nothing carries nothing else."""

from __future__ import annotations

from bulkmig.generate import ids
from bulkmig.generate.frame import Frame
from bulkmig.generate.ships import Kind, Vessel
from bulkmig.generate.traps import texts, times
from bulkmig.generate.traps.plant import Family, Planter, Trap
from bulkmig.generate.world import World

_OUT_OF_RANGE: Family = (
    Trap("score_negative", "-1"),
    Trap("score_above_hundred", "101"),
    Trap("score_largest", "2147483647"),
    Trap("score_smallest", "-2147483648"),
)
_IN_RANGE: Family = (Trap("score_zero", "0"), Trap("score_hundred", "100"))
_EQUIPMENT: Family = (
    Trap("score_equipment_unknown"),
    Trap("score_equipment_other_vessel"),
)
_QUARANTINED = Trap("score_of_quarantined", error=True)
_ASSESSORS: Family = (
    Trap("assessor_null"),
    Trap("assessor_unknown"),
    Trap("assessor_unselected_company"),
    Trap("assessor_quarantined"),
)
_OF_VESSEL = Trap("score_of_vessel")
_SLOTS = {
    "category": (texts.GIVEN,),
    "score": (_IN_RANGE,),
    "assessed_at": (times.TIMESTAMPS,),
    "created_at": (times.TIMESTAMPS,),
    "updated_at": (times.TIMESTAMPS,),
}
TRAPS: Family = (
    *(trap for families in _SLOTS.values() for family in families for trap in family),
    *_OUT_OF_RANGE,
    *_EQUIPMENT,
    _QUARANTINED,
    *_ASSESSORS,
    _OF_VESSEL,
)


def plant(planter: Planter, world: World, vessel: Vessel, frame: Frame, quarantined: list[str]) -> None:
    """Changes scores of a vessel, of which the equipment in `quarantined` are errors."""
    for row in planter.rows(frame, all_rows=vessel.kind is not Kind.FLEET):
        kind = planter.rng.random()
        if vessel.kind is Kind.BROKEN or kind < 0.25:
            planter.plant(frame, row, _OUT_OF_RANGE, "score")
        elif kind < 0.4 and quarantined:
            frame.put(row, "equipment_id", planter.rng.choice(quarantined))
            planter.count(_QUARANTINED.name)
        elif kind < 0.45:
            _plant_equipment(planter, world, vessel, frame, row)
        else:
            if kind < 0.55:
                frame.put(row, "equipment_id", None)
                planter.count(_OF_VESSEL.name)
            if kind < 0.85:
                _plant_assessor(planter, world, frame, row)
            planter.plant_slots(frame, row, _SLOTS)


def _plant_equipment(planter: Planter, world: World, vessel: Vessel, frame: Frame, row: int) -> None:
    trap = planter.draw(_EQUIPMENT)
    if trap is None:
        return
    unknown = trap.name == "score_equipment_unknown"
    value = ids.uuid(planter.rng) if unknown else world.equipment.one_elsewhere(vessel.id)
    if value is not None:
        frame.put(row, "equipment_id", value)
        planter.count(trap.name)


def _plant_assessor(planter: Planter, world: World, frame: Frame, row: int) -> None:
    trap = planter.draw(_ASSESSORS)
    if trap is None:
        return
    users = {
        "assessor_unselected_company": world.users_unselected,
        "assessor_quarantined": world.users_quarantined,
    }
    if trap.name in users and not users[trap.name]:
        return
    value = None
    if trap.name in users:
        value = planter.rng.choice(users[trap.name])
    elif trap.name == "assessor_unknown":
        value = ids.uuid(planter.rng)
    frame.put(row, "assessed_by", value)
    planter.count(trap.name)
