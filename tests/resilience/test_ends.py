"""The beginning and the end of a run: connections that are not there, runs that were killed."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from bulkmig import PreflightError
from bulkmig.embedded import Server
from bulkmig.events import Event, PhaseStarted
from bulkmig.ledger import runs
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import DURABLE, close, connect
from tests.resilience.conftest import Migrate
from tests.resilience.gate import CUT, PASS, Gate


@pytest.fixture
def narrow(pg: Server, maintenance_url: str) -> Iterator[str]:
    """The target's address for a role that has two connections."""
    name = f"narrow_{uuid4().hex[:8]}"
    database = maintenance_url.rpartition("/")[2]
    pg.execute(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 2; GRANT ALL ON SCHEMA public TO {name}", database)
    pg.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}", database)
    pg.execute(f"GRANT CREATE ON DATABASE {database} TO {name}", database)
    try:
        yield pg.url(database, user=name)
    finally:
        pg.execute(f"DROP OWNED BY {name}; REVOKE ALL ON DATABASE {database} FROM {name}", database)
        pg.execute(f"DROP ROLE {name}")


async def test_too_few_free_connections_are_found_before_anything_is_touched(
    run: Migrate, narrow: str
) -> None:
    with pytest.raises(PreflightError, match=r"the target has 1 connections free, this run needs 3 more"):
        await run(target=narrow, parallel_vessels=3, memory=1024 * 1024)


async def test_a_vessel_for_which_no_connection_comes_free_fails_and_says_so(
    run: Migrate, pg: Server, narrow: str
) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase == "vessels":
            pg.execute(f"ALTER ROLE {urlsplit(narrow).username} CONNECTION LIMIT 1")

    report = await run(listen, target=narrow, parallel_vessels=1, outage=0.1)
    assert report.failed == report.selected
    assert all("no connection free" in failure.error for failure in report.failures)
    assert "SQLSTATE 53300" in report.failures[0].error
    assert report.exit_status == 1


async def test_a_run_whose_process_is_gone_is_marked_by_the_next_one(
    run: Migrate, maintenance_url: str
) -> None:
    await run(verify=False)
    dead, alive = str(uuid4()), str(uuid4())
    gone = await connect(parse(maintenance_url), DURABLE, role="target")
    still = await connect(parse(maintenance_url), DURABLE, role="target")
    try:
        for connection, run_id in ((gone, dead), (still, alive)):
            await runs.begin(connection, run_id, "migrate", operator="", selection="--all", version="0")
        await close(gone)
        await run(verify=False)
        rows = await still.fetch(
            "SELECT id::text, status FROM bulkmig.runs WHERE id = ANY ($1::text[]::uuid[])", [dead, alive]
        )
    finally:
        await close(still)
    assert {row["id"]: row["status"] for row in rows} == {dead: "interrupted", alive: "running"}


async def test_a_lost_beginning_is_recorded_once(run: Migrate, maintenance_url: str) -> None:
    cut = False

    def rule(sender: str, data: bytes) -> str:
        nonlocal cut
        if sender == "program" and b"bulkmig.runs (id" in data and not cut:
            cut = True
            return CUT
        return PASS

    async with Gate(maintenance_url) as gate:
        gate.rule = rule
        report = await run(target=gate.url)
    assert cut
    assert report.status == "completed"
    connection = await asyncpg.connect(maintenance_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM bulkmig.runs") == 1
    finally:
        await connection.close()
