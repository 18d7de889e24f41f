"""company → companies, company_settings"""

from __future__ import annotations

import functools
import zoneinfo
from typing import NamedTuple

from tests.oracle.draft import Draft, World
from tests.oracle.jsontext import member, text_or
from tests.oracle.moments import MomentKey, moment_key
from tests.oracle.source import SourceRow, identity, required
from tests.oracle.text import is_address

SLUG_LENGTH = 50
BRANDING = (
    ("logo_url", "logo", "/assets/logos/default.svg"),
    ("primary_color", "primaryColor", "#0066CC"),
    ("secondary_color", "secondaryColor", "#E6F2FF"),
)


class Slug(NamedTuple):
    """The slug that a company gets."""

    text: str
    suffixed: bool


@functools.cache
def zone_names() -> set[str]:
    """The IANA zones that this machine knows (with no system database: those of the package tzdata)."""
    return zoneinfo.available_timezones()


def by_creation(row: SourceRow) -> tuple[MomentKey, str]:
    """The order in which slugs and e-mail addresses are given out."""
    return moment_key(required(row, "created_at")), identity(row)


def base_slug(code: str) -> str:
    """The slug of a code, before any other company is looked at."""
    kept = "abcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(character if character in kept else "-" for character in code.lower())[:SLUG_LENGTH]


def slugs(world: World) -> dict[str, Slug]:
    """The slugs of all companies of the source, selected or not."""
    own = {required(row, "slug") for row in world.target.tables["companies"]}
    given: dict[str, Slug] = {}
    taken: set[str] = set()
    for company in sorted(world.source.companies, key=by_creation):
        base = base_slug(company["code"] or "")
        slug = Slug(base, suffixed=False)
        number = 2
        while slug.text in taken or (slug.suffixed and slug.text in own):
            suffix = f"-{number}"
            slug = Slug(base[: SLUG_LENGTH - len(suffix)] + suffix, suffixed=True)
            number += 1
        taken.add(slug.text)
        given[identity(company)] = slug
    return given


def draft(world: World, company: SourceRow, slug: Slug) -> Draft:
    """The rows of one company."""
    made = Draft(world, "company", company)
    settings = made.json("settings")
    branding = member(settings.value, "branding")

    made.put("companies", "name", company["name"], "name")
    made.refer("companies", {"slug": slug.text})
    for column, key, default in BRANDING if not settings.unstorable else ():
        made.put("companies", column, text_or(member(branding, key), default), "settings")
    made.copy("companies", "created_at", "updated_at")
    made.copy("company_settings", "contact_email", "contact_phone", "timezone", "is_active")
    made.copy_json("company_settings", "original_settings", settings)

    if slug.suffixed:
        made.note("company.slug_collision")
    timezone = company["timezone"]
    if timezone is not None and timezone not in zone_names():
        made.note("company.timezone_unknown")
    email = company["contact_email"]
    if email is not None and not is_address(email):
        made.note("company.email_invalid")

    if not slug.suffixed and not world.findings.errors("company", made.source_id):
        for own in world.target.tables["companies"]:
            if own["slug"] == slug.text:
                made.note("company.adopted")
                world.adopt("company", made.source_id, own)
    own_id = world.target_id("company", made.source_id)
    made.refer("companies", {"id": own_id})
    made.refer("company_settings", {"company_id": own_id})
    return made
