"""The portal's own log: entries that say less, or something else, than the rows do."""

from __future__ import annotations

from collections.abc import Sequence

from bulkmig.generate import clock, ids
from bulkmig.generate.frame import Frame, Row
from bulkmig.generate.ships import Vessel
from bulkmig.generate.traps.plant import Family, Planter, Trap

_KINDS: Family = (
    Trap("log_deletes_what_is_there"),
    Trap("log_deletes_without_vessel"),
    Trap("log_of_unknown_entity"),
    Trap("log_of_unknown_action"),
    Trap("log_at_infinity"),
)
TRAPS = _KINDS


def plant(planter: Planter, frame: Frame, vessel: Vessel, equipment: Sequence[str]) -> None:
    """Adds entries about a vessel's equipment."""
    trap = planter.draw(_KINDS)
    if trap is None or not equipment:
        return
    row = dict(
        entry(
            vessel.id,
            "equipment",
            planter.rng.choice(equipment),
            "DELETE",
            planter.rng.choice(clock.moments()),
        )
    )
    match trap.name:
        case "log_deletes_without_vessel":
            row |= {"vessel_id": None, "entity_id": ids.uuid(planter.rng)}
        case "log_of_unknown_entity":
            row |= {"entity_type": "Equipment "}
        case "log_of_unknown_action":
            row |= {"action": "delete"}
        case "log_at_infinity":
            row |= {"created_at": planter.rng.choice(("infinity", "-infinity")), "action": "UPDATE"}
    frame.append(row)
    planter.count(trap.name)


def entry(vessel: str, table: str, id_: str, action: str, moment: str) -> Row:
    """An entry of the log."""
    return {
        "entity_type": table,
        "entity_id": id_,
        "vessel_id": vessel,
        "action": action,
        "actor_id": None,
        "created_at": moment,
    }
