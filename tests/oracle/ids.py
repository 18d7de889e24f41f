"""What the mapping says of new ids: UUIDs of version 8, no two alike, those of one vessel side by side."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from tests.oracle.contract import THINGS
from tests.oracle.draft import Cell, Ref
from tests.oracle.units import Ids, Tables

_VERSION_8 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SIDE_BY_SIDE = ("equipment", "critical_parts", "equipment_documents", "quality_scores", "cross_references")


def is_version_8(text: str) -> bool:
    """Whether version and variant are those of an RFC 9562 UUID of version 8."""
    return _VERSION_8.fullmatch(text) is not None


def vessel_of(expected: Tables) -> dict[Cell, Cell]:
    """The vessel of every row of those tables, by the row's id."""
    owner: dict[Cell, Cell] = {row["id"]: row["vessel_id"] for row in expected["equipment"]}
    for row in (*expected["critical_parts"], *expected["equipment_documents"]):
        if row["equipment_id"] is not None:
            owner[row["id"]] = owner[row["equipment_id"]]
    owner |= {row["document_id"]: row["vessel_id"] for row in expected["vessel_documents"]}
    owner |= {row["id"]: row["vessel_id"] for row in expected["quality_scores"]}
    owner |= {row["id"]: row["vessel_id"] for row in expected["cross_references"]}
    return owner


def differences(expected: Tables, actual: Tables, ids: Ids) -> Iterator[str]:
    """What is wrong with the ids that new rows have."""
    for ref, new in ids.items():
        if not is_version_8(new):
            yield f"{ref.entity} {ref.source_id}: its id {new} is not a UUID of version 8"
    seen: dict[Cell, str] = {}
    for thing in THINGS:
        for row in actual[thing.table]:
            other = seen.setdefault(row["id"], thing.table)
            if other != thing.table:
                yield f"{thing.table}: the id {row['id']} is one of {other} too"
    owner = vessel_of(expected)
    for table in SIDE_BY_SIDE:
        refs = [row["id"] for row in expected[table]]
        new_ids = sorted((ids[ref], str(owner[ref])) for ref in refs if isinstance(ref, Ref) and ref in ids)
        runs = [vessel for vessel, _ in itertools.groupby(vessel for _, vessel in new_ids)]
        for vessel in sorted({vessel for vessel in runs if runs.count(vessel) > 1}):
            yield f"{table}: ids of other vessels lie between those of {vessel}"


def unordered(expected: Tables, ids: Ids) -> Iterator[str]:
    """New rows of a file that are not numbered in order of source id within vessels in order of source id.
    A vessel that was adopted is told by its number, so its rows are left out."""
    owner = vessel_of(expected)
    for thing in THINGS:
        placed = []
        for row in expected[thing.table]:
            ref = row["id"]
            if not isinstance(ref, Ref) or ref not in ids:
                continue
            vessel = owner.get(ref)
            if vessel is None:
                placed.append(("", ref.source_id, ids[ref]))
            elif isinstance(vessel, Ref):
                placed.append((vessel.source_id, ref.source_id, ids[ref]))
        placed.sort()
        for (*_, one), (vessel_id, source_id, other) in itertools.pairwise(placed):
            if one >= other:
                yield f"{thing.table} {source_id} of {vessel_id}: its id {other} comes after {one}"
