"""The companies of a fleet and their users, with the traps that they carry."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from bulkmig.generate import people
from bulkmig.generate.frame import Frame, Row
from bulkmig.generate.ids import uuids
from bulkmig.generate.people import Company
from bulkmig.generate.spec import FleetSpec
from bulkmig.generate.traps import companies as company_traps
from bulkmig.generate.traps.plant import Planter
from bulkmig.generate.traps.users import Users
from bulkmig.generate.world import World

# Users of the companies that are only there for the traps.
_BOTH = 0.3  # how often two of three companies whose slugs collide are selected
_CARRIER_USERS, _UNSELECTED_USERS, _FAILING_USERS = 4, 1, 2


@dataclass(frozen=True, slots=True)
class Offices:
    """All companies and users, and which companies need what vessels."""

    companies: Frame
    users: Frame
    fleet: list[Company]
    """They own the vessels that the spec asks for."""
    carriers: list[Company]
    """Their own rows carry traps, so each needs a vessel that is selected."""
    failing: list[Company]
    """They are errors, and so is each vessel of theirs."""


class _Builder:
    def __init__(self, spec: FleetSpec) -> None:
        self.rng = Random(f"{spec.seed}/people")
        self.companies: list[Row] = []
        self.users: list[Row] = []
        self.rows_of: dict[str, list[int]] = {}

    def add(self, users: int, code: str | None = None) -> Company:
        number = len(self.companies)
        row = people.company_row(self.rng, number, uuids(self.rng, 1)[0])
        if code is not None:
            row["code"] = code
        self.companies.append(row)
        company = Company(row["id"] or "")
        first = len(self.users)
        self.users += (people.user_row(self.rng, first + n, row, number) for n in range(users))
        self.rows_of[company.id] = list(range(first, len(self.users)))
        return company


def build(spec: FleetSpec, planter: Planter | None, world: World) -> Offices:
    """Makes them all at once: they are few, beside what hangs on vessels."""
    builder = _Builder(spec)
    fleet = [builder.add(spec.users_per_company) for _ in range(spec.company_count())]
    carriers: list[Company] = []
    unselected: list[Company] = []
    failing: list[Company] = []
    if planter is not None:
        for group in company_traps.codes(planter):
            selected = planter.rng.sample(
                range(len(group)), 1 + (len(group) > 2 and planter.rng.random() < _BOTH)
            )
            for place, code in enumerate(group):
                if place in selected:
                    carriers.append(builder.add(_CARRIER_USERS, code))
                else:
                    unselected.append(builder.add(_UNSELECTED_USERS, code))
        if spec.errors:
            failing = [builder.add(_FAILING_USERS) for _ in range(spec.least)]
    companies, users = Frame.of("companies", builder.companies), Frame.of("users", builder.users)
    if planter is not None:
        for row in range(len(companies) - len(failing), len(companies)):
            company_traps.plant_unstorable(planter, companies, row)
        places = {id_: row for row, id_ in enumerate(companies.columns["id"])}
        company_traps.plant(
            planter, companies, range(len(fleet)), [places[company.id] for company in carriers]
        )
        planting = Users(
            planter,
            users,
            [builder.rows_of[company.id] for company in fleet + carriers],
            [row for company in unselected for row in builder.rows_of[company.id]],
        )
        planting.plant()
        world.users_quarantined += planting.quarantined
    ids = users.columns.get("id", [])
    for company in fleet + carriers:
        company.users += (
            ids[row] for row in builder.rows_of[company.id] if users.is_free(row, "email", "role")
        )
        world.users += company.users
    world.users_unselected += (
        ids[row]
        for company in unselected
        for row in builder.rows_of[company.id]
        if users.is_free(row, "email")
    )
    return Offices(companies, users, fleet, carriers, failing)
