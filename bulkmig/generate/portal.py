"""Rows that the Maintenance Portal has before a migration: to be adopted, in the way, its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import TypeVar

from bulkmig.generate.load import load
from bulkmig.generate.origin import Origin, OriginEquipment, OriginUser, read_origin
from bulkmig.generate.portal_rows import PortalRows
from bulkmig.generate.spec import FleetSpec, FleetSummary

_COMPANY_ADOPTED, _COMPANY_ERROR = "portal_company_adopted", "portal_company_of_error"
_SLUG_OTHER_CASE = "portal_slug_other_case"
_SHARED_SLUGS = (
    "portal_company_adopted_first_of_slug",
    "portal_slug_suffix_taken",
    "portal_slug_suffixes_taken",
)
_USERS_OF_ADOPTED = (
    "portal_user_adopted",
    "portal_user_adopted_other_case",
    "portal_user_adopted_exact_of_two",
    "portal_user_adopted_lowest_of_two",
    "portal_email_taken_beside_candidate",
)
_USERS_OF_ANY = ("portal_email_taken", "portal_email_taken_other_case")
_VESSELS = (
    "portal_vessel_adopted",
    "portal_vessel_adopted_from_other_company",
    "portal_vessel_adopted_with_rows",
    "portal_imo_other_spelling",
)
_EQUIPMENT = ("portal_qr_taken", "portal_qr_taken_longer_too", "portal_qr_taken_by_part_of_it")
_OWN_VESSEL, _IMO_EMPTY = "portal_own_vessel", "portal_imo_empty"
PORTAL_TRAPS = tuple(
    sorted(
        {
            *(_COMPANY_ADOPTED, _COMPANY_ERROR, _SLUG_OTHER_CASE, _OWN_VESSEL, _IMO_EMPTY),
            *(_SHARED_SLUGS + _USERS_OF_ADOPTED + _USERS_OF_ANY + _VESSELS + _EQUIPMENT),
        }
    )
)
"""What `generate_portal` plants, `least` times each as far as the source has what it takes; an empty IMO
number once, and that and companies that are errors only if the source may have errors."""

T = TypeVar("T")


async def generate_portal(url: str, source_url: str, spec: FleetSpec) -> FleetSummary:
    """Fills an empty PostgreSQL target with the portal's own rows, to go with the fleet at `source_url`."""
    portal = _Portal(spec, await read_origin(source_url, equipment=20 * spec.least))
    portal.plant()
    frames = list(portal.rows.frames())
    await load(url, frames)
    rows = {frame.table: len(frame) for frame in frames if len(frame)}
    return FleetSummary(dict(sorted(rows.items())), dict(sorted(portal.traps.items())))


