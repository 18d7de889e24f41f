"""Clean rows of a vessel's equipment and of all that hangs on it, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from random import Random

from bulkmig.generate import clock, words
from bulkmig.generate.catalogue import machines, service_records
from bulkmig.generate.frame import NULL, Frame
from bulkmig.generate.ids import uuids

_CRITICALITY = ("CRITICAL", "HIGH", "MEDIUM", "MEDIUM", "LOW", "LOW")
_STATUS = ("ACTIVE",) * 10 + ("VERIFIED",) * 4 + ("APPROVED",) * 3 + ("REVIEWED", "DRAFT", "REMOVED")
_CLASSIFICATION = ("PERMANENT",) * 12 + ("TEMPORARY", "RENTAL", "SPARE")
_INTERVALS = ("30", "90", "180", "365", "730", "1825", NULL)
_QUALITY = tuple(map(str, range(60, 101)))
_NOTES = (NULL,) * 12 + words.NOTES
_STOCK = tuple((str(minimum), str(minimum + more)) for minimum in range(5) for more in range(6))
_QUANTITIES = tuple(map(str, (1, 1, 1, 2, 2, 4, 6, 8)))
_SCORES = tuple(map(str, range(40, 101)))
_REFERENCE_NOTES = (NULL, NULL, "Taken from the piping diagram.", "Confirmed on board.")


def equipment(
    rng: Random, vessel: str, count: int, *, first: int, locations: Sequence[str], verifiers: Sequence[str]
) -> Frame:
    """`count` equipments of a vessel, after the `first` ones."""
    ids = uuids(rng, count)
    chosen = rng.choices(machines(), k=count)
    installed = rng.choices(clock.installations(), k=count)
    changed = rng.choices(clock.changes(), k=count)
    serials = rng.randbytes(6 * count).hex().upper()
    return Frame(
        "equipment",
        {
            "id": ids,
            "vessel_id": [vessel] * count,
            "location_id": rng.choices(locations, k=count) if locations else [NULL] * count,
            "name": [machine.name for machine in chosen],
            "code": [f"{machine.prefix}-{n:05}" for n, machine in enumerate(chosen, first + 1)],
            "equipment_type": [machine.type for machine in chosen],
            "manufacturer": [machine.maker for machine in chosen],
            "model": [machine.model for machine in chosen],
            "serial_number": [serials[i : i + 12] for i in range(0, 12 * count, 12)],
            "criticality": rng.choices(_CRITICALITY, k=count),
            "status": rng.choices(_STATUS, k=count),
            "classification": rng.choices(_CLASSIFICATION, k=count),
            "installation_date": [pair[0] for pair in installed],
            "warranty_expiry": [pair[1] for pair in installed],
            "specifications": [machine.specifications for machine in chosen],
            "maintenance_interval_days": rng.choices(_INTERVALS, k=count),
            "quality_score": rng.choices(_QUALITY, k=count),
            "notes": rng.choices(_NOTES, k=count),
            "metadata": rng.choices(service_records(), k=count),
            "last_verified_at": rng.choices(clock.moments(), k=count),
            "next_verification_date": rng.choices(clock.days(), k=count),
            "verified_by": rng.choices(verifiers, k=count) if verifiers else [NULL] * count,
            "created_at": [pair[0] for pair in changed],
            "updated_at": [pair[1] for pair in changed],
        },
    )


def owners(rng: Random, equipment: Sequence[str], mean: int, *, exact: bool) -> list[str]:
    """Each equipment as often as it has rows hanging on it: `mean` times, or 0 to 2 * `mean`."""
    if exact or not mean:
        return [owner for owner in equipment for _ in range(mean)]
    counts = rng.choices(range(2 * mean + 1), k=len(equipment))
    return [owner for owner, count in zip(equipment, counts, strict=True) for owner in repeat(owner, count)]


def critical_parts(rng: Random, owners: Sequence[str]) -> Frame:
    """One critical part for each owner."""
    count = len(owners)
    kinds = rng.choices(words.PARTS, k=count)
    numbers = rng.randbytes(4 * count).hex().upper()
    stock = rng.choices(_STOCK, k=count)
    changed = rng.choices(clock.changes(), k=count)
    return Frame(
        "critical_parts",
        {
            "id": uuids(rng, count),
            "equipment_id": list(owners),
            "name": [name for name, _ in kinds],
            "part_number": [f"{kind[1]}-{numbers[8 * i : 8 * i + 8]}" for i, kind in enumerate(kinds)],
            "manufacturer": [machine.maker for machine in rng.choices(machines(), k=count)],
            "criticality": rng.choices(_CRITICALITY, k=count),
            "quantity": rng.choices(_QUANTITIES, k=count),
            "minimum_stock": [pair[0] for pair in stock],
            "current_stock": [pair[1] for pair in stock],
            "created_at": [pair[0] for pair in changed],
            "updated_at": [pair[1] for pair in changed],
        },
    )


def documents(rng: Random, vessel: str, owners: Sequence[str]) -> Frame:
    """One document for each owner; an owner that is NULL is the vessel itself."""
    count = len(owners)
    ids = uuids(rng, count)
    kinds = rng.choices(words.DOCUMENTS, k=count)
    changed = rng.choices(clock.changes(), k=count)
    return Frame(
        "documents",
        {
            "id": ids,
            "vessel_id": [vessel] * count,
            "equipment_id": list(owners),
            "document_type": [kind[0] for kind in kinds],
            "name": [f"{kind[1]} {id_[:4]}.{kind[2]}" for kind, id_ in zip(kinds, ids, strict=True)],
            "file_path": [
                f"s3://fleet-documents/{vessel}/{id_}.{kind[2]}" for kind, id_ in zip(kinds, ids, strict=True)
            ],
            "file_size": [str(size >> 8) for size in rng.choices(range(1 << 18, 1 << 32, 7919), k=count)],
            "mime_type": [kind[3] for kind in kinds],
            "created_at": [pair[0] for pair in changed],
            "updated_at": [pair[1] for pair in changed],
        },
    )


def quality_scores(rng: Random, vessel: str, owners: Sequence[str], assessors: Sequence[str]) -> Frame:
    """One score for each owner; an owner that is NULL is the vessel as a whole."""
    count = len(owners)
    changed = rng.choices(clock.changes(), k=count)
    return Frame(
        "quality_scores",
        {
            "id": uuids(rng, count),
            "vessel_id": [vessel] * count,
            "equipment_id": list(owners),
            "category": rng.choices(words.CATEGORIES, k=count),
            "score": rng.choices(_SCORES, k=count),
            "assessed_at": rng.choices(clock.moments(), k=count),
            "assessed_by": rng.choices(assessors, k=count) if assessors else [NULL] * count,
            "created_at": [pair[0] for pair in changed],
            "updated_at": [pair[1] for pair in changed],
        },
    )


def cross_references(rng: Random, vessel: str, ends: Sequence[tuple[str, str]]) -> Frame:
    """One cross reference for each pair of source and target equipment."""
    count = len(ends)
    changed = rng.choices(clock.changes(), k=count)
    return Frame(
        "cross_references",
        {
            "id": uuids(rng, count),
            "vessel_id": [vessel] * count,
            "source_equipment_id": [end[0] for end in ends],
            "target_equipment_id": [end[1] for end in ends],
            "reference_type": rng.choices(words.REFERENCE_TYPES, k=count),
            "notes": rng.choices(_REFERENCE_NOTES, k=count),
            "created_at": [pair[0] for pair in changed],
            "updated_at": [pair[1] for pair in changed],
        },
    )
