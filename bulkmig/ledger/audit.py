"""The audit log: who did what, when. Entries are only ever added."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from bulkmig.ledger.runs import os_user
from bulkmig.postgres.session import Connection


@dataclass(frozen=True)
class Who:
    """An operator, and the machine that acted."""

    operator: str
    host: str


def who(operator: str) -> Who:
    """Who acts: the operator named, or else the OS user, on this machine."""
    return Who(operator or os_user(), platform.node())


async def entry(
    connection: Connection,
    by: Who,
    action: str,
    summary: str,
    *,
    run_id: str | None = None,
    vessel_id: str | None = None,
) -> None:
    """Adds an entry in the caller's transaction."""
    await connection.execute(
        "INSERT INTO bulkmig.audit (run_id, vessel_id, action, operator, host, summary)"
        " VALUES ($1::text::uuid, $2::text::uuid, $3, $4, $5, $6)",
        run_id,
        vessel_id,
        action,
        by.operator,
        by.host,
        summary,
    )
