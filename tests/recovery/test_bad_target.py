"""A target that refuses: the vessel at hand fails with a message that names the cause, the others are
migrated, nothing is there in part, and once the cause is gone the same command again ends as if it had never
been."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from bulkmig import PreflightError, Report, Selection, Settings, migrate
from bulkmig.config import MEBIBYTE
from bulkmig.embedded import Server
from tests.support import canaries
from tests.support.aftermath import left_behind, marks, until
from tests.support.proxy import PATIENCE, Hold, Proxy
from tests.support.workloads import Workload, Workloads, execute

ALL = Selection(all=True)
ROOM = 16 * MEBIBYTE  # that a vessel which is held leaves the others enough
LARGE = 20_000  # bytes: only the large vessel has so much equipment
NOBODY = pwd.getpwnam("nobody").pw_uid  # who runs root's servers


@pytest.fixture
async def work(workloads: Workloads) -> Workload:
    return await workloads("plain")


@pytest.fixture
def target(work: Workload) -> Iterator[str]:
    """A fresh target, dropped after the test."""
    url = work.target()
    yield url
    work.drop(url)


def settings(work: Workload, target: str, *, apart: bool = False) -> Settings:
    """Those of the workload, with little patience. `apart`: each vessel in a transaction of its own, as at a
    limited rate, so that what comes amid one vessel finds the others committed."""
    return Settings(
        source=work.source, target=target, memory=ROOM, continue_on_error=True, connect_timeout=1.0,
        network_timeout=30.0, outage=3.0, attempts=2, max_rows_per_second=10_000_000 if apart else None,
    )  # fmt: skip


async def fetch(url: str, query: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval(query))
    finally:
        await connection.close()


async def large_vessel(work: Workload) -> str:
    """The vessel with most equipment, which comes alone and first."""
    query = "SELECT vessel_id FROM equipment GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
    return await fetch(work.source, query)


async def last_of_large(work: Workload) -> str:
    """One equipment of that vessel."""
    return await fetch(
        work.source, f"SELECT max(id::text) FROM equipment WHERE vessel_id = '{await large_vessel(work)}'"
    )


def amid_large(proxy: Proxy) -> Hold:
    """Stops amid the COPY of the large vessel's equipment."""
    return proxy.hold(
        lambda m: m.sender == "program" and m.kind == "d" and m.size > LARGE
        and m.statement is not None and m.statement.key == "COPY equipment",
        half=True,
    )  # fmt: skip


async def only_fails(work: Workload, target: str, report: Report, *words: str) -> None:
    """The large vessel failed with all these words, the others are there, nothing is there in part."""
    vessel = await large_vessel(work)
    assert not canaries.in_text(str(report.document()))
    told = [(failure.vessel_id, failure.error) for failure in report.failures]
    assert [id_ for id_, _ in told] == [vessel], told
    assert [word for word in words if word not in told[0][1]] == [], told
    done = work.ended.vessels["done"]
    assert (report.status, report.exit_status) == ("completed_with_failures", 1)
    assert (report.done, report.failed) == (done - 1, 1)
    states = {v: state for v, (state, _) in (await marks(target)).of.items()}
    assert {v for v, state in states.items() if state == "migrated"} == states.keys() - {vessel}
    assert len(states.keys() - {vessel}) == done - 1
    assert report.verified.difference_count == 0
    bystander = work.bystander(target)
    await bystander.look()
    assert not bystander.seen, "\n".join(bystander.seen)
    assert await left_behind(work.source, target) == []


async def finishes(work: Workload, target: str) -> None:
    """With the cause gone, the rerun leaves what an undisturbed run leaves."""
    report = await migrate(settings(work, target), ALL)
    assert report.status == "completed", report.failures
    assert report.done + report.skipped == work.ended.vessels["done"]
    await work.check(target)


async def others_are_done(work: Workload, target: str) -> None:
    """Waits until all vessels but one are committed."""

    async def done() -> bool:
        return len((await marks(target)).of) == work.ended.vessels["done"] - 1

    assert await until(done, PATIENCE)


async def test_a_row_that_the_portal_inserts_in_mid_run_fails_the_vessel_that_collides(
    work: Workload, target: str
) -> None:
    """An IMO number that was free when the run decided is taken before the vessel is written."""
    imo = await fetch(work.source, f"SELECT imo_number FROM vessels WHERE id = '{await large_vessel(work)}'")
    async with Proxy(target) as proxy:
        hold = proxy.before("COPY users")
        run = asyncio.ensure_future(migrate(settings(work, proxy.url), ALL))
        await hold.reached()
        connection = await asyncpg.connect(target)
        company = await connection.fetchval(
            "INSERT INTO companies (id, name, slug) VALUES (gen_random_uuid(), 'own', 'own') RETURNING id"
        )
        await connection.execute(
            "INSERT INTO vessels (id, company_id, name, imo_number)"
            " VALUES (gen_random_uuid(), $1, 'own', $2)",
            *(company, imo),
        )
        await connection.close()
        hold.release()
        report = await run
    await execute(target, "DELETE FROM vessels WHERE name = 'own'; DELETE FROM companies WHERE name = 'own'")
    await only_fails(work, target, report, "vessels_imo_number_key")
    await finishes(work, target)


