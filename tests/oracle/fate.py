"""Which vessels and rows arrive, and which are quarantined, left out with their vessel, or wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tests.oracle.cross_reference import ENDS, End, find_missing_ends
from tests.oracle.draft import Draft, World
from tests.oracle.source import identity, required

OnError = Literal["fail", "quarantine"]
Fate = Literal["done", "failed", "quarantined"]


@dataclass
class Vessel:
    """A selected vessel with its rows."""

    own: Draft
    equipment: list[Draft] = field(default_factory=list)
    parts: list[Draft] = field(default_factory=list)
    documents: list[Draft] = field(default_factory=list)
    scores: list[Draft] = field(default_factory=list)
    references: list[Draft] = field(default_factory=list)
    fate: Fate = "done"

    def all(self) -> Iterator[Draft]:
        """The vessel's own row and all others."""
        yield self.own
        yield from (*self.equipment, *self.parts, *self.documents, *self.scores, *self.references)


class Fleet:
    """The selected vessels, their companies and users, on the way from drafts to fates."""

    def __init__(self, world: World, on_error: OnError) -> None:
        self.world = world
        self.on_error = on_error
        self.companies: list[Draft] = []
        self.users: list[Draft] = []
        self.vessels: dict[str, Vessel] = {}
        self.vessel_of_equipment = {
            identity(row): required(row, "vessel_id") for row in world.source.equipment
        }
        self.quarantined: dict[tuple[str, str], set[str]] = {}
        self.pending: set[str] = set()

    def company_is_sound(self, company_id: str) -> bool:
        """Whether a selected company is written."""
        return not self.world.findings.errors("company", company_id)

    def users_written(self) -> set[str]:
        """The users of the source that are in the target."""
        return {
            made.source_id
            for made in self.users
            if self.company_is_sound(required(made.source, "company_id"))
            and not self.world.findings.keeps_out("user", made.source_id)
        }

    def is_lost(self, equipment_id: str) -> bool:
        """Whether an equipment is quarantined for its own error (where errors fail their vessel, none is)."""
        return self.on_error == "quarantine" and bool(self.world.findings.errors("equipment", equipment_id))

    def with_fate(self, fate: Fate) -> set[str]:
        """The vessels that end so."""
        return {vessel_id for vessel_id, vessel in self.vessels.items() if vessel.fate == fate}

    def decide(self) -> None:
        """Gives every vessel its fate, looks at the ends of the references, and fills the quarantine."""
        for vessel in self.vessels.values():
            vessel.fate = self._fate(vessel)
        for vessel in self.vessels.values():
            for reference in vessel.references:
                self._settle_ends(vessel, reference)
        self._quarantine()

    def _fate(self, vessel: Vessel) -> Fate:
        if self.on_error == "fail":
            wrong = any(self._errors(made) for made in vessel.all())
            return "failed" if wrong or self._cause(vessel) else "done"
        return "quarantined" if self._cause(vessel) else "done"

    def _errors(self, made: Draft) -> set[str]:
        return self.world.findings.errors(made.entity, made.source_id)

    def _cause(self, vessel: Vessel) -> set[str]:
        """What keeps a whole vessel out: errors of its own row, and of its company's."""
        company_id = required(vessel.own.source, "company_id")
        return self._errors(vessel.own) | self.world.findings.errors("company", company_id)

    def _settle_ends(self, vessel: Vessel, reference: Draft) -> None:
        ends = {column: self._end(vessel, required(reference.source, column)) for column in ENDS}
        find_missing_ends(reference, ends)
        kept_out = self.world.findings.keeps_out("cross_reference", reference.source_id)
        if vessel.fate == "done" and not kept_out and End.NOT_YET in ends.values():
            self.pending.add(reference.source_id)

    def _end(self, vessel: Vessel, equipment_id: str) -> End:
        """What becomes of an equipment that a reference of this vessel names.

        A vessel that is quarantined whole gives its own references its own cause, not that of a missing end.
        """
        other = self.vessels.get(self.vessel_of_equipment.get(equipment_id, ""))
        if equipment_id not in self.vessel_of_equipment or self.is_lost(equipment_id):
            return End.NEVER
        if other is None or other.fate == "failed":
            return End.NOT_YET
        if other.fate == "quarantined" and other is not vessel:
            return End.NEVER
        return End.THERE

    def _quarantine(self) -> None:
        findings = self.world.findings
        for made in self.companies:
            if self.on_error == "quarantine":
                self._keep_out(made, findings.errors("company", made.source_id))
        for made in self.users:
            company_errors = findings.errors("company", required(made.source, "company_id"))
            cause = company_errors if self.on_error == "quarantine" else set()
            self._keep_out(made, findings.keeps_out("user", made.source_id) | cause)
        for vessel in self.vessels.values():
            if vessel.fate == "failed":
                continue
            for made in vessel.all():
                self._keep_out(made, findings.keeps_out(made.entity, made.source_id) | self._cause(vessel))

    def _keep_out(self, made: Draft, codes: set[str]) -> None:
        if codes:
            self.quarantined[made.entity, made.source_id] = codes

    def _stays_away(self, made: Draft) -> bool:
        waits = made.entity == "cross_reference" and made.source_id in self.pending
        return waits or (made.entity, made.source_id) in self.quarantined

    def arriving(self) -> list[Draft]:
        """The drafts whose rows end in the target."""
        written = self.users_written()
        arriving = [made for made in self.companies if self.company_is_sound(made.source_id)]
        arriving += [made for made in self.users if made.source_id in written]
        for vessel in self.vessels.values():
            if vessel.fate == "done":
                arriving += [made for made in vessel.all() if not self._stays_away(made)]
        return arriving
