"""Clean rows of vessels and their locations."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random

from bulkmig.generate import clock, words
from bulkmig.generate.frame import Frame, Row
from bulkmig.generate.ids import uuids


class Kind(Enum):
    """What a vessel is in the fleet for."""

    FLEET = auto()
    """One of those that the spec asks for."""
    HIDDEN = auto()
    """Not APPROVED, so that others may point at what isn't selected."""
    FAILING = auto()
    """Of a company that is an error."""
    EMPTY = auto()
    """Nothing on it."""
    BROKEN = auto()
    """Every row of it is broken."""
    CARRIER = auto()
    """Every row of it may carry traps."""


@dataclass(frozen=True, slots=True)
class Vessel:
    """A vessel to generate."""

    id: str
    company: str
    status: str
    equipment: int
    errors: bool
    """Whether it may hold traps that are errors."""
    kind: Kind = Kind.FLEET
    users: list[str] = field(default_factory=list)
    """Users that its rows may name."""

    @property
    def approved(self) -> bool:
        """Whether a migration of all vessels takes it."""
        return self.status == "APPROVED"


def vessel_row(rng: Random, vessel: Vessel, imo_number: str) -> Row:
    """The row of a vessel."""
    name = f"{rng.choice(words.SHIP_PREFIX)} {rng.choice(words.SHIP_FIRST)} {rng.choice(words.SHIP_SECOND)}"
    built, crew = rng.randrange(1992, 2024), rng.randrange(12, 60)
    image = (
        f', "image_url": "https://assets.example.com/vessels/{imo_number}.jpg"' if rng.random() < 0.6 else ""
    )
    created, updated = rng.choice(clock.changes())
    return {
        "id": vessel.id,
        "company_id": vessel.company,
        "name": name,
        "imo_number": imo_number,
        "vessel_type": rng.choice(words.VESSEL_TYPES),
        "flag": rng.choice(words.FLAGS),
        "gross_tonnage": f"{rng.randrange(30_000, 20_000_000) / 100:.2f}",
        "year_built": str(built),
        "class_society": rng.choice(words.CLASS_SOCIETIES),
        "onboarding_status": vessel.status,
        "metadata": f'{{"call_sign": "{rng.randrange(1 << 20):05X}", "crew": {crew}{image}}}',
        "created_at": created,
        "updated_at": updated,
    }


def locations(rng: Random, vessel: str, count: int) -> Frame:
    """A vessel's location trees: decks, rooms on them, positions in the rooms."""
    ids = uuids(rng, count)
    names: list[str] = []
    parents: list[str | None] = []
    decks = list(words.DECKS)
    roots = min(count, len(decks))
    rooms: list[int] = []
    for index in range(count):
        if index < roots:
            names.append(decks[index])
            parents.append(None)
        elif index % 3 == 0 or not rooms:
            deck = rng.randrange(roots)
            names.append(rng.choice(words.DECKS[decks[deck]]))
            parents.append(ids[deck])
            rooms.append(index)
        else:
            names.append(rng.choice(words.POSITIONS))
            parents.append(ids[rng.choice(rooms)])
    return Frame.of(
        "locations",
        [location_row(rng, *row) for row in zip(ids, [vessel] * count, parents, names, strict=True)],
    )


def location_row(rng: Random, id_: str, vessel: str, parent: str | None, name: str) -> Row:
    """The row of a location."""
    created, updated = rng.choice(clock.changes())
    return {
        "id": id_,
        "vessel_id": vessel,
        "parent_id": parent,
        "name": name,
        "created_at": created,
        "updated_at": updated,
    }
