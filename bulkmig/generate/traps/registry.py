"""All traps by name."""

from __future__ import annotations

from bulkmig.generate.traps import (
    companies,
    documents,
    equipment,
    history,
    locations,
    parts,
    references,
    scores,
    users,
    vessels,
)
from bulkmig.generate.traps.plant import Family

ON_VESSELS: Family = (
    *vessels.TRAPS,
    *locations.TRAPS,
    *equipment.TRAPS,
    *parts.TRAPS,
    *documents.TRAPS,
    *scores.TRAPS,
    *references.TRAPS,
    *history.TRAPS,
)
_ONCE: Family = (*companies.ONCE, vessels.IMO_EMPTY)
_ALL: Family = (*companies.TRAPS, *users.TRAPS, *ON_VESSELS, *_ONCE)


def _names(traps: Family) -> tuple[str, ...]:
    return tuple(sorted({trap.name for trap in traps}))


TRAPS = _names(_ALL)
"""All of them."""
ONCE_TRAPS = _names(_ONCE)
"""Those that a unique column allows once in a fleet."""
ENUM_TRAPS = _names(tuple(trap for trap in _ALL if trap.unknown))
"""Those that only a fleet with `unknown_enums` has."""
JSON_ONLY_TRAPS = _names(tuple(trap for trap in _ALL if trap.json_only))
"""Those that a source has only where its column is `json`; `jsonb` refuses them."""
ERROR_TRAPS = _names(tuple(trap for trap in _ALL if trap.error))
"""Those that are errors, or need one nearby: a fleet with `errors=0` has none of them."""
