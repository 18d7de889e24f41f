"""`bulkmig operators`: who may do what, and whether that is asked at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct

from bulkmig.config import Settings
from bulkmig.errors import UsageError
from bulkmig.ledger import access, audit
from bulkmig.ledger.access import PERMISSIONS, Permission
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import transaction
from bulkmig.preflight import target_only

_LIST = """
SELECT operator, permission, scope, nullif(scope_id::text, $1) AS scope_id, granted_by, granted_at
  FROM bulkmig.permissions ORDER BY operator, permission, scope, scope_id
"""
_GRANT = """
INSERT INTO bulkmig.permissions (operator, permission, scope, scope_id, granted_by)
VALUES (lower($1), $2, $3, $4::text::uuid, $5) ON CONFLICT DO NOTHING
"""
_REVOKE = """
DELETE FROM bulkmig.permissions
 WHERE operator = lower($1) AND permission = $2 AND scope = $3 AND scope_id = $4::text::uuid
"""
# Whoever looks at who administers decides before anybody else changes that.
_ALONE = "LOCK TABLE bulkmig.access, bulkmig.permissions IN SHARE ROW EXCLUSIVE MODE"
_ADMINISTERS = """
SELECT EXISTS (SELECT FROM bulkmig.permissions WHERE permission = 'administer' AND scope = 'all'
                  AND ($1::text IS NULL OR operator = lower($1)))
"""


class Scope(Struct, frozen=True):
    """Where a permission holds: everywhere, for a company or for a vessel, by its id in the source."""

    kind: str = "all"
    id: str = NIL

    def __str__(self) -> str:
        return "everything" if self.kind == "all" else f"{self.kind} {self.id}"


def scope(vessel: str | None = None, company: str | None = None) -> Scope:
    """Raises UsageError for what is no id, and for both at once."""
    if vessel and company:
        raise UsageError("a permission is for a vessel or for a company", "grant it twice")
    kind, text = ("vessel", vessel) if vessel else ("company", company)
    if not text:
        return Scope()
    try:
        return Scope(kind, str(UUID(text)))
    except ValueError:
        raise UsageError(f"{text!r} is no id of a {kind} (UUID)", "as the source has it") from None


async def listed(settings: Settings) -> dict[str, Any]:
    """Whether access control is on, and all permissions."""
    async with target_only(settings, current=True) as target:
        rows = await target.fetch(_LIST, NIL)
        return {
            "enabled": await access.enabled(target),
            "permissions": [{**dict(row), "granted_at": row["granted_at"].isoformat()} for row in rows],
        }


async def grant(settings: Settings, operator: str, permissions: Sequence[str], where: Scope) -> int:
    """Grants permissions; returns how many are new. Raises UsageError and Denied."""
    return await _change(settings, "granted", operator, permissions, where)


async def revoke(settings: Settings, operator: str, permissions: Sequence[str], where: Scope) -> int:
    """Takes permissions away; returns how many there were. Raises UsageError, also for the last administrator
    while access control is on, and Denied."""
    return await _change(settings, "revoked", operator, permissions, where)


async def _change(
    settings: Settings, action: str, operator: str, permissions: Sequence[str], where: Scope
) -> int:
    chosen = [_permission(name, where) for name in permissions]
    by, done = audit.who(settings.operator), 0
    async with target_only(settings, unsealed=True, current=True, writing=True) as target:
        await access.check(target, settings.operator, "administer", f"operators {action}")
        async with transaction(target):
            await target.execute(_ALONE)
            for permission in chosen:
                values = [operator, permission, where.kind, where.id]
                query = _GRANT if action == "granted" else _REVOKE
                values += [by.operator] if action == "granted" else []
                changed = int((await target.execute(query, *values)).rpartition(" ")[2])
                done += changed
                if changed:
                    said = f"{permission} for {where}: {operator}"
                    await audit.entry(target, by, action, said)
            if await access.enabled(target) and not await target.fetchval(_ADMINISTERS, None):
                raise UsageError("nobody could administer any more", "turn access control off first")
    return done


async def turn(settings: Settings, *, on: bool) -> None:
    """Turns access control on or off. Raises UsageError where whoever turns it on could not turn it off."""
    by = audit.who(settings.operator)
    async with target_only(settings, unsealed=True, current=True, writing=True) as target:
        await access.check(target, settings.operator, "administer", f"access control {'on' if on else 'off'}")
        async with transaction(target):
            await target.execute(_ALONE)
            if on and not await target.fetchval(_ADMINISTERS, by.operator):
                raise UsageError(
                    f"{by.operator} could not administer any more",
                    f"first: bulkmig operators grant {by.operator} administer",
                )
            await target.execute("UPDATE bulkmig.access SET enabled = $1", on)
            await audit.entry(target, by, "access control", "on" if on else "off")


def _permission(name: str, where: Scope) -> Permission:
    for permission in PERMISSIONS:
        if name == permission:
            if permission == "administer" and where.kind != "all":
                raise UsageError("administer is for everything", "leave the scope out")
            return permission
    raise UsageError(f"there is no permission {name!r}", f"one of {', '.join(PERMISSIONS)}")