class _Portal:
    def __init__(self, spec: FleetSpec, origin: Origin) -> None:
        self.rng = Random(f"{spec.seed}/portal")
        self.rows = PortalRows(self.rng)
        self.traps: Counter[str] = Counter()
        self._least = spec.least
        self._errors = spec.errors > 0
        self._origin = origin
        self._qr_codes: set[str] = set()
        self._slugs: dict[str, str] = {}  # the portal's -> id of the row
        self._adopted: dict[str, str] = {}  # id of a source's company -> id of the row that it will adopt

    def plant(self) -> None:
        """Adds all rows."""
        own = [self.rows.company(f"own-fleet-{number}") for number in range(self._least + 1)]
        for number, company in enumerate(own):
            user = self.rows.user(company, f"crew@own{number}.example.com")
            self.rows.equip(self.rows.vessel(company, None), user, 4)
            self.traps[_OWN_VESSEL] += 1
        if self._errors:
            self.rows.vessel(own[0], "")
            self.traps[_IMO_EMPTY] += 1
        self._plant_companies()
        self._plant_users(own)
        self._plant_vessels(own)
        for machine, name in self._deal(self._origin.equipment, _EQUIPMENT):
            self._take_qr_code(machine, self.rows.vessel(self.rng.choice(own), None), name)

    def _plant_companies(self) -> None:
        slugs = Counter(company.slug for company in self._origin.companies)
        plain = [
            company
            for company in self._origin.companies
            # Neither shared nor one that a suffix could make.
            if slugs[company.slug] == 1 and re.search("[a-z]", company.slug)
            if re.sub(r"-\d+$", "", company.slug) not in slugs or not re.search(r"-\d+$", company.slug)
        ]
        for company in self._some([company for company in plain if not company.sound], self._least):
            self._take_slugs(_COMPANY_ERROR, company.slug)
        plain = [company for company in plain if company.sound]
        selected = [company for company in plain if company.selected]
        # Several for each trap, as the users to be adopted are theirs; but not all of a small fleet.
        for company in self._some(selected, min(6 * self._least, -(-len(selected) * 2 // 3))):
            self._adopted[company.id] = self._take_slugs(_COMPANY_ADOPTED, company.slug)
        for company in self._some([c for c in plain if c.id not in self._adopted], self._least):
            self._take_slugs(_SLUG_OTHER_CASE, company.slug.upper())
        for slug, name in self._deal(sorted(slug for slug, n in slugs.items() if n > 1), _SHARED_SLUGS):
            suffixes = {
                "portal_company_adopted_first_of_slug": ("",),
                "portal_slug_suffixes_taken": ("-2", "-3"),
            }
            self._take_slugs(name, *(slug[: 50 - len(end)] + end for end in suffixes.get(name, ("-2",))))

    def _take_slugs(self, name: str, *slugs: str) -> str:
        """Adds companies with these slugs; returns the last one's id. One that is there stays."""
        for slug in slugs:
            if slug not in self._slugs:
                self._slugs[slug] = self.rows.company(slug)
        self.traps[name] += 1
        return self._slugs[slugs[-1]]

    def _plant_users(self, own: Sequence[str]) -> None:
        emails = Counter(user.email.lower() for user in self._origin.users)
        plain = [user for user in self._origin.users if user.plain and emails[user.email] == 1]
        planted = self._deal([user for user in plain if user.company in self._adopted], _USERS_OF_ADOPTED)
        for user, name in planted:
            self._plant_user(user, name, self._adopted[user.company], self.rng.choice(own))
        done = {user.id for user, _ in planted}
        here = {company.id for company in self._origin.companies if company.selected and company.sound}
        others = [user for user in plain if user.id not in done and user.company in here]
        for user, name in self._deal(others, _USERS_OF_ANY):
            self._plant_user(user, name, "", self.rng.choice(own))

    def _plant_user(self, user: OriginUser, name: str, company: str, elsewhere: str) -> None:
        add, email = self.rows.user, user.email
        self.traps[name] += 1
        match name:
            case "portal_user_adopted":
                add(company, email)
            case "portal_user_adopted_other_case":
                add(company, email.title())
            case "portal_user_adopted_exact_of_two":
                for text in (email.upper(), email, email.title()):
                    add(company, text)
            case "portal_user_adopted_lowest_of_two":
                for text in (email.upper(), email.title()):
                    add(company, text)
            case "portal_email_taken_beside_candidate":
                add(company, email.upper())
                add(elsewhere, email)
            case "portal_email_taken":
                add(elsewhere, email)
            case _:
                add(elsewhere, email.swapcase())

    def _plant_vessels(self, own: Sequence[str]) -> None:
        sound = {company.id for company in self._origin.companies if company.sound}
        vessels = [vessel for vessel in self._origin.vessels if vessel.company in sound]
        for vessel, name in self._deal(vessels, _VESSELS):
            company = self._adopted.get(vessel.company) or self.rng.choice(own)
            if name == "portal_vessel_adopted_from_other_company":
                company = self.rng.choice(own)
            imo = vessel.imo
            if name == "portal_imo_other_spelling":
                imo = imo.removeprefix("IMO").strip() if imo.startswith("IMO") else f"IMO {imo}"
            id_ = self.rows.vessel(company, imo)
            if name == "portal_vessel_adopted_with_rows":
                self.rows.equip(id_, None, 2)
            self.traps[name] += 1

    def _take_qr_code(self, machine: OriginEquipment, vessel: str, name: str) -> None:
        digest, code = sha256(machine.id.encode()).hexdigest(), machine.code or "EQ"
        self.traps[name] += 1
        match name:
            case "portal_qr_taken":
                lengths = [6]
            case "portal_qr_taken_longer_too":
                lengths = [6, 8]
            case _:
                lengths = [5, 8]  # neither is what the equipment gets
        for length in lengths:
            qr_code = f"{code}-{digest[:length]}"
            if qr_code not in self._qr_codes:
                self._qr_codes.add(qr_code)
                self.rows.log(self.rows.equipment(vessel, qr_code), None)

    def _some(self, things: Sequence[T], count: int) -> list[T]:
        return self.rng.sample(things, min(count, len(things)))

    def _deal(self, things: Sequence[T], names: tuple[str, ...]) -> list[tuple[T, str]]:
        """As many things as there are names, `least` times, each with its name."""
        return list(zip(self._some(things, self._least * len(names)), names * self._least, strict=False))
