"""The advisory locks under which rows are written: one of all companies and users, one of each vessel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

LOCK = 0x62756C6B73686172  # one run at a time writes companies and users
# As texts: what an array of numbers is, the driver would ask each server session that it opens.
LOCK_VESSELS = "SELECT pg_advisory_xact_lock(key) FROM unnest($1::text[]::bigint[]) AS locked (key)"


def lock_key(vessel_id: str) -> int:
    """The number of a vessel's advisory lock: 64 bits, since ids made in one minute may start alike."""
    return int(hashlib.sha256(b"bulkmig vessel " + vessel_id.encode()).hexdigest()[:16], 16) - 2**63


def lock_keys(vessels: Iterable[str]) -> list[str]:
    """What `LOCK_VESSELS` takes: in one order for all sessions, so that none waits for another in a ring."""
    return [str(key) for key in sorted(map(lock_key, vessels))]
