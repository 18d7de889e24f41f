"""The portal's own rows, added one by one: few, beside what a migration brings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from random import Random

from bulkmig.generate import clock, words
from bulkmig.generate.catalogue import machines
from bulkmig.generate.frame import Frame, Row
from bulkmig.generate.ids import uuid

_ORDER = (
    "companies",
    "company_settings",
    "users",
    "user_metadata",
    "vessels",
    "vessel_details",
    "equipment",
    "critical_parts",
    "equipment_documents",
    "vessel_documents",
    "quality_scores",
    "cross_references",
    "maintenance_logs",
)


class PortalRows:
    """The rows of a target. Detail rows, which only a migration needs, come with about half of them."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)

    def frames(self) -> Iterator[Frame]:
        """All rows that were added, parents first."""
        return (Frame.of(table, self._rows[table]) for table in _ORDER)

    def company(self, slug: str) -> str:
        """Adds a company and returns its id, as all of these do."""
        rng = self._rng
        name = f"{rng.choice(words.COMPANY_FIRST)} {rng.choice(words.COMPANY_SECOND)}"
        id_ = self._add(
            "companies",
            name=name,
            slug=slug,
            logo_url="/logos/own.svg",
            primary_color="#ABCDEF",
            secondary_color=None,
        )
        if rng.random() < 0.5:
            self._detail(
                "company_settings",
                company_id=id_,
                contact_email=f"office@{slug.strip('-') or 'own'}.example.com",
                timezone="UTC",
                original_settings='{"own": true}',
            )
        return id_

    def user(self, company: str, email: str) -> str:
        rng = self._rng
        id_ = self._add(
            "users",
            company_id=company,
            email=email,
            password_hash="set by the portal",
            first_name=rng.choice(words.FIRST_NAMES),
            last_name=rng.choice(words.LAST_NAMES),
            role=rng.choice(("technician", "manager", "admin")),
            avatar_url=None,
            is_active="t",
        )
        if rng.random() < 0.5:
            self._detail(
                "user_metadata", user_id=id_, original_role="PORTAL", flags='{"own": 1.0}', phone=None
            )
        return id_

    def vessel(self, company: str, imo: str | None) -> str:
        rng = self._rng
        id_ = self._add(
            "vessels",
            company_id=company,
            name=f"{rng.choice(words.SHIP_FIRST)} {rng.choice(words.SHIP_SECOND)}",
            imo_number=imo,
            vessel_type=rng.choice(words.VESSEL_TYPES),
            image_url="/vessels/own.svg",
            status=rng.choice(("operational", "inactive")),
        )
        if rng.random() < 0.5:
            self._detail(
                "vessel_details", vessel_id=id_, flag=rng.choice(words.FLAGS), original_status="PORTAL"
            )
        return id_

    def equipment(self, vessel: str, qr_code: str) -> str:
        machine = self._rng.choice(machines())
        return self._add(
            "equipment",
            vessel_id=vessel,
            qr_code=qr_code,
            name=machine.name,
            manufacturer=machine.maker,
            model=machine.model,
            serial_number=None,
            location="Workshop > Shelf 2",
            equipment_type=machine.type,
            status=self._rng.choice(("operational", "maintenance", "fault", "decommissioned")),
            specifications='{"own": true}',
        )

    def equip(self, vessel: str, user: str | None, count: int) -> list[str]:
        """Adds equipment to a vessel, and to each what a portal's users add in the course of time."""
        rng = self._rng
        own = [self.equipment(vessel, f"OWN-{rng.getrandbits(48):012x}") for _ in range(count)]
        for id_ in own:
            self._add(
                "critical_parts", equipment_id=id_, part_number="OWN-1", description=None, causes_failure="t"
            )
            self._document(id_)
            self._add(
                "quality_scores",
                vessel_id=vessel,
                equipment_id=id_,
                category="inspection",
                score=str(rng.randrange(101)),
                assessed_at=rng.choice(clock.moments()),
                assessed_by=user,
            )
            for _ in range(rng.randrange(1, 4)):
                self.log(id_, user)
        self._rows["vessel_documents"].append({"vessel_id": vessel, "document_id": self._document(None)})
        if count > 1:
            self._add(
                "cross_references",
                vessel_id=vessel,
                source_equipment_id=own[0],
                target_equipment_id=own[1],
                reference_type="NEXT_TO",
            )
        return own

    def log(self, equipment: str, user: str | None) -> str:
        return self._add(
            "maintenance_logs",
            equipment_id=equipment,
            performed_by=user,
            performed_at=self._rng.choice(clock.moments()),
            description="Greased.\nNo findings.",
        )

    def _document(self, equipment: str | None) -> str:
        return self._add(
            "equipment_documents",
            equipment_id=equipment,
            document_type="other",
            file_name="checklist.pdf",
            file_path="https://files.example.com/checklist.pdf",
        )

    def _add(self, table: str, **cells: str | None) -> str:
        id_ = uuid(self._rng)
        created, updated = self._rng.choice(clock.changes())
        self._rows[table].append({"id": id_, **cells, "created_at": created, "updated_at": updated})
        return id_

    def _detail(self, table: str, **cells: str | None) -> None:
        self._rows[table].append(cells)
