"""What the target's own rows need to know of the source."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulkmig.generate.session import connect

# Whether a target can store it: of what is generated, all that it can't is long or has a long exponent.
_SOUND = "coalesce(length({0}::text) < 1000 AND {0}::text !~ '[eE][+-]?[0-9]{{4}}', true)"
_COMPANIES = f"""
    SELECT c.id::text, c.code, {_SOUND.format("c.settings")} AS sound, EXISTS (
        SELECT FROM vessels v WHERE v.company_id = c.id AND v.onboarding_status::text = 'APPROVED'
    ) AS selected
    FROM companies c ORDER BY c.id
"""
_USERS = f"""
    SELECT id::text, company_id::text AS company, email,
           role::text <> 'AUDITOR' AND {_SOUND.format("settings")} AS sound
    FROM users ORDER BY id
"""
_VESSELS = f"""
    SELECT id::text, company_id::text AS company, imo_number AS imo FROM vessels
    WHERE onboarding_status::text = 'APPROVED' AND imo_number <> '' AND {_SOUND.format("metadata")}
    ORDER BY id
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
    sound: bool
    """Whether it is no error."""


@dataclass(frozen=True, slots=True)
class OriginUser:
    id: str
    company: str
    email: str
    sound: bool

    @property
    def plain(self) -> bool:
        """Whether it is no error, and its e-mail one that changing its case changes."""
        return self.sound and re.fullmatch("[a-z0-9]+@[a-z0-9.]+", self.email) is not None


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
        [OriginCompany(row["id"], _slug(row["code"]), row["selected"], row["sound"]) for row in companies],
        [OriginUser(**row) for row in users],
        [OriginVessel(**row) for row in vessels],
        [OriginEquipment(**row) for row in machines],
    )


def _slug(code: str) -> str:
    return re.sub("[^a-z0-9]", "-", code.lower())[:50]
