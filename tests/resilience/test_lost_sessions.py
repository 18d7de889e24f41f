"""A lost session is always told as one, with the end that it belongs to, and told once."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bulkmig import BulkmigError, Selection, Settings, plan, validate
from bulkmig.embedded import Server
from bulkmig.events import Event, RunStarted, VesselDone
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import SOURCE, TARGET, close, connect
from bulkmig.postgres.transient import transient
from bulkmig.source.onboarding import copy_out
from tests.resilience.conftest import Migrate
from tests.resilience.gate import HANG_AFTER, PASS, Gate
from tests.support.aftermath import left_behind
from tests.support.fleets import Origin
from tests.support.programs import program


@pytest.mark.parametrize("end", ["source", "target"])
async def test_it_names_its_end(pg: Server, end: str) -> None:
    connection = await connect(parse(pg.url()), SOURCE, role=end)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)) as caught:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert describe(caught.value).startswith(f"the session on the {end} was lost: ")
    await close(connection)


async def test_so_does_one_that_the_server_ended_while_it_was_idle(pg: Server) -> None:
    """The order that asyncpg has no word for: the server's last message comes before the next statement, the
    end of the stream after it."""
    told = asyncio.Event()

    def rule(sender: str, data: bytes) -> str:
        if b"57P01" not in data:
            return PASS
        told.set()
        return HANG_AFTER

    async with Gate(pg.url()) as gate:
        gate.rule = rule
        connection = await connect(parse(gate.url), SOURCE, role="source")

        async def ignore(data: bytes) -> None:
            """Rows of no interest."""

        await copy_out(connection, "SELECT 1", ignore)
        pid = connection.get_server_pid()
        pg.execute(f"SELECT pg_terminate_backend({pid})")
        await told.wait()
        await asyncio.sleep(0)  # the loop takes in what has come
        assert not connection.is_closed()
        with pytest.raises(asyncpg.PostgresError) as caught:
            await copy_out(connection, "SELECT 2", ignore)
        assert isinstance(caught.value.__cause__, asyncpg.InternalClientError)
        assert transient(caught.value)
        assert describe(caught.value).startswith("the session on the source was lost: ")
        assert connection.is_closed()


async def test_a_copy_that_loses_its_session_leaves_no_future_behind(pg: Server) -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: told.append(context))
    connection = await connect(parse(pg.url()), TARGET, role="target")
    await connection.execute("CREATE TEMPORARY TABLE t (x text)")

    async def rows() -> Any:
        yield b"one\n"
        connection.terminate()
        yield b"two\n"

    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await connection.copy_to_table("t", source=rows(), format="text")
    gc.collect()
    assert told == []
    loop.call_exception_handler({"message": "anything else"})
    assert [context["message"] for context in told] == ["anything else"]


class LoseTheSnapshot:
    """Ends all sessions on the source at the first event."""

    def __init__(self, pg: Server, origin: Origin) -> None:
        self.pg, self.database = pg, origin.url.rpartition("/")[2]

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.pg.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE application_name = 'bulkmig source' AND datname = '{self.database}'"
            )


@pytest.mark.parametrize("command", [plan, validate])
async def test_commands_that_take_no_second_snapshot_say_that_theirs_is_lost(
    command: Any, pg: Server, run: Migrate, origin: Origin, maintenance_url: str
) -> None:
    await run(verify=False)
    settings = Settings(source=origin.url, target=maintenance_url)
    with pytest.raises((BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError)) as caught:
        await command(settings, Selection(all=True), listen=LoseTheSnapshot(pg, origin))
    assert "source" in describe(caught.value)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("later", [0.0, 0.2])
async def test_a_signal_during_the_imports_ends_the_command_in_good_order(
    number: int, later: float, origin: Origin, maintenance_url: str
) -> None:
    async with program(origin.url, maintenance_url, "migrate", "--all", cold=True) as started:
        await started.until(lambda: started.catches(signal.SIGTERM))
        await asyncio.sleep(later)
        os.kill(started.pid, number)
        ended = await started.ended()
    assert ended.status == 4
    assert "Traceback" not in ended.said
    assert await left_behind(origin.url, maintenance_url) == []


async def test_what_a_killed_process_had_committed_counts_as_done(
    run: Migrate, origin: Origin, maintenance_url: str
) -> None:
    """All are killed as soon as one has done a vessel, before they have told what they did of them."""
    whole = (await run(target=maintenance_url, dry_run=True)).inserted
    assert whole["equipment"]
    killed: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, VesselDone) and not killed:
            killed.extend(child_processes())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    report = await run(listen, processes=2, parallel_vessels=1, memory=1024 * 1024)
    assert killed
    assert (report.status, report.exit_status) == ("failed", 1)
    assert "a process of the run died" in report.error
    assert report.failed == 0
    connection = await asyncpg.connect(maintenance_url)
    try:
        committed = await connection.fetchval("SELECT count(*) FROM bulkmig.vessels WHERE state = 'migrated'")
        rows = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in COUNTED}
    finally:
        await connection.close()
    assert report.done == committed > 0
    assert report.remaining == report.selected - committed
    assert {table: report.inserted[table] for table in COUNTED} == rows
    again = await run()
    assert (again.status, again.skipped) == ("completed", committed)


COUNTED = ("vessels", "equipment", "critical_parts", "part_details", "equipment_documents", "quality_scores")


def child_processes() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
            if int(words[1]) == os.getpid() and b"spawn_main" in path.with_name("cmdline").read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return sorted(found)
