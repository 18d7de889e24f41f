"""What the target's own rows need to know of the source."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulkmig.generate.session import connect

_COMPANIES = """
    SELECT c.id::text, c.code, EXISTS (
        SELECT FROM vessels v WHERE v.company_id = c.id AND v.onboarding_status::text = 'APPROVED'
    ) AS selected
    FROM companies c ORDER BY c.id
"""
_USERS = "SELECT id::text, company_id::text AS company, email FROM users ORDER BY id"
_VESSELS = """
    SELECT id::text, company_id::text AS company, imo_number AS imo FROM vessels
    WHERE onboarding_status::text = 'APPROVED' AND imo_number <> '' ORDER BY id
"""
# A vessel's first ones by id; of each vessel few, and no more than a planner can find by their index.
_EQUIPMENT = """
    SELECT e.id::text, e.code, v.id::text AS vessel
    FROM (SELECT id FROM vessels WHERE onboarding_status::text = 'APPROVED' ORDER BY id LIMIT $1) v
    CROSS JOIN LATERAL (
        SELECT id, code FROM equipment WHERE vessel_id = v.id AND name ~ '[A-Za-z]' ORDER BY id LIMIT 3
    ) e
    ORDER BY e.id
"""


@dataclass(frozen=True, slots=True)
class OriginCompany:
    id: str
    slug: str
    """As its code gives it, before any suffix."""
    selected: bool
    """Whether one of its vessels is APPROVED."""


@dataclass(frozen=True, slots=True)
class OriginUser:
    id: str
    company: str
    email: str

    @property
    def plain(self) -> bool:
        """Whether the e-mail has a form that changing its case changes."""
        return re.fullmatch("[a-z0-9]+@[a-z0-9.]+", self.email) is not None


@dataclass(frozen=True, slots=True)
class OriginVessel:
    id: str
    company: str
    imo: str


@dataclass(frozen=True, slots=True)
class OriginEquipment:
    id: str
    code: str | None
    vessel: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Companies, users and vessels, all of them; equipment in part."""

    companies: list[OriginCompany]
    users: list[OriginUser]
    vessels: list[OriginVessel]
    equipment: list[OriginEquipment]


async def read_origin(url: str, *, equipment: int) -> Origin:
    """Reads the source; of `equipment` vessels a few equipments."""
    async with connect(url) as connection:
        companies = await connection.fetch(_COMPANIES)
        users = await connection.fetch(_USERS)
        vessels = await connection.fetch(_VESSELS)
        machines = await connection.fetch(_EQUIPMENT, equipment)
    return Origin(
        [OriginCompany(row["id"], _slug(row["code"]), row["selected"]) for row in companies],
        [OriginUser(**row) for row in users],
        [OriginVessel(**row) for row in vessels],
        [OriginEquipment(**row) for row in machines],
    )


def _slug(code: str) -> str:
    return re.sub("[^a-z0-9]", "-", code.lower())[:50]
