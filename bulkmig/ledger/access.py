"""Operators and what they may do. It keeps people from mistakes and tells who did what. What keeps them from
the databases is the databases' roles: whoever may write to the ledger could grant himself anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from bulkmig.errors import PreflightError
from bulkmig.ledger import audit
from bulkmig.ledger.audit import Who
from bulkmig.postgres.session import Connection

Permission = Literal["migrate_vessel", "sync", "rollback", "resolve_conflicts", "administer"]
PERMISSIONS: tuple[Permission, ...] = get_args(Permission)
# A vessel, or companies and users (None), and the company they belong to, as far as that is known.
Place = tuple[str | None, str | None]

_ENABLED = "SELECT enabled FROM bulkmig.access"
_GRANTED = """
SELECT scope, scope_id::text FROM bulkmig.permissions WHERE operator = lower($1) AND permission = $2
"""
_COMPANIES = """
SELECT i.source_id::text AS vessel, c.source_id::text AS company FROM bulkmig.identities i
  JOIN vessels v ON v.id = i.target_id
  JOIN bulkmig.identities c ON c.entity = 'company' AND c.target_id = v.company_id
 WHERE i.entity = 'vessel' AND i.source_id = ANY ($1::text[]::uuid[])
"""


class Denied(PreflightError):
    """The operator may not do that: nothing was touched but the audit log."""


async def enabled(connection: Connection) -> bool:
    """Whether access control is on."""
    if not await connection.fetchval("SELECT to_regclass('bulkmig.access') IS NOT NULL"):
        return False
    return bool(await connection.fetchval(_ENABLED))


async def check(
    connection: Connection,
    operator: str,
    permission: Permission,
    what: str,
    places: Iterable[Place] | None = None,
) -> None:
    """Raises Denied, and notes it in the audit log, where the operator may not do this. `places`: what it is
    about; None: everything."""
    if not await enabled(connection):
        return
    by = audit.who(operator)
    granted = {tuple(row) for row in await connection.fetch(_GRANTED, by.operator, permission)}
    if any(scope == "all" for scope, _ in granted):
        return
    if places is None:
        await _deny(connection, by, permission, what, "everything" if granted else "")
    for vessel, company in places or ():
        if ("vessel", vessel) in granted or (company is not None and ("company", company) in granted):
            continue
        where = f"vessel {vessel}" if vessel else f"company {company}" if company else "companies and users"
        await _deny(connection, by, permission, what, where if granted else "", vessel)
    if not granted:
        await _deny(connection, by, permission, what, "")


async def places(connection: Connection, vessels: Iterable[str | None]) -> list[Place]:
    """Vessels with their companies, as the target has them now."""
    wanted = list(vessels)
    rows = await connection.fetch(_COMPANIES, [vessel for vessel in wanted if vessel])
    known = {row["vessel"]: row["company"] for row in rows}
    return [(vessel, known.get(vessel) if vessel else None) for vessel in wanted]


async def _deny(
    connection: Connection, by: Who, permission: str, what: str, where: str, vessel: str | None = None
) -> None:
    said = f"{what}: no permission {permission}" + (f" for {where}" if where else "")
    await audit.alone(connection, by, "denied", said, vessel_id=vessel)
    raise Denied(
        f"{by.operator} has no permission {permission}{f' for {where}' if where else ''}",
        f"an administrator can grant it: bulkmig operators grant {by.operator} {permission}",
    )
