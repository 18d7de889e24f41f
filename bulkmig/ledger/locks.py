"""The advisory locks under which rows are written: one of all companies and users, one of each vessel."""

from __future__ import annotations

import hashlib

LOCK = 0x62756C6B73686172  # one run at a time writes companies and users


def lock_key(vessel_id: str) -> int:
    """The number of a vessel's advisory lock: 64 bits, since ids made in one minute may start alike."""
    return int(hashlib.sha256(b"bulkmig vessel " + vessel_id.encode()).hexdigest()[:16], 16) - 2**63
