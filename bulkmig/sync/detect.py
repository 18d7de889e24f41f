"""Which vessels a sync has to look at: those whose rows may have changed, and those that read other's rows.

What was seen already and is looked at once more comes out the same; what is not looked at can't have changed.
"""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct, field

from bulkmig.ledger import seen
from bulkmig.postgres.session import Connection
from bulkmig.source.changes import Looked, Seen, compare, look

_ASSESSED = """
SELECT DISTINCT vessel_id::text AS id, assessed_by::text AS "user" FROM quality_scores
 WHERE assessed_by = ANY ($1::text[]::uuid[])
"""
# Users who came in runs that began after that.
_CAME = """
SELECT i.source_id::text AS id, r.started_at FROM bulkmig.identities i JOIN bulkmig.runs r ON r.id = i.run_id
 WHERE i.entity = 'user' AND r.started_at > $1
"""


class Detected(Struct):
    """`affected`: vessels to look at; `shuffled`: those among them whose rows came, went or moved. `changed`:
    entity -> vessels with rows of it that may have been written."""

    now: Seen
    affected: set[str] = field(default_factory=set)
    shuffled: set[str] = field(default_factory=set)
    changed: dict[str, set[str]] = field(default_factory=dict)


async def naming(source: Connection, users: Collection[str]) -> list[tuple[str, str]]:
    """The vessels with rows that name these users (source ids), each with whom they name."""
    rows = await source.fetch(_ASSESSED, list(users)) if users else ()
    return [(row["id"], row["user"]) for row in rows]


async def detect(
    source: Connection,
    target: Connection,
    vessels: Collection[str],
    *,
    users: Collection[str],
    looked: Looked | None = None,
) -> Detected:
    """Looks for changes in these vessels. `users`: source ids of those who came to the target or left it;
    `looked`: what a look at these vessels' rows in the same snapshot has found, if there was one."""
    known = await seen.read(target)
    horizons = {vessel: known[vessel].horizon if vessel in known else 0 for vessel in vessels}
    now, changed = compare(looked or await look(source, vessels), horizons)
    found = Detected(now, changed=changed)
    for vessel in vessels:
        before = known.get(vessel)
        # Another cluster counts other transactions: the source was restored from a dump.
        if before is None or (before.cluster, before.keys) != (now.cluster, now.keys.get(vessel)):
            found.shuffled.add(vessel)
    found.affected = found.shuffled | set().union(*changed.values())
    done = {vessel: known[vessel].done for vessel in vessels if vessel in known}
    came = await target.fetch(_CAME, min(done.values())) if done else []
    since = {row["id"]: row["started_at"] for row in came}
    for vessel, user in await naming(source, {*users, *since}):
        if user in users or (vessel in done and user in since and since[user] > done[vessel]):
            found.affected.add(vessel)
    found.affected &= set(vessels)
    return found
