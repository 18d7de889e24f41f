"""Foreign keys that are proved once over all rows instead of at each of them: taken away before the rows
come, and made again behind them in the same transaction, by the catalogue's own words for them.

Only where nothing can come of it but the same: the role owns the tables, nobody reads them at this moment,
and nothing hangs on a key or on when it is checked. All others stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
from msgspec import Struct

from bulkmig.lift.refused import as_a_whole
from bulkmig.postgres.session import Connection

# Not what isn't proved anyway (NOT VALID, NOT ENFORCED), nor what belongs to a partition or to an extension.
# And nothing where a constraint that is checked at the commit stays: a table of which rows are still to be
# checked can't be altered.
_KEYS = """
WITH portal AS (
     SELECT to_regclass(name) AS oid FROM unnest($1::text[]) AS given (name)
), keys AS (
     SELECT con.oid, con.conname, con.conrelid::regclass AS child
       FROM pg_constraint con
       JOIN pg_class c ON c.oid = con.conrelid
       JOIN pg_class p ON p.oid = con.confrelid
      WHERE con.contype = 'f' AND con.convalidated AND con.conparentid = 0
        AND con.conrelid IN (SELECT oid FROM portal) AND con.confrelid IN (SELECT oid FROM portal)
        AND c.relkind = 'r' AND p.relkind = 'r' AND NOT c.relispartition AND NOT p.relispartition
        AND pg_has_role(c.relowner, 'USAGE') AND has_table_privilege(p.oid, 'REFERENCES')
        AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgconstraint = con.oid AND t.tgenabled <> 'O')
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_constraint'::regclass
                           AND d.refobjid = con.oid AND d.deptype <> 'i')
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass
                           AND d.objid = con.oid AND d.deptype IN ('e', 'x'))
)
SELECT k.child::text AS child,
       format('ALTER TABLE %s DROP CONSTRAINT %I', k.child, k.conname) AS away,
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.child, k.conname,
              pg_get_constraintdef(k.oid)) AS again,
       format('COMMENT ON CONSTRAINT %I ON %s IS %L', k.conname, k.child,
              obj_description(k.oid, 'pg_constraint')) AS comment
  FROM keys k
 WHERE NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid IN (SELECT oid FROM portal) AND t.tginitdeferred
                      AND t.tgconstraint NOT IN (SELECT oid FROM keys))
 ORDER BY k.oid
"""


class Aside(Struct, frozen=True):
    """Foreign keys that were taken away, in the order in which they were made."""

    target: Connection
    keys: list[asyncpg.Record]

    async def back(self) -> None:
        """Makes them again, which proves each. Raises BulkmigError."""
        for key in self.keys:
            try:
                await self.target.execute(key["again"])
            except asyncpg.ForeignKeyViolationError as error:
                raise as_a_whole(key["child"], error) from None
            await self.target.execute(key["comment"])


async def take(target: Connection, tables: Sequence[str]) -> Aside:
    """Takes away what can be of the foreign keys of empty tables that this transaction has locked."""
    if not await target.fetch(_KEYS, tables) or not await _alone(target, tables):
        return Aside(target, [])
    keys = await target.fetch(_KEYS, tables)
    for key in keys:
        await target.execute(key["away"])
    return Aside(target, keys)


async def _alone(target: Connection, tables: Sequence[str]) -> bool:
    """Locks tables against those who read as well, where nobody does: who waited for them here could wait
    for the one that waits for him."""
    await target.execute("SAVEPOINT aside")
    try:
        await target.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE NOWAIT")
    except (asyncpg.LockNotAvailableError, asyncpg.InsufficientPrivilegeError):
        await target.execute("ROLLBACK TO SAVEPOINT aside")
        return False
    await target.execute("RELEASE SAVEPOINT aside")
    return True
