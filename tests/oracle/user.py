"""user → users, user_metadata"""

from __future__ import annotations

from tests.oracle.company import by_creation
from tests.oracle.draft import Draft, World
from tests.oracle.rules import Findings
from tests.oracle.source import SourceRow, identity, required
from tests.oracle.target import TargetRow
from tests.oracle.text import is_address

ROLES = {
    "SUPER_ADMIN": "admin",
    "ADMIN": "admin",
    "MANAGER": "manager",
    "TECHNICIAN": "technician",
    "HSE_OFFICER": "technician",
    "VIEWER": "technician",
}
FLAGS = {"HSE_OFFICER": "hse_officer", "VIEWER": "limited_permissions"}


def draft(world: World, user: SourceRow) -> Draft:
    """The rows of one user, looked at alone; `settle` decides about the e-mail address and the id."""
    made = Draft(world, "user", user)
    settings = made.json("settings")
    role, email = user["role"], user["email"]

    made.refer("users", {"company_id": world.target_id("company", required(user, "company_id"))})
    made.copy("users", "email", "password_hash", "first_name", "last_name", "avatar_url", "is_active")
    made.copy("users", "created_at", "updated_at")
    if role in ROLES:
        made.put("users", "role", ROLES[role], "role")
        made.put("user_metadata", "original_role", role, "role")
    else:
        made.note("user.role_unknown")
    made.put("user_metadata", "phone", user["phone"], "phone")
    made.copy_json("user_metadata", "settings", settings)
    made.put_json("user_metadata", "flags", {FLAGS[role]: True} if role in FLAGS else {})

    if email is not None and not is_address(email):
        made.note("user.email_invalid")
    return made


def winners(world: World) -> dict[str, str]:
    """By lower-cased e-mail: the one user of the whole source who may have it."""
    unnoticed = World(world.source, world.target, world.year, Findings())
    first: dict[str, str] = {}
    for user in sorted(world.source.users, key=by_creation):
        draft(unnoticed, user)
        if not unnoticed.findings.errors("user", identity(user)):
            first.setdefault(required(user, "email").lower(), identity(user))
    return first


def settle(made: Draft, winner_of: dict[str, str], *, company_is_written: bool) -> None:
    """Whether the user gets the e-mail address, and under which id."""
    world = made.world
    if not world.findings.errors("user", made.source_id):
        email = required(made.source, "email")
        if winner_of[email.lower()] != made.source_id:
            made.note("user.email_duplicate")
        elif company_is_written:
            holders = [
                row for row in world.target.tables["users"] if required(row, "email").lower() == email.lower()
            ]
            company_id = made.rows["users"]["company_id"]
            if any(row["company_id"] != company_id for row in holders):
                made.note("user.email_taken")
            elif holders:
                made.note("user.adopted")
                world.adopt("user", made.source_id, min(holders, key=lambda row: _preference(row, email)))
    own_id = world.target_id("user", made.source_id)
    made.refer("users", {"id": own_id})
    made.refer("user_metadata", {"user_id": own_id})


def _preference(row: TargetRow, email: str) -> tuple[bool, str]:
    """The exact address first, then the lowest id."""
    return row["email"] != email, required(row, "id")
