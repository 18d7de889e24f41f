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
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from bulkmig._core.declare import Entity
from bulkmig.entities import PER_VESSEL
from bulkmig.postgres.session import Connection, pairs

# How many transaction ids the server has given out since that of the row's; of an earlier epoch, by so many
# whole epochs less.
_AGE = "age(t.xmin)::bigint & 4294967295"
_CLUSTER = """
SELECT current_database() || '@' || (SELECT system_identifier::text FROM pg_control_system()) AS cluster,
       pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS horizon, x.id AS latest,
       age((x.id & 4294967295)::text::xid) AS since
  FROM (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS id) x
"""


class Seen(Struct):
    """What is seen of some vessels in one snapshot of the source. `keys`: vessel -> a sum over its keys."""

    cluster: str
    horizon: int
    keys: dict[str, str] = field(default_factory=dict)


class Looked(Struct):
    """What one look at vessels' rows has found. `latest`: the newest transaction id that it knows of,
    as ages count it; `rows`: (entity, vessel, number of rows, sum over their keys, age of the newest)."""

    cluster: str
    horizon: int
    latest: int
    rows: Sequence[Any]


async def look(source: Connection, vessels: Collection[str]) -> Looked:
    """Looks at these vessels' rows. Within a transaction: ages count from its first look."""
    row = (await source.fetch(_CLUSTER))[0]
    queries = [_query(entity) for entity in PER_VESSEL]
    queries += [_abroad(entity) for entity in PER_VESSEL if entity.ancestors]
    query = " UNION ALL ".join(f"({one})" for one in queries)
    rows = await source.fetch(query, list(vessels))
    return Looked(row["cluster"], row["horizon"], row["latest"] + row["since"], rows)


async def cluster(source: Connection) -> str:
    """What tells this source's transaction ids from another one's."""
    return str((await source.fetch(_CLUSTER))[0]["cluster"])


async def written_since(
    source: Connection, vessels: Collection[str], horizon: int
) -> dict[str, dict[str, str]]:
    """Entity -> source id -> vessel, of rows of these vessels that a transaction which is not older than this
    horizon has written, or has written what they hang on."""
    row = (await source.fetch(_CLUSTER))[0]
    found: dict[str, dict[str, str]] = {}
    for entity in PER_VESSEL:
        if entity.name == "vessel" or not entity.tables:
            continue
        owner, parent, newest = "t.vessel_id", "", _AGE
        if entity.through is not None:
            table, column = entity.through
            owner, parent = "p.vessel_id", f" JOIN {table} p ON p.id = t.{column}"
            newest = f"least({_AGE}, {_AGE.replace('t.xmin', 'p.xmin')})"
        rows = await source.fetch(
            f"SELECT t.id::text, {owner}::text FROM {entity.source} t{parent}"
            f" WHERE {owner} = ANY ($1::text[]::uuid[]) AND {newest} <= $2",
            list(vessels),
            row["latest"] + row["since"] - horizon,
        )
        found[entity.name] = pairs(rows)
    return found


def compare(looked: Looked, horizons: Mapping[str, int]) -> tuple[Seen, dict[str, set[str]]]:
    """What is seen of these vessels now, all of which were looked at, maybe among others; per entity those
    with rows of transactions that are not older than the vessel's horizon."""
    changed: defaultdict[str, set[str]] = defaultdict(set)
    sums: defaultdict[str, list[str]] = defaultdict(list)
    for entity, vessel, n, keys, age in looked.rows:
        if vessel in horizons:
            sums[vessel].append(f"{entity} {n} {keys}")
            if age <= looked.latest - horizons[vessel]:
                changed[entity].add(vessel)
    keys = {vessel: _digest(sums[vessel]) for vessel in horizons}
    return Seen(looked.cluster, looked.horizon, keys), changed


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
        f" sum({key})::text AS keys, min({_AGE}) AS age FROM {entity.source} t{parent} {entity.joins}"
        f" WHERE {owner} = ANY ($1::text[]::uuid[]) GROUP BY {owner}"
    )


def _abroad(entity: Entity) -> str:
    """The same of the rows of other vessels, whether these are looked at or not, that are read as ancestors:
    they count for the vessel that reads them."""
    source, parent = entity.source, entity.ancestors
    return (
        f"WITH RECURSIVE up AS (SELECT c.vessel_id AS vessel, t.id, t.{parent}, {_AGE} AS age"
        f" FROM {source} c JOIN {source} t ON t.id = c.{parent} AND t.vessel_id <> c.vessel_id"
        " WHERE c.vessel_id = ANY ($1::text[]::uuid[])"
        f" UNION SELECT up.vessel, t.id, t.{parent}, {_AGE} FROM up JOIN {source} t ON t.id = up.{parent})"
        f" SELECT '{entity.name}', vessel::text, count(*), sum(uuid_hash_extended(id, 0) >> 8)::text,"
        " min(age) FROM up GROUP BY vessel"
    )


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
