"""QR codes that the plain rule would give twice (mapping.md, "qr_code")."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from bulkmig.entities.equipment import QR_DIGITS

# All equipment whose first six digits are another's, of every vessel of the source: also under another code,
# since one that is loaded keeps the QR code of the code that it had.
CANDIDATES = """
WITH hashed AS (
    SELECT id, code, substr(sha256(convert_to(id::text, 'UTF8')), 1, 3) AS hash FROM equipment
), shared AS (
    SELECT hash FROM hashed GROUP BY hash HAVING count(*) > 1
)
SELECT id::text AS id, CASE WHEN code <> '' THEN code ELSE 'EQ' END AS stem
  FROM hashed JOIN shared USING (hash)
"""

LOADED = (
    "SELECT m.original_id::text, e.qr_code FROM equipment_metadata m"
    " JOIN equipment e ON e.id = m.equipment_id WHERE m.original_id = ANY ($1::text[]::uuid[])"
)


def assign(
    candidates: Iterable[tuple[str, str]], assigned: Collection[str], taken: Collection[str]
) -> dict[str, str]:
    """Longer codes for equipment that would share one. `candidates`: (id, stem) whose first digits are
    another's; `assigned`: ids that have their code already; `taken`: codes that the target has."""
    groups: defaultdict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for equipment, stem in candidates:
        if equipment not in assigned:
            digest = hashlib.sha256(equipment.encode()).hexdigest()
            groups[stem, digest[:QR_DIGITS]][equipment] = digest
    codes: dict[str, str] = {}
    for (stem, prefix), digests in groups.items():
        plain = f"{stem}-{prefix}"
        if len(digests) > 1 or plain in taken:
            codes.update(_tell_apart(stem, digests, taken))
    return codes


def _tell_apart(stem: str, digests: Mapping[str, str], taken: Collection[str]) -> dict[str, str]:
    digits = QR_DIGITS
    while True:
        digits += 2
        codes = {equipment: f"{stem}-{digest[:digits]}" for equipment, digest in digests.items()}
        distinct = set(codes.values())
        if len(distinct) == len(codes) and distinct.isdisjoint(taken):
            return codes
