"""What of a changed vessel isn't read, since it comes out as it did the last time.

What such a row becomes follows from itself and from whether its equipment is loaded. So where none of the
vessel's rows of its kind was written since the vessel was last seen, and neither then nor now anything that
they hang on came, went or was kept out, they would all be found unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from bulkmig._core.declare import Entity
from bulkmig.entities import PER_VESSEL
from bulkmig.postgres.session import Connection
from bulkmig.sync.moves import Moves

Unread = Mapping[str, frozenset[str]]  # vessel -> the entities that aren't read

_KNOWN = {"vessel", "equipment"}  # what these rows may refer to

# Vessels with anything that isn't simply loaded.
_LISTED = """
SELECT DISTINCT l.vessel_id::text AS vessel
  FROM (SELECT vessel_id, entity FROM bulkmig.quarantine
         UNION ALL SELECT vessel_id, entity FROM bulkmig.retained
         UNION ALL SELECT vessel_id, entity FROM bulkmig.conflicts WHERE status = 'open') l
 WHERE l.vessel_id = ANY ($1::text[]::uuid[]) AND l.entity = ANY ($2::text[])
"""


def hangs_on_equipment_alone(entity: Entity) -> bool:
    """Whether nothing else than itself and its equipment decides what a row of this entity becomes."""
    named = {reference.entity for reference in entity.references}
    decides = entity.publish is not None or entity.late_rules is not None or entity.waits is not None
    return "equipment" in named and named <= _KNOWN and not decides


HANGING = frozenset(entity.name for entity in PER_VESSEL if hangs_on_equipment_alone(entity))


def unwritten(vessels: Collection[str], changed: Mapping[str, Collection[str]]) -> dict[str, frozenset[str]]:
    """Of these vessels, to and from which no row came or went, the entities that may be left unread.
    `changed`: entity -> vessels with rows that may have been written."""
    return {
        vessel: frozenset(name for name in HANGING if vessel not in changed.get(name, ()))
        for vessel in vessels
    }


async def unread(
    target: Connection, vessels: Sequence[str], may: Mapping[str, frozenset[str]], moves: Moves
) -> Unread:
    """What is left unread of these vessels, which are locked. `may`: as `unwritten` says."""
    asked = [vessel for vessel in vessels if may.get(vessel) and not moves.concern(vessel)]
    if not asked:
        return {}
    listed = {row["vessel"] for row in await target.fetch(_LISTED, asked, sorted(_KNOWN | HANGING))}
    return {vessel: may[vessel] for vessel in asked if vessel not in listed}
