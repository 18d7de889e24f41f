"""IMO numbers that vessels which are loaded would get while others go on holding them (mapping.md,
"vessel.imo_taken"). A sync decides that commit by commit (`sync/numbers.py`); here is what comes of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from bulkmig.ledger import base
from bulkmig.postgres.session import Connection, pairs
from bulkmig.selection import Vessel
from bulkmig.target.state import TargetState

_NUMBERS = "SELECT id::text, imo_number FROM vessels WHERE id = ANY ($1::text[]::uuid[])"
_OPEN = """
SELECT source_id::text AS id FROM bulkmig.conflicts
 WHERE entity = 'vessel' AND status = 'open' AND source_id = ANY ($1::text[]::uuid[])
"""


async def taken(
    source: Connection, target: Connection, state: TargetState, vessels: Iterable[Vessel]
) -> set[str]:
    """Which of these vessels, if they are in the target, can't have the number that the source has for them.
    Costs queries only where one has another number than before."""
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
    now = {target_id: number for number, target_id in state.vessels.items()}
    others = {id_: number for id_, number in numbers.items() if number != now.get(known[id_])}
    stay = await _staying(target, others)
    source_of = {target_id: source_id for source_id, target_id in known.items()}

    def lets_go(holder: str) -> bool:
        """Whether a vessel of the target will have another number, or be gone."""
        passed: set[str] = set()
        while holder not in passed:  # those of a circle exchange their numbers
            passed.add(holder)
            if holder not in source_of or source_of[holder] in stay:
                return False  # the portal's own, or it was decided that it keeps its number
            number = numbers.get(source_of[holder])
            if number is None or number not in state.vessels:
                return True
            if state.vessels[number] == holder:
                return False
            holder = state.vessels[number]
        return True

    return {vessel for vessel, holder in wanting.items() if vessel not in stay and not lets_go(holder)}


async def _staying(target: Connection, numbers: Mapping[str, str | None]) -> Collection[str]:
    """Those of these vessels, with their numbers in the source, that keep another one in the target: there
    was a conflict, which is open or was decided so."""
    found = {row["id"] for row in await target.fetch(_OPEN, list(numbers))} if numbers else set()
    written = await base.among(target, list(numbers), "vessel", list(numbers)) if numbers else None
    if written is not None:
        rows = written.select("source_id", "vessels.imo_number").iter_rows()
        found |= {id_ for id_, number in rows if number == numbers[id_]}
    return found