RULE = "ALTER TABLE equipment_metadata ADD CONSTRAINT house_rule CHECK (original_id <> '{id}')"
RAISES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refuses BEFORE INSERT ON equipment_metadata FOR EACH ROW WHEN (NEW.original_id = '{id}')
    EXECUTE FUNCTION refuse()
"""
DROPS = RAISES.replace("RAISE EXCEPTION 'not this one'", "RETURN NULL")
NO_TRIGGER = "DROP TRIGGER refuses ON equipment_metadata; DROP FUNCTION refuse()"
RETURNED = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE CONSTRAINT TRIGGER refuses AFTER INSERT ON equipment_metadata DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.original_id = '{id}') EXECUTE FUNCTION refuse()
"""


@pytest.mark.parametrize(
    ("made", "gone", "words"),
    [
        (RULE, "ALTER TABLE equipment_metadata DROP CONSTRAINT house_rule", ("house_rule", "equipment")),
        (RAISES, NO_TRIGGER, ("raised", "P0001", "equipment")),
        (DROPS, NO_TRIGGER, ("rows were sent", "trigger")),
        (RETURNED, NO_TRIGGER, ("raised", "P0001")),
    ],
    ids=[
        "a check constraint",
        "a trigger that raises",
        "a trigger that drops rows",
        "a trigger at the commit",
    ],
)
async def test_what_the_portal_refuses_fails_its_vessel_alone(
    work: Workload, target: str, made: str, gone: str, words: tuple[str, ...]
) -> None:
    """One row of the large vessel is refused by something of the portal's own."""
    await execute(target, made.replace("{id}", await last_of_large(work)))
    report = await migrate(settings(work, target), ALL)
    await only_fails(work, target, report, *words)
    await execute(target, gone)
    await finishes(work, target)


