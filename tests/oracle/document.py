"""documents → equipment_documents, vessel_documents, document_details"""

from __future__ import annotations

import re

from tests.oracle.draft import Draft, World
from tests.oracle.source import SourceRow, required

TYPES = {
    "MANUAL": "manual",
    "DRAWING": "drawing",
    "CERTIFICATE": "certificate",
    "DATASHEET": "datasheet",
    "PHOTO": "image",
    "REPORT": "report",
    "OTHER": "other",
}
_PATH = re.compile(r"s3://[^/]+/.+|https://[^/]+.*", re.DOTALL)


def draft(world: World, document: SourceRow, *, has_equipment: bool) -> Draft:
    """The rows of one document; `has_equipment` says whether the equipment it names is there for it."""
    made = Draft(world, "document", document)
    own_id = world.target_id("document", made.source_id)
    source_equipment, kind = document["equipment_id"], required(document, "document_type")
    if source_equipment is not None and has_equipment:
        made.refer("equipment_documents", {"equipment_id": world.target_id("equipment", source_equipment)})
    else:
        made.refer("equipment_documents", {"equipment_id": None})
        vessel_id = world.target_id("vessel", required(document, "vessel_id"))
        made.refer("vessel_documents", {"vessel_id": vessel_id, "document_id": own_id})
    made.refer("equipment_documents", {"id": own_id})
    made.put("equipment_documents", "document_type", TYPES.get(kind, "other"), "document_type")
    made.put("equipment_documents", "file_name", document["name"], "name")
    made.copy("equipment_documents", "file_path", "file_size", "created_at", "updated_at")
    made.refer("document_details", {"document_id": own_id})
    made.put("document_details", "original_document_type", kind, "document_type")
    made.put("document_details", "mime_type", document["mime_type"], "mime_type")

    if source_equipment is not None and not has_equipment:
        made.note("document.equipment_missing")
    if kind not in TYPES:
        made.note("document.type_unknown")
    if not _PATH.fullmatch(required(document, "file_path")):
        made.note("document.path_invalid")
    return made
