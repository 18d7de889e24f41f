"""Which vessels a command is about."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from msgspec import Struct

from bulkmig.errors import UsageError
from bulkmig.events import Due, FleetListed
from bulkmig.postgres.session import Connection

APPROVED = "APPROVED"


class Selection(Struct, frozen=True):
    """Vessels by id, by IMO number, by company (code or id), or every approved one."""

    vessels: tuple[str, ...] = ()
    imo: tuple[str, ...] = ()
    company: tuple[str, ...] = ()
    all: bool = False
    allow_unapproved: bool = False

    def __post_init__(self) -> None:
        if not (self.vessels or self.imo or self.company or self.all):
            raise UsageError("no vessel is selected", "name vessel ids, or --imo, --company or --all")
        if self.all and (self.vessels or self.imo or self.company):
            raise UsageError("--all already selects every vessel", "leave out the others")
        for vessel in self.vessels:
            try:
                UUID(vessel)
            except ValueError:
                raise UsageError(f"{vessel!r} is no vessel id (UUID)", "use --imo for IMO numbers") from None

    def __str__(self) -> str:
        """A canonical form: the same selection gives the same text."""
        parts = ["--all"] if self.all else []
        parts += sorted(str(UUID(vessel)) for vessel in self.vessels)
        parts += [f"--imo {number}" for number in sorted(self.imo)]
        parts += [f"--company {company}" for company in sorted(self.company)]
        return " ".join([*parts, *(["--allow-unapproved"] if self.allow_unapproved else [])])


class Vessel(Struct, frozen=True):
    """A selected vessel: its row's key facts, and how much equipment it has."""

    id: str
    name: str
    imo_number: str | None
    company_id: str
    equipment: int


def listed(vessels: Iterable[Vessel]) -> FleetListed:
    """The event that names the vessels of a run."""
    return FleetListed(tuple(Due(v.id, v.name, v.imo_number, v.equipment) for v in vessels))


_QUERY = """
SELECT v.id::text AS id, v.name, v.imo_number, v.company_id::text AS company_id,
       v.onboarding_status::text AS status
  FROM vessels v JOIN companies c ON c.id = v.company_id
 WHERE CASE WHEN $4 THEN v.onboarding_status::text = 'APPROVED'
            ELSE v.id = ANY ($1::text[]::uuid[]) OR v.imo_number = ANY ($2::text[])
                 OR ((c.code = ANY ($3::text[])
                      OR c.id::text IN (SELECT lower(name) FROM unnest($3::text[]) AS u (name)))
                     AND (v.onboarding_status::text = 'APPROVED' OR $5)) END
 ORDER BY v.id
"""
_COUNTS = """
SELECT vessel_id::text AS id, count(*) AS n FROM equipment
 WHERE vessel_id = ANY ($1::text[]::uuid[]) GROUP BY 1
"""


async def resolve(connection: Connection, selection: Selection) -> list[Vessel]:
    """The selected vessels in order of id. Raises UsageError for names that name nothing, and for vessels
    that are named but not approved."""
    ids = [str(UUID(vessel)) for vessel in selection.vessels]
    rows = await connection.fetch(
        _QUERY,
        ids,
        list(selection.imo),
        list(selection.company),
        selection.all,
        selection.allow_unapproved,
    )
    found = {row["id"] for row in rows} | {row["imo_number"] for row in rows}
    missing = [name for name in (*ids, *selection.imo) if name not in found]
    if missing:
        raise UsageError(f"the source has no vessel {', '.join(missing)}", "check ids and IMO numbers")
    await _check_companies(connection, selection)
    unapproved = [
        f"{row['id']} ({row['status']})"
        for row in rows
        if row["status"] != APPROVED and not selection.allow_unapproved
    ]
    if unapproved:
        raise UsageError(
            f"not {APPROVED}: {', '.join(unapproved)}", "approve them first, or say --allow-unapproved"
        )
    counts = {r["id"]: r["n"] for r in await connection.fetch(_COUNTS, [row["id"] for row in rows])}
    return [
        Vessel(row["id"], row["name"], row["imo_number"], row["company_id"], counts.get(row["id"], 0))
        for row in rows
    ]


async def _check_companies(connection: Connection, selection: Selection) -> None:
    for company in selection.company:
        known = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM companies WHERE code = $1 OR id::text = lower($1))", company
        )
        if not known:
            raise UsageError(f"the source has no company {company}", "use its code or its id")
