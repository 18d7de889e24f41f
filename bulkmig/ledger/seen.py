"""What was last seen of vessels that are up to date: from there the next sync looks for changes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bulkmig.postgres.session import Connection
from bulkmig.source.changes import Seen


@dataclass(frozen=True)
class Known:
    """What was seen of one vessel: `source.changes.Seen`."""

    horizon: int
    keys: str
    cluster: str


async def read(connection: Connection) -> dict[str, Known]:
    """What is known, by vessel."""
    rows = await connection.fetch("SELECT vessel_id::text AS id, horizon, keys, cluster FROM bulkmig.seen")
    return {row["id"]: Known(row["horizon"], row["keys"], row["cluster"]) for row in rows}


async def remember(target: Connection, seen: Seen, vessels: Collection[str]) -> None:
    """Records what was seen of vessels that are up to date with it."""
    ids = [vessel for vessel in vessels if vessel in seen.keys]
    await target.execute(
        "INSERT INTO bulkmig.seen (vessel_id, horizon, keys, cluster)"
        " SELECT v, $3, k, $4 FROM unnest($1::text[]::uuid[], $2::text[]) AS u (v, k)"
        " ON CONFLICT (vessel_id) DO UPDATE SET horizon = excluded.horizon, keys = excluded.keys,"
        " cluster = excluded.cluster",
        ids,
        [seen.keys[vessel] for vessel in ids],
        seen.horizon,
        seen.cluster,
    )
