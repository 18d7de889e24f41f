"""What vessels' rows look like in one snapshot: which may have changed since an earlier one, and a sum over
their keys, in one query over all vessels.

A row counts as changed if the transaction that wrote it is not older than every transaction that was open
when the vessel was last seen. So a transaction that commits late is not missed, whatever `updated_at` says,
nor one of a clock that was set back. Transaction ids are 32 bits in a row: the epoch is that of the nearest
one, so rows of an earlier epoch may be taken for changed, and no newer row is ever taken for an old one.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bulkmig._core.declare import Entity
from bulkmig.entities import PER_VESSEL
from bulkmig.postgres.session import Connection

_XID = (
    "(CASE WHEN t.xmin::text::bigint > now.x & 4294967295 THEN ((now.x >> 32) - 1) << 32"
    " ELSE (now.x >> 32) << 32 END | t.xmin::text::bigint)"
)
_CLUSTER = """
SELECT current_database() || '@' || (SELECT system_identifier::text FROM pg_control_system()) AS cluster,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon
"""


@dataclass
class Seen:
    """What is seen of some vessels in one snapshot of the source. `keys`: vessel -> a sum over its keys."""

    cluster: str
    horizon: int
    keys: dict[str, str] = field(default_factory=dict)


async def see(source: Connection, horizons: Mapping[str, int]) -> tuple[Seen, dict[str, set[str]]]:
    """What is seen of these vessels now, and per entity the vessels with rows of transactions that are not
    older than the vessel's horizon."""
    row = (await source.fetch(_CLUSTER))[0]
    now = Seen(row["cluster"], row["horizon"])
    return now, await _look(source, now, horizons)


async def _look(source: Connection, now: Seen, horizons: Mapping[str, int]) -> defaultdict[str, set[str]]:
    """Fills `now.keys`; returns, per entity, the vessels with rows that may have changed."""
    changed: defaultdict[str, set[str]] = defaultdict(set)
    sums: defaultdict[str, list[str]] = defaultdict(list)
    query = " UNION ALL ".join(f"({_query(entity)})" for entity in PER_VESSEL)
    head = (
        "WITH h AS MATERIALIZED"
        " (SELECT * FROM unnest($1::text[]::uuid[], $2::bigint[]) AS h (vessel_id, horizon)),"
        " now AS MATERIALIZED (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS x) "
    )
    for row in await source.fetch(head + query, list(horizons), list(horizons.values())):
        sums[row["vessel"]].append(f"{row['entity']} {row['n']} {row['keys']}")
        if row["changed"]:
            changed[row["entity"]].add(row["vessel"])
    now.keys = {vessel: _digest(sums[vessel]) for vessel in horizons}
    return changed


def _query(entity: Entity) -> str:
    owner, parent = f"t.{'id' if entity.name == 'vessel' else 'vessel_id'}", ""
    if entity.through is not None:
        table, column = entity.through
        owner, parent = "p.vessel_id", f" JOIN {table} p ON p.id = t.{column}"
    # What is read of other rows by a join counts like a key.
    read = [column.sql for column in entity.columns if column.sql and column.sql != "t.id"]
    hashes = ["uuid_hash_extended(t.id, 0)", *(f"hashtextextended(({sql})::text, 0)" for sql in read)]
    key = " + ".join(f"coalesce({one} >> 8, 0)" for one in hashes)
    return (
        f"SELECT '{entity.name}' AS entity, {owner}::text AS vessel, count(*) AS n,"
        f" sum({key})::text AS keys, bool_or({_XID} >= h.horizon) AS changed"
        f" FROM {entity.source} t{parent} {entity.joins} JOIN h ON h.vessel_id = {owner} CROSS JOIN now"
        f" GROUP BY {owner}"
    )


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
