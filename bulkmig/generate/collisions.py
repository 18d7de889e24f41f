"""Equipment ids whose SHA-256 begin alike, found by a birthday search: they collide in their QR codes."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from hashlib import sha256
from random import Random
from typing import NamedTuple

from bulkmig.generate.ids import uuids

_CANDIDATES = 1 << 18  # about 2,000 pairs, ten triples, and eight pairs alike in 32 bits


class Collisions(NamedTuple):
    """Groups of ids, none of them in two groups."""

    pairs: list[tuple[str, ...]]
    """Alike in the first 6 hex digits only."""
    triples: list[tuple[str, ...]]
    """The same, three of them."""
    deep_pairs: list[tuple[str, ...]]
    """Alike in the first 8 hex digits."""


@lru_cache(maxsize=1)
def collisions() -> Collisions:
    """The same groups for every fleet: which of them it takes, in which order, is the fleet's business."""
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    seen: dict[bytes, str] = {}
    for candidate in uuids(Random("collisions"), _CANDIDATES):
        prefix = sha256(candidate.encode()).digest()[:3]
        first = seen.setdefault(prefix, candidate)
        if first is not candidate:
            groups[prefix].append(candidate)
    found = Collisions([], [], [])
    for prefix, others in groups.items():
        group = (seen[prefix], *others)
        different = len({sha256(member.encode()).digest()[:4] for member in group})
        if len(group) == 2:
            (found.pairs if different == 2 else found.deep_pairs).append(group)
        elif len(group) == different == 3:
            found.triples.append(group)
    return found
