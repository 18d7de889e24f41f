"""The tables of the Maintenance Portal: columns, keys, and which rows make up one thing."""

from __future__ import annotations

from typing import NamedTuple

TABLES: dict[str, tuple[str, ...]] = {
    "companies": (
        "id", "name", "slug", "logo_url", "primary_color", "secondary_color", "created_at",
        "updated_at",
    ),
    "company_settings": (
        "company_id", "contact_email", "contact_phone", "timezone", "is_active", "original_settings",
    ),
    "users": (
        "id", "company_id", "email", "password_hash", "first_name", "last_name", "role", "avatar_url",
        "is_active", "created_at", "updated_at",
    ),
    "user_metadata": ("user_id", "original_role", "flags", "phone", "settings"),
    "vessels": (
        "id", "company_id", "name", "imo_number", "vessel_type", "image_url", "status", "created_at",
        "updated_at",
    ),
    "vessel_details": (
        "vessel_id", "flag", "gross_tonnage", "year_built", "class_society", "original_status",
        "metadata",
    ),
    "equipment": (
        "id", "vessel_id", "qr_code", "name", "manufacturer", "model", "serial_number", "location",
        "equipment_type", "status", "installation_date", "last_maintenance_date",
        "next_maintenance_date", "specifications", "created_at", "updated_at",
    ),
    "equipment_metadata": (
        "equipment_id", "original_id", "original_code", "original_status", "original_location_id",
        "criticality", "classification", "quality_score", "maintenance_interval_days",
        "warranty_expiry", "notes", "verification_data", "original_metadata",
    ),
    "critical_parts": (
        "id", "equipment_id", "part_number", "description", "causes_failure", "current_stock",
        "minimum_stock", "created_at", "updated_at",
    ),
    "part_details": (
        "part_id", "manufacturer", "quantity_per_equipment", "original_criticality",
        "original_part_number",
    ),
    "equipment_documents": (
        "id", "equipment_id", "document_type", "file_name", "file_path", "file_size", "created_at",
        "updated_at",
    ),
    "vessel_documents": ("vessel_id", "document_id"),
    "document_details": ("document_id", "original_document_type", "mime_type"),
    "quality_scores": (
        "id", "vessel_id", "equipment_id", "category", "score", "assessed_at", "assessed_by",
        "created_at", "updated_at",
    ),
    "cross_references": (
        "id", "vessel_id", "source_equipment_id", "target_equipment_id", "reference_type", "notes",
        "created_at", "updated_at",
    ),
    "maintenance_logs": (
        "id", "equipment_id", "performed_by", "performed_at", "description", "created_at", "updated_at",
    ),
}  # fmt: skip

JSON_COLUMNS = frozenset(
    {
        ("company_settings", "original_settings"),
        ("user_metadata", "flags"),
        ("user_metadata", "settings"),
        ("vessel_details", "metadata"),
        ("equipment", "specifications"),
        ("equipment_metadata", "verification_data"),
        ("equipment_metadata", "original_metadata"),
    }
)


class Thing(NamedTuple):
    """A main table and, by table, the column through which its detail rows hang on it."""

    entity: str
    table: str
    details: dict[str, str]


# In an order in which every reference points backwards.
THINGS: tuple[Thing, ...] = (
    Thing("company", "companies", {"company_settings": "company_id"}),
    Thing("user", "users", {"user_metadata": "user_id"}),
    Thing("vessel", "vessels", {"vessel_details": "vessel_id"}),
    Thing("equipment", "equipment", {"equipment_metadata": "equipment_id"}),
    Thing("critical_part", "critical_parts", {"part_details": "part_id"}),
    Thing(
        "document",
        "equipment_documents",
        {"document_details": "document_id", "vessel_documents": "document_id"},
    ),
    Thing("quality_score", "quality_scores", {}),
    Thing("cross_reference", "cross_references", {}),
    Thing("maintenance_log", "maintenance_logs", {}),
)

KEYS: dict[str, tuple[str, ...]] = {
    table: ("vessel_id", "document_id") if table == "vessel_documents" else columns[:1]
    for table, columns in TABLES.items()
}

INTEGERS = {
    ("vessel_details", "year_built"),
    ("equipment_metadata", "quality_score"),
    ("equipment_metadata", "maintenance_interval_days"),
    ("critical_parts", "current_stock"),
    ("critical_parts", "minimum_stock"),
    ("part_details", "quantity_per_equipment"),
    ("equipment_documents", "file_size"),
    ("quality_scores", "score"),
}
