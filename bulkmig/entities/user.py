"""user → users, user_metadata (mapping.md). Who keeps a shared e-mail is decided beforehand: `decide.py`."""

from __future__ import annotations

import polars as pl

from bulkmig._core.declare import Cell, Column, Entity, Kind, Reference, Rule, Table, copied, text
from bulkmig._core.unit import Unit
from bulkmig.entities._rules import bad_email, collapsed, mapped, unknown

ROLES = {
    "SUPER_ADMIN": "admin",
    "ADMIN": "admin",
    "MANAGER": "manager",
    "TECHNICIAN": "technician",
    "HSE_OFFICER": "technician",
    "VIEWER": "technician",
}
FLAGS = {"HSE_OFFICER": '{"hse_officer": true}', "VIEWER": '{"limited_permissions": true}'}


def _prepare(frame: pl.DataFrame, unit: Unit) -> pl.DataFrame:
    decisions = unit.decisions
    return frame.with_columns(
        pl.Series("~email", [decisions.emails.get(i) for i in frame["id"]], dtype=pl.String),
        pl.Series("~adopted", [("user", i) in decisions.adopted for i in frame["id"]], dtype=pl.Boolean),
        # Users of a company that is kept out go with it, under the company's code.
        pl.Series("~whole", [decisions.companies_out.get(c) for c in frame["company_id"]], dtype=pl.String),
    )


ENTITY = Entity(
    name="user",
    source="users",
    digit="2",
    scope="fleet",
    owner="company_id",
    after=("company",),
    columns=(
        Column("id", Kind.ID),
        Column("company_id", Kind.ID),
        Column("email", personal=True),
        Column("password_hash", personal=True),
        Column("first_name", personal=True),
        Column("last_name", personal=True),
        Column("role"),
        Column("phone", personal=True),
        Column("avatar_url", personal=True),
        Column("is_active", Kind.BOOLEAN),
        Column("settings", Kind.JSON, personal=True),
        Column("created_at", Kind.TIMESTAMP),
        Column("updated_at", Kind.TIMESTAMP),
    ),
    references=(Reference("company", "company_id", "@company"),),
    prepare=_prepare,
    rules=(
        Rule(
            "user.role_unknown",
            "role",
            unknown("role", ROLES),
            "the role is not one the mapping knows: correct it in the source",
            severity="error",
        ),
        Rule(
            "user.email_duplicate",
            "email",
            pl.col("~email") == "user.email_duplicate",
            "another user has this e-mail: give one of them another",
            quarantine=True,
        ),
        Rule(
            "user.email_taken",
            "email",
            pl.col("~email") == "user.email_taken",
            "a user of the target that can't be adopted has this e-mail",
            quarantine=True,
        ),
        Rule(
            "user.adopted",
            "email",
            pl.col("~adopted"),
            "the company's user with this e-mail in the target is taken over",
            sound=True,
        ),
        Rule("user.email_invalid", "email", bad_email("email"), "not an e-mail address"),
        Rule(
            "user.role_collapsed",
            "role",
            collapsed("role", ROLES),
            "several roles map to this one",
            lossy=True,
            reported=False,
        ),
    ),
    tables=(
        Table(
            "users",
            ("id",),
            {
                "id": Cell(pl.col("@id"), "id"),
                "company_id": Cell(pl.col("@company"), "company_id"),
                **copied(
                    "email",
                    "password_hash",
                    "first_name",
                    "last_name",
                    personal=("email", "password_hash", "first_name", "last_name"),
                ),
                "role": Cell(mapped("role", ROLES, "technician"), "role"),
                **copied("avatar_url", "is_active", "created_at", "updated_at", personal=("avatar_url",)),
            },
            holds={"has a role of the portal": pl.col("role").is_in(sorted(set(ROLES.values())))},
        ),
        Table(
            "user_metadata",
            ("user_id",),
            {
                "user_id": Cell(pl.col("@id"), "id"),
                "original_role": Cell(pl.col("role"), "role"),
                "flags": Cell(mapped("role", FLAGS, "{}"), "role", json=True),
                "phone": text("phone", personal=True),
                "settings": text("settings", personal=True, json=True),
            },
        ),
    ),
)
