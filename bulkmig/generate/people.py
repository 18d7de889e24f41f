"""Clean rows of companies and their users."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random

from bulkmig.generate import clock, words
from bulkmig.generate.frame import Row
from bulkmig.generate.ids import uuid


@dataclass(slots=True)
class Company:
    """A company, and what vessels need to know of it."""

    id: str
    users: list[str] = field(default_factory=list)
    """Users whose rows are clean: they will be in the target if the company is."""


def company_row(rng: Random, number: int, id_: str) -> dict[str, str | None]:
    """A company with a code that no other number has."""
    name = f"{rng.choice(words.COMPANY_FIRST)} {rng.choice(words.COMPANY_SECOND)}"
    settings: dict[str, object] = {"units": rng.choice(("metric", "imperial")), "locale": "en"}
    if rng.random() < 0.7:
        colour = rng.randrange(1 << 24)
        settings["branding"] = {
            "logo": f"https://assets.example.com/logos/{number}.svg",
            "primaryColor": f"#{colour:06X}",
            "secondaryColor": f"#{colour ^ 0xFFFFFF:06X}",
        }
    created, updated = rng.choice(clock.changes())
    return {
        "id": id_,
        "name": name,
        "code": f"{''.join(word[0] for word in name.split())}{number:04}",
        "contact_email": f"fleet@{domain(number)}",
        "contact_phone": f"+{rng.randrange(30, 90)} {rng.randrange(10**8, 10**9)}",
        "timezone": rng.choice(words.TIMEZONES),
        "settings": json.dumps(settings),
        "is_active": "t",
        "created_at": created,
        "updated_at": updated,
    }


def user_row(rng: Random, number: int, company: Row, company_number: int) -> dict[str, str | None]:
    """A user of the company, with an e-mail that no other number has."""
    first, last = rng.choice(words.FIRST_NAMES), rng.choice(words.LAST_NAMES)
    created, updated = rng.choice(clock.changes())
    return {
        "id": uuid(rng),
        "company_id": company["id"],
        "email": f"user{number:05}@{domain(company_number)}",
        "password_hash": f"$2b$12${rng.getrandbits(212):053x}",
        "first_name": first,
        "last_name": last,
        "role": rng.choice(words.ROLES),
        "phone": f"+{rng.randrange(30, 90)} {rng.randrange(10**8, 10**9)}" if rng.random() < 0.6 else None,
        "avatar_url": f"https://assets.example.com/avatars/{number}.png" if rng.random() < 0.3 else None,
        "is_active": "t" if rng.random() < 0.95 else "f",
        "settings": json.dumps({"theme": rng.choice(("light", "dark")), "notifications": {"email": True}}),
        "created_at": created,
        "updated_at": updated,
    }


def domain(number: int) -> str:
    """The domain of the company with this number; example.com is reserved for such uses."""
    return f"company{number:04}.example.com"
