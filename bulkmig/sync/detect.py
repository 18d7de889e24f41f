"""Which vessels may have changed in the source since they were last seen: one query over all of them.

A row counts as changed if the transaction that wrote it is not older than every transaction that was open
when the vessel was last seen. So a transaction that commits late is not missed, whatever `updated_at` says,
nor one of a clock that was set back; what was seen already is compared once more and comes out the same.
Transaction ids are 32 bits in a row: the epoch is that of the nearest one, so rows of an earlier epoch are
compared needlessly, and no newer row is ever taken for an old one. Rows that came or went show in a sum over
the keys.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable
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
_LOCATION_ACROSS = """
SELECT DISTINCT c.vessel_id::text AS id FROM locations c LEFT JOIN locations p ON p.id = c.parent_id
 WHERE c.parent_id IS NOT NULL AND p.vessel_id IS DISTINCT FROM c.vessel_id
"""
_ASSESSED = (
    "SELECT DISTINCT vessel_id::text AS id FROM quality_scores WHERE assessed_by = ANY ($1::text[]::uuid[])"
)
_KEPT_OUT = "SELECT DISTINCT vessel_id::text AS id FROM bulkmig.quarantine WHERE entity = ANY ($1)"


@dataclass
class Seen:
    """What is seen of some vessels in one snapshot of the source. `keys`: vessel -> a sum over its keys."""

    cluster: str
    horizon: int
    keys: dict[str, str] = field(default_factory=dict)


@dataclass
class Detected:
    """`affected`: vessels to look at; `shuffled`: those among them whose rows came, went or moved."""

    now: Seen
    affected: set[str] = field(default_factory=set)
    shuffled: set[str] = field(default_factory=set)


async def detect(
    source: Connection, target: Connection, vessels: Collection[str], *, users: Collection[str]
) -> Detected:
    """Looks for changes in these vessels. `users`: source ids of those who came to the target or left it."""
    known = {
        row["id"]: row
        for row in await target.fetch(
            "SELECT vessel_id::text AS id, horizon, keys, cluster FROM bulkmig.seen"
        )
    }
    row = (await source.fetch(_CLUSTER))[0]
    found = Detected(Seen(row["cluster"], row["horizon"]))
    comparable = {
        v: known[v]["horizon"] for v in vessels if v in known and known[v]["cluster"] == row["cluster"]
    }
    changed = await _look(source, found.now, {v: comparable.get(v, 0) for v in vessels})
    for vessel in vessels:
        if vessel not in comparable or known[vessel]["keys"] != found.now.keys.get(vessel):
            found.shuffled.add(vessel)
    found.affected = found.shuffled | set().union(*changed.values())
    if changed["location"] or found.shuffled:
        found.affected |= {row["id"] for row in await source.fetch(_LOCATION_ACROSS)}
    if users:
        found.affected |= {row["id"] for row in await source.fetch(_ASSESSED, list(users))}
    if found.affected:
        waiting = [entity.name for entity in PER_VESSEL if entity.waits is not None]
        found.affected |= {row["id"] for row in await target.fetch(_KEPT_OUT, waiting)}
    found.affected &= set(vessels)
    return found


async def _look(source: Connection, now: Seen, horizons: dict[str, int]) -> defaultdict[str, set[str]]:
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
        f" sum(({key})::numeric)::text AS keys, bool_or({_XID} >= h.horizon) AS changed"
        f" FROM {entity.source} t{parent} {entity.joins} JOIN h ON h.vessel_id = {owner} CROSS JOIN now"
        f" GROUP BY {owner}"
    )


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


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
