"""What was last seen of vessels that are up to date: from there the next sync looks for changes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct

from bulkmig.postgres.session import Connection
from bulkmig.source.changes import Seen

_KNOWN = """
SELECT v.vessel_id::text AS id, coalesce(s.horizon, 0) AS horizon, coalesce(s.keys, '') AS keys,
       coalesce(s.cluster, '') AS cluster, v.finished_at
  FROM bulkmig.vessels v LEFT JOIN bulkmig.seen s ON s.vessel_id = v.vessel_id
"""


class Known(Struct, frozen=True):
    """What was seen of one vessel (`source.changes.Seen`), and when it was last brought up to date."""

    horizon: int
    keys: str
    cluster: str
    done: datetime


async def read(connection: Connection) -> dict[str, Known]:
    """What is known, by vessel."""
    rows = await connection.fetch(_KNOWN)
    return {row["id"]: Known(row["horizon"], row["keys"], row["cluster"], row["finished_at"]) for row in rows}


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
