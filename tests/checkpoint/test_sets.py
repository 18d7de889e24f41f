"""A rollback compares sets: however many rows a vessel has, it goes through each of them a few times."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bulkmig import Selection, migrate
from bulkmig._version import __version__
from bulkmig.checkpoint import changes
from bulkmig.checkpoint.back import Back, go_back
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.checkpoint.way import Way
from bulkmig.generate import FleetSpec
from bulkmig.ledger import audit, runs
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import TARGET, pairs, session
from tests.checkpoint.support import execute, settings
from tests.support.fleets import Fleets

# More rows than there is room for in the smallest memory for a hash.
SPEC = FleetSpec(seed=6, vessels=1, equipment=6000, exact=True, parts=0, documents=1)
MOST = 60  # times that a row is read; in a loop within a loop it would be thousands
_READ = """
SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) FROM pg_stat_all_tables
 WHERE relid IN (SELECT oid FROM pg_class WHERE relpersistence = 't' AND relnamespace = pg_my_temp_schema())
    OR schemaname = 'public'
"""
_NO_VACUUM = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT oid::regclass FROM pg_class
                 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', name); END LOOP;
END $$
"""


async def rows_read(target: str, vessel: str) -> tuple[Back, dict[str, int]]:
    """Takes back the last change of a vessel, with next to no memory for a hash: how many rows were read."""
    async with session(parse(target), TARGET, role="target") as connection:
        own = Checkpoints(str(uuid4()))
        who = audit.who("")
        await runs.begin(connection, own.run_id, "rollback", operator="", selection="", version=__version__)
        way = await Way.open(connection, own, who)
        *_, last = await changes.find(connection, "c.vessel_id = $1::text::uuid", vessel)
        await connection.execute("SET work_mem = '64kB'")
        before = pairs(await connection.fetch(_READ))
        back = await go_back(way, last, force=False)
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return back, {name: n - int(before.get(name, 0)) for name, n in await connection.fetch(_READ)}


@pytest.mark.only_postgresql("SQLite doesn't count the rows that it reads")
async def test_a_rollback_reads_each_row_a_few_times(fleets: Fleets, maintenance_url: str) -> None:
    """There, when all rows go, and back again, when they come into tables that count as empty."""
    origin = await fleets(SPEC)
    await execute(maintenance_url, _NO_VACUUM)
    await migrate(settings(origin, maintenance_url), Selection(all=True))
    (vessel,) = origin.approved
    for rows in ("deleted", "inserted"):
        await execute(maintenance_url, "ANALYZE")
        back, found = await rows_read(maintenance_url, vessel)
        assert getattr(back.restored, rows)["equipment"] >= SPEC.equipment
        assert {name: n for name, n in found.items() if n > MOST * SPEC.equipment} == {}  # type: ignore[operator]
