"""The whole Onboarding Portal as plain rows: every column as PostgreSQL's own text, so nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg

SourceRow = dict[str, str | None]

TIMES = ("created_at", "updated_at")

COLUMNS: dict[str, tuple[str, ...]] = {
    "companies": (
        "id", "name", "code", "contact_email", "contact_phone", "timezone", "settings", "is_active",
        *TIMES,
    ),
    "users": (
        "id", "company_id", "email", "password_hash", "first_name", "last_name", "role", "phone",
        "avatar_url", "is_active", "settings", *TIMES,
    ),
    "vessels": (
        "id", "company_id", "name", "imo_number", "vessel_type", "flag", "gross_tonnage", "year_built",
        "class_society", "onboarding_status", "metadata", *TIMES,
    ),
    "locations": ("id", "vessel_id", "parent_id", "name", *TIMES),
    "equipment": (
        "id", "vessel_id", "location_id", "name", "code", "equipment_type", "manufacturer", "model",
        "serial_number", "criticality", "status", "classification", "installation_date",
        "warranty_expiry", "specifications", "maintenance_interval_days", "quality_score", "notes",
        "metadata", "last_verified_at", "next_verification_date", "verified_by", *TIMES,
    ),
    "critical_parts": (
        "id", "equipment_id", "name", "part_number", "manufacturer", "criticality", "quantity",
        "minimum_stock", "current_stock", *TIMES,
    ),
    "documents": (
        "id", "vessel_id", "equipment_id", "document_type", "name", "file_path", "file_size",
        "mime_type", *TIMES,
    ),
    "quality_scores": (
        "id", "vessel_id", "equipment_id", "category", "score", "assessed_at", "assessed_by", *TIMES,
    ),
    "cross_references": (
        "id", "vessel_id", "source_equipment_id", "target_equipment_id", "reference_type", "notes",
        *TIMES,
    ),
}  # fmt: skip


@dataclass
class Source:
    """All source rows, each table in order of id."""

    companies: list[SourceRow] = field(default_factory=list)
    users: list[SourceRow] = field(default_factory=list)
    vessels: list[SourceRow] = field(default_factory=list)
    locations: list[SourceRow] = field(default_factory=list)
    equipment: list[SourceRow] = field(default_factory=list)
    critical_parts: list[SourceRow] = field(default_factory=list)
    documents: list[SourceRow] = field(default_factory=list)
    quality_scores: list[SourceRow] = field(default_factory=list)
    cross_references: list[SourceRow] = field(default_factory=list)


def required(row: Mapping[str, str | None], column: str) -> str:
    """The value of a column that is never NULL."""
    value = row[column]
    if value is None:
        raise ValueError(f"{column} is NULL in {dict(row)}")
    return value


def identity(row: SourceRow) -> str:
    """The row's id; PostgreSQL's text of a uuid is canonical, so it sorts as the uuid does."""
    return required(row, "id")


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[asyncpg.Connection]:
    """One read-only snapshot in UTC with ISO dates."""
    connection: asyncpg.Connection = await asyncpg.connect(
        url,
        server_settings={
            "TimeZone": "UTC",
            "DateStyle": "ISO, YMD",
            "default_transaction_read_only": "on",
        },
    )
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        await connection.close()


async def read_table(connection: asyncpg.Connection, table: str, columns: Sequence[str]) -> list[SourceRow]:
    """The named columns of every row, as text, in order of the first column."""
    selected = ", ".join(f'"{column}"::text AS "{column}"' for column in columns)
    records = await connection.fetch(f'SELECT {selected} FROM "{table}"')
    rows = [dict(record) for record in records]
    return sorted(rows, key=lambda row: required(row, columns[0]))


async def read_source(url: str) -> Source:
    """Reads the Onboarding Portal."""
    async with reading(url) as connection:
        return Source(
            **{table: await read_table(connection, table, columns) for table, columns in COLUMNS.items()}
        )
