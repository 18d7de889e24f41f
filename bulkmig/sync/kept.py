"""What the ledger has of rows that stay in the target although the source has them no more, and of rows that
wait to come."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from bulkmig._core.declare import Entity
from bulkmig.postgres.session import Connection
from bulkmig.sync import conflicts

# Why rows are retained: what they hang on is; the brake holds; what they would hang on isn't there.
WITH_PARENT, BY_BRAKE, WITHOUT_PARENT = "with_parent", "brake", "without_parent"
# Those that go when that is over.
FOR_NOW = (WITH_PARENT, BY_BRAKE, WITHOUT_PARENT)
IN_USE = "in_use"


async def pending(connection: Connection, vessels: Collection[str], entity: Entity) -> dict[str, str]:
    """The vessels' rows that wait for other vessels: source id -> the run since which they do."""
    rows = await connection.fetch(
        "SELECT source_id::text AS id, run_id::text AS run FROM bulkmig.pending"
        " WHERE entity = $1 AND vessel_id = ANY ($2::text[]::uuid[])",
        entity.name,
        sorted(vessels),
    )
    return {row["id"]: row["run"] for row in rows}


class Kept(NamedTuple):
    """Why a row stays, its target id, and whose it is (source id; None: a company or user)."""

    reason: str
    id: str
    vessel: str | None


async def retained(connection: Connection, vessels: Sequence[str]) -> dict[tuple[str, str], Kept]:
    """(entity, source id) -> what is kept of the rows of these vessels (or of none) that stay on purpose."""
    rows = await connection.fetch(
        "SELECT entity, source_id::text, reason, target_id::text, vessel_id::text FROM bulkmig.retained"
        f" WHERE {conflicts.OF_THESE}",
        list(vessels),
    )
    return {
        (row["entity"], row["source_id"]): Kept(row["reason"], row["target_id"], row["vessel_id"])
        for row in rows
    }