async def test_a_target_that_is_read_only_is_left_alone(work: Workload, target: str) -> None:
    """Said before anything is touched."""
    database = target.rpartition("/")[2]
    await execute(work.server.url(), f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with pytest.raises(PreflightError, match="read-only"):
        await migrate(settings(work, target), ALL)
    await execute(work.server.url(), f"ALTER DATABASE {database} RESET default_transaction_read_only")
    await finishes(work, target)


async def test_a_target_that_becomes_read_only_in_mid_run_fails_what_is_not_committed(
    work: Workload, target: str
) -> None:
    """As after a failover: sessions end, new ones may only read."""
    database = target.rpartition("/")[2]
    vessel = await large_vessel(work)
    async with Proxy(target) as proxy:
        hold = amid_large(proxy)
        run = asyncio.ensure_future(migrate(settings(work, proxy.url, apart=True), ALL))
        session = await hold.reached()
        await others_are_done(work, target)
        await execute(work.server.url(), f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        await execute(work.server.url(), f"SELECT pg_terminate_backend({session.pid}, 10000)")
        hold.release()
        report = await run
    told = [failure.error for failure in report.failures if failure.vessel_id == vessel]
    assert told, report.failures
    assert "read-only" in told[0]
    assert report.exit_status == 1
    assert vessel not in (await marks(target)).of_run(report.run_id, "migrated")
    await execute(work.server.url(), f"ALTER DATABASE {database} RESET default_transaction_read_only")
    await finishes(work, target)


async def test_a_statement_that_is_cancelled_fails_its_vessel_alone(work: Workload, target: str) -> None:
    """The server ends a statement: by its time-out, or because an administrator wants it."""
    async with Proxy(target) as proxy:
        hold = amid_large(proxy)
        run = asyncio.ensure_future(migrate(settings(work, proxy.url, apart=True), ALL))
        session = await hold.reached()
        await execute(target, f"SELECT pg_cancel_backend({session.pid})")
        hold.release()
        report = await run
    await only_fails(work, target, report, "canceling statement", "57014")
    await finishes(work, target)


SLEEPS = RAISES.replace("RAISE EXCEPTION 'not this one'", "PERFORM pg_sleep(1.5); RETURN NEW")


@pytest.mark.parametrize("whose", ["ALTER DATABASE {0}", "ALTER ROLE postgres IN DATABASE {0}"])
async def test_a_time_out_that_the_server_sets_for_others_does_not_apply(
    work: Workload, target: str, whose: str
) -> None:
    """A statement time-out of the database or the role is shorter than a statement takes: each session of
    bulkmig sets its own."""
    scope = whose.format(target.rpartition("/")[2])
    await execute(target, SLEEPS.replace("{id}", await last_of_large(work)))
    await execute(work.server.url(), f"{scope} SET statement_timeout = '1s'")
    report = await migrate(settings(work, target), ALL)
    await execute(work.server.url(), f"{scope} RESET statement_timeout")
    await execute(target, NO_TRIGGER)
    assert report.status == "completed", report.failures
    await work.check(target)


async def test_when_no_connection_is_free_what_cannot_be_done_fails_by_that_name(
    work: Workload, target: str
) -> None:
    """max_connections is reached when the workers want theirs; others hold them to the end."""
    config = replace(settings(work, target), outage=1.0)
    async with Proxy(target) as proxy, AsyncExitStack() as stack:
        hold = proxy.before("COPY users")
        run = asyncio.ensure_future(migrate(replace(config, target=proxy.url), ALL))
        await hold.reached()
        taken: list[asyncpg.Connection] = []
        try:
            while True:
                taken.append(await asyncpg.connect(work.server.url()))
        except asyncpg.TooManyConnectionsError:
            hold.release()
        for connection in taken:
            stack.push_async_callback(connection.close)
        report = await run
    assert len(taken) > 50
    assert report.exit_status in (1, 4)
    assert report.done == len((await marks(target)).of_run(report.run_id, "migrated"))
    causes = [failure.error for failure in report.failures] or [report.error]
    assert all("too many clients" in cause or "53300" in cause for cause in causes), causes
    bystander = work.bystander(target)
    await bystander.look()
    assert not bystander.seen, "\n".join(bystander.seen)
    await finishes(work, target)


@asynccontextmanager
async def small_disk(server: Server, target: str) -> AsyncIterator[Path]:
    """A tablespace for the table of equipment on a file system of 1 MB; skips where none can be made."""
    with tempfile.TemporaryDirectory(prefix="bulkmig-test-", dir="/tmp") as name:
        owner = f",uid={NOBODY}" if os.geteuid() == 0 else ""
        mount = ["mount", "-t", "tmpfs", "-o", f"size=1m,mode=700{owner}", "tmpfs", name]
        os.chmod(name, 0o755)
        if (await asyncio.to_thread(subprocess.run, mount, capture_output=True, check=False)).returncode:
            pytest.skip("no file system can be mounted here")
        try:
            os.chown(name, *([NOBODY] * 2 if os.geteuid() == 0 else [-1, -1]))
            await execute(server.url(), f"CREATE TABLESPACE small LOCATION '{name}'")
            await execute(target, "ALTER TABLE equipment SET TABLESPACE small")
            yield Path(name)
            await execute(target, "ALTER TABLE equipment SET TABLESPACE pg_default")
            await execute(server.url(), "CHECKPOINT")
            await execute(server.url(), "DROP TABLESPACE small")
        finally:
            await asyncio.to_thread(subprocess.run, ["umount", "-l", name], check=True)


async def test_a_full_disk_fails_the_vessel_that_does_not_fit(work: Workload, target: str) -> None:
    """The disk of the equipment's table is full while the large vessel is written."""
    async with small_disk(work.server, target) as disk:
        async with Proxy(target) as proxy:
            hold = amid_large(proxy)
            run = asyncio.ensure_future(migrate(settings(work, proxy.url, apart=True), ALL))
            await hold.reached()
            await others_are_done(work, target)
            ballast = disk / "ballast"
            with pytest.raises(OSError, match="No space"):
                fill(ballast)
            hold.release()
            report = await run
        await only_fails(work, target, report, "No space left on device", "53100")
        ballast.unlink()
    await finishes(work, target)


def fill(file: Path) -> None:
    """Writes until the disk is full."""
    with file.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))


def limit(pid: int, size: int) -> None:
    """Lets a server's process write no file beyond a size; only who runs it may ask for that."""
    command = ["prlimit", "--pid", str(pid), f"--fsize={size}:{size}"]
    if os.geteuid() == 0:
        group = pwd.getpwuid(NOBODY).pw_gid
        subprocess.run(command, check=True, user=NOBODY, group=group, extra_groups=[])
    else:
        subprocess.run(command, check=True)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit")
async def test_a_limit_of_file_sizes_fails_the_vessel_that_does_not_fit(work: Workload, target: str) -> None:
    """The operating system lets the server's process write no larger file: as a quota does."""
    async with Proxy(target) as proxy:
        hold = amid_large(proxy)
        run = asyncio.ensure_future(migrate(settings(work, proxy.url, apart=True), ALL))
        session = await hold.reached()
        await others_are_done(work, target)
        limit(session.pid, 16384)
        hold.release()
        report = await run
    await only_fails(work, target, report, "could not extend file", "File too large")
    await finishes(work, target)
