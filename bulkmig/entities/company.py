"""company → companies, company_settings (mapping.md). Slugs are decided beforehand: `decide.py`."""

from __future__ import annotations

from importlib.resources import files

import polars as pl

from bulkmig._core import jsontext
from bulkmig._core.declare import Cell, Column, Entity, Kind, Rule, Table, copied, text
from bulkmig._core.unit import Unit
from bulkmig.entities._rules import bad_email

# The package's own list: the machine's zone files differ from one to the next.
TIME_ZONES = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
DEFAULTS = {
    "logo": "/assets/logos/default.svg",
    "primaryColor": "#0066CC",
    "secondaryColor": "#E6F2FF",
}


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    decisions = unit.decisions
    brandings = [
        jsontext.members(jsontext.members(settings).get("branding")) for settings in frame["settings"]
    ]
    values = {
        f"~{key}": pl.Series(
            [jsontext.string(branding.get(key)) or None for branding in brandings], dtype=pl.String
        )
        for key in DEFAULTS
    }
    ids = frame["id"].to_list()
    slugs = [decisions.slugs.get(id_, "") for id_ in ids]
    return frame.with_columns(
        **values,
        **{
            "~slug": pl.Series(slugs, dtype=pl.String),
            "~suffixed": pl.Series(
                [is_suffixed(slug, code or "") for slug, code in zip(slugs, frame["code"], strict=True)],
                dtype=pl.Boolean,
            ),
            "~adopted": pl.Series([("company", id_) in decisions.adopted for id_ in ids], dtype=pl.Boolean),
        },
    )


def is_suffixed(slug: str, code: str) -> bool:
    """Whether a number was appended to the code's slug. One that was assigned for an earlier code is another
    slug altogether."""
    base, (stem, dash, number) = base_slug(code), slug.rpartition("-")
    return slug != base and number.isdigit() and stem == base[: MAX_SLUG - len(dash + number)]


def base_slug(code: str) -> str:
    """The slug of a code before collisions: at most 50 characters of a-z, 0-9 and hyphens."""
    return "".join(c if c in _SLUG else "-" for c in code.lower())[:MAX_SLUG]


MAX_SLUG = 50
_SLUG = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")


def _branding(key: str) -> Cell:
    return Cell(pl.coalesce(pl.col(f"~{key}"), pl.lit(DEFAULTS[key])), "settings")


def _defaulted(code: str, key: str) -> Rule:
    return Rule(
        code, "settings", pl.col(f"~{key}").is_null(), "no branding: default", lossy=True, reported=False
    )


ENTITY = Entity(
    name="company",
    source="companies",
    digit="1",
    scope="fleet",
    owner="id",
    columns=(
        Column("id", Kind.ID),
        Column("name"),
        Column("code"),
        Column("contact_email", personal=True),
        Column("contact_phone", personal=True),
        Column("timezone"),
        Column("settings", Kind.JSON),
        Column("is_active", Kind.BOOLEAN),
        Column("created_at", Kind.TIMESTAMP),
        Column("updated_at", Kind.TIMESTAMP),
    ),
    prepare=_prepare,
    rules=(
        Rule(
            "company.slug_collision",
            "code",
            pl.col("~suffixed"),
            "another company has this slug: a number was appended",
            lossy=True,
        ),
        Rule(
            "company.adopted",
            "code",
            pl.col("~adopted"),
            "the target's company with this slug is taken over",
            sound=True,
        ),
        Rule(
            "company.timezone_unknown",
            "timezone",
            ~pl.col("timezone").is_in(TIME_ZONES),
            "not an IANA time zone: correct it in the source",
        ),
        Rule("company.email_invalid", "contact_email", bad_email("contact_email"), "not an e-mail address"),
        _defaulted("company.logo_defaulted", "logo"),
        _defaulted("company.primary_color_defaulted", "primaryColor"),
        _defaulted("company.secondary_color_defaulted", "secondaryColor"),
    ),
    tables=(
        Table(
            "companies",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                **copied("name"),
                "slug": Cell(pl.col("~slug"), "code", kept=True),
                "logo_url": _branding("logo"),
                "primary_color": _branding("primaryColor"),
                "secondary_color": _branding("secondaryColor"),
                **copied("created_at", "updated_at"),
            },
        ),
        Table(
            "company_settings",
            ("company_id",),
            {
                "company_id": Cell(pl.col("@id"), "id"),
                **copied(
                    "contact_email",
                    "contact_phone",
                    "timezone",
                    "is_active",
                    personal=("contact_email", "contact_phone"),
                ),
                "original_settings": text("settings", json=True),
            },
        ),
    ),
)
