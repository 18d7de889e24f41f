"""What the target's planner knows of its tables: little, until somebody looks at what a load has brought."""

from __future__ import annotations

import asyncpg

from bulkmig.entities import TABLES
from bulkmig.postgres.session import Connection
from bulkmig.sqlite.session import on_file

# By autovacuum's own rule, which looks once a minute, and not at all where it is off. Only an owner may.
_STALE = """
SELECT c.oid::regclass::text AS name
  FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
 WHERE (c.relnamespace = to_regnamespace('bulkmig')
        OR c.oid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS given (name)))
   AND s.n_mod_since_analyze > 50 + 0.1 * greatest(c.reltuples, 0)
   AND pg_has_role(c.relowner, 'USAGE')
 ORDER BY 1
"""


async def refresh(target: Connection) -> list[str]:
    """Analyses those of the portal's and bulkmig's tables of which a tenth has changed since somebody did,
    where this role may and nobody is at it, and returns their names. With what was true when a fleet began
    to be loaded, the planner goes through all of it for each unit of vessels."""
    if on_file(target) is not None:
        return []
    try:
        stale = [row["name"] for row in await target.fetch(_STALE, list(TABLES))]
        if stale:
            await target.execute(f"ANALYZE (SKIP_LOCKED) {', '.join(stale)}")
        return stale
    except asyncpg.QueryCanceledError:
        return []  # a server that lets no statement take so long: without, it is slower and no less right
