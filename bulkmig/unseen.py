"""Rows whose last change a vessel's snapshot doesn't see: that they deviate is no difference yet."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import asyncpg

from bulkmig._core.declare import Entity
from bulkmig.postgres.session import Connection
from bulkmig.postgres.transient import transient
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.source.queries import uuid_array
from bulkmig.weigh import Unseen


async def unseen(source: Connection, target: Connection) -> Unseen:
    """What tells such rows, by what the ledger has of the vessels' snapshots."""
    return _newer_than(source, await _snapshots(target))


async def _snapshots(target: Connection) -> dict[str | None, str]:
    """What was seen of the source when each vessel was read, and under None by the first run."""
    rows = await target.fetch(
        "SELECT v.vessel_id::text, coalesce(v.source_snapshot, r.source_snapshot) FROM bulkmig.vessels v"
        " JOIN bulkmig.runs r ON r.id = v.run_id"
        " WHERE coalesce(v.source_snapshot, r.source_snapshot) IS NOT NULL"
    )
    first = await target.fetchval(
        "SELECT source_snapshot FROM bulkmig.runs WHERE source_snapshot IS NOT NULL"
        " ORDER BY started_at LIMIT 1"
    )
    return {**{row[0]: row[1] for row in rows}, None: first}


def _newer_than(source: Connection, snapshots: Mapping[str | None, str]) -> Unseen:
    """Asks the source for rows whose last change a vessel's snapshot doesn't see, their own or their
    parent's."""

    session = anyio.Lock()  # one session serves all workers

    async def unseen(entity: Entity, source_ids: list[str], vessel: str | None, /) -> set[str]:
        snapshot = snapshots.get(vessel) or snapshots.get(None)
        if snapshot is None:
            return set()
        # A row changes its vessel with the one through which it belongs to it.
        changed, parent = "t.xmin::text::bigint", ""
        if entity.through is not None:
            table, column = entity.through
            changed += ", p.xmin::text::bigint"
            parent = f" JOIN {table} p ON p.id = t.{column}"
        # xmin has 32 bits; the epoch comes from the current transaction, one less for ids ahead of it.
        query = (
            f"SELECT DISTINCT id::text FROM (SELECT t.id, unnest(ARRAY[{changed}]) AS x,"
            " pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS now"
            f" FROM {entity.source} t{parent} WHERE t.id = ANY ({uuid_array(source_ids)})) t"
            " WHERE NOT pg_visible_in_snapshot((CASE WHEN x > now & 4294967295"
            " THEN ((now >> 32) - 1) << 32 | x ELSE (now >> 32) << 32 | x END)::text::xid8,"
            " $1::text::pg_snapshot)"
        )
        async with session:
            try:
                rows = await source.fetch(query, snapshot)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not transient(error):
                    raise
                raise SnapshotGone("the session that holds the source's snapshot is lost") from None
        return {row["id"] for row in rows}

    return unseen
