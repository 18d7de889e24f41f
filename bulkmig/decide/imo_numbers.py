"""IMO numbers that vessels which are loaded would get while others go on holding them (mapping.md,
"vessel.imo_taken"). A sync decides that commit by commit (`sync/numbers.py`); here is what comes of it."""

from __future__ import annotations

from collections.abc import Iterable

from bulkmig.postgres.session import Connection, pairs
from bulkmig.selection import Vessel
from bulkmig.target.state import TargetState

_NUMBERS = "SELECT id::text, imo_number FROM vessels WHERE id = ANY ($1::text[]::uuid[])"


async def taken(source: Connection, state: TargetState, vessels: Iterable[Vessel]) -> set[str]:
    """Which of these vessels, if they are in the target, can't have the number that the source has for them.
    Costs a query only where one has another number than before."""
    known = {source_id: target_id for source_id, (target_id, _) in state.identities.get("vessel", {}).items()}
    wanting = {
        vessel.id: holder
        for vessel in vessels
        if vessel.id in known
        and vessel.imo_number is not None
        and (holder := state.vessels.get(vessel.imo_number, known[vessel.id])) != known[vessel.id]
    }
    if not wanting:
        return set()
    numbers = pairs(await source.fetch(_NUMBERS, list(known)))
    source_of = {target_id: source_id for source_id, target_id in known.items()}

    def lets_go(holder: str) -> bool:
        """Whether a vessel of the target will have another number, or be gone."""
        passed: set[str] = set()
        while holder not in passed:  # those of a circle exchange their numbers
            passed.add(holder)
            if holder not in source_of:
                return False  # the portal's own
            number = numbers.get(source_of[holder])
            if number is None or number not in state.vessels:
                return True
            if state.vessels[number] == holder:
                return False
            holder = state.vessels[number]
        return True

    return {vessel for vessel, holder in wanting.items() if not lets_go(holder)}
