"""The fault proxy does what the tests of recovery rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.proxy import Hold, Proxy, Sender
from tests.support.servers import Databases
from tests.support.wire import normalised, written

TABLE = "CREATE TABLE numbers (n integer PRIMARY KEY, word text)"
COPY = "COPY numbers"


@pytest.fixture
async def proxy(databases: Databases) -> AsyncIterator[Proxy]:
    """A proxy before a fresh database with a table."""
    url = databases()
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    await connection.close()
    async with Proxy(url) as made:
        yield made


async def count(proxy: Proxy) -> int:
    """Rows of the table, asked past the proxy."""
    connection = await asyncpg.connect(proxy.upstream)
    try:
        found: int = await connection.fetchval("SELECT count(*) FROM numbers")
        return found
    finally:
        await connection.close()


async def rows(first: int, last: int) -> AsyncIterator[bytes]:
    for n in range(first, last):
        yield f"{n},word\n".encode()


async def copy(connection: asyncpg.Connection, first: int = 0, last: int = 100) -> str:
    return await connection.copy_to_table("numbers", source=rows(first, last), format="csv")


async def test_what_no_one_disturbs_passes_as_it_is_and_is_recorded(proxy: Proxy) -> None:
    connection = await asyncpg.connect(proxy.url)
    word = "x" * 1_000_000
    async with connection.transaction():
        await connection.execute("INSERT INTO numbers VALUES ($1, $2)", 1, word)
    await connection.executemany("INSERT INTO numbers VALUES ($1, $2)", [(2, "b"), (3, "c")])
    await copy(connection, 10, 20)
    await connection.execute("UPDATE numbers SET word = 'd' WHERE n = 3; DELETE FROM numbers WHERE n = 2")
    assert await connection.fetchval("SELECT word FROM numbers WHERE n = 1") == word
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("INSERT INTO numbers VALUES (1, '')")
    assert await connection.fetchval("SELECT count(*) FROM numbers") == 12
    await connection.close()
    assert [s.key for s in proxy.statements if s.key] == [
        "INSERT numbers", "COMMIT after INSERT numbers", "INSERT numbers", "INSERT numbers", COPY,
        "UPDATE numbers", "INSERT numbers",
    ]  # fmt: skip
    assert proxy.passed["program"].total > len(word)
    assert proxy.passed["server"].total > len(word)


async def test_before_a_statement_the_server_has_not_got_it(proxy: Proxy) -> None:
    connection = await asyncpg.connect(proxy.url)
    hold = proxy.before("INSERT numbers", 2)
    await connection.execute("INSERT INTO numbers VALUES (1, 'a')")
    task = asyncio.ensure_future(connection.execute("INSERT INTO numbers VALUES ($1, 'b')", 2))
    await hold.reached()
    assert await count(proxy) == 1
    hold.release()
    assert await task == "INSERT 0 1"
    assert await count(proxy) == 2
    await connection.close()


async def test_after_a_commit_it_is_done_and_the_program_does_not_know(proxy: Proxy) -> None:
    connection = await asyncpg.connect(proxy.url)
    hold = proxy.after("COMMIT after INSERT numbers")
    await connection.execute("BEGIN")
    await connection.execute("INSERT INTO numbers VALUES (1, 'a')")
    assert await count(proxy) == 0
    task = asyncio.ensure_future(connection.execute("COMMIT"))
    await hold.reached()
    assert await count(proxy) == 1
    assert not task.done()
    hold.drop()
    with pytest.raises((asyncpg.ConnectionDoesNotExistError, OSError)):
        await task
    assert await count(proxy) == 1


@pytest.mark.parametrize("prepared", [False, True])
async def test_after_a_statement_outside_a_transaction_it_is_committed(proxy: Proxy, prepared: bool) -> None:
    connection = await asyncpg.connect(proxy.url)
    hold = proxy.after("INSERT numbers")
    arguments = (1,) if prepared else ()
    statement = f"INSERT INTO numbers VALUES ({'$1' if prepared else 1}, 'a')"
    task = asyncio.ensure_future(connection.execute(statement, *arguments))
    await hold.reached()
    assert await count(proxy) == 1
    hold.release()
    assert await task == "INSERT 0 1"
    await connection.close()


async def test_amid_a_copy_the_server_has_part_of_its_rows(proxy: Proxy) -> None:
    connection = await asyncpg.connect(proxy.url)
    hold = proxy.amid(COPY, 2)
    task = asyncio.ensure_future(copy(connection))
    session = await hold.reached()
    admin = await asyncpg.connect(proxy.upstream)
    copying = None
    while copying is None:  # the server is behind the proxy
        copying = await admin.fetchval(
            "SELECT command FROM pg_stat_progress_copy WHERE pid = $1", session.pid
        )
    assert copying == "COPY FROM"
    assert await admin.fetchval("SELECT pg_terminate_backend($1)", session.pid)
    await admin.close()
    hold.release()
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await task
    assert await count(proxy) == 0


async def test_a_hold_stops_one_session_and_no_other(proxy: Proxy) -> None:
    one, other = await asyncpg.connect(proxy.url), await asyncpg.connect(proxy.url)
    hold = proxy.before("INSERT numbers")
    task = asyncio.ensure_future(one.execute("INSERT INTO numbers VALUES (1, 'a')"))
    await hold.reached()
    assert await other.execute("INSERT INTO numbers VALUES (2, 'a')") == "INSERT 0 1"
    hold.release()
    await task
    await one.close()
    await other.close()


@pytest.mark.parametrize("sender", ["program", "server"])
async def test_a_cut_after_so_many_bytes_lets_exactly_those_pass_once(proxy: Proxy, sender: Sender) -> None:
    connection = await asyncpg.connect(proxy.url)
    at = proxy.passed[sender].total + 300
    proxy.cut_after(at, sender)
    many = ";".join(f"INSERT INTO numbers VALUES ({n}, 'a')" for n in range(100))
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.execute(many)
    assert connection.is_closed()
    again = await asyncpg.connect(proxy.url)
    # The server got the script in part, which it doesn't run, or whole, and its answer was lost.
    assert await again.fetchval("SELECT count(*) FROM numbers") == (100 if sender == "server" else 0)
    assert proxy.passed[sender].total >= at
    await again.close()


async def test_refused_connections_find_no_listener_until_it_serves_again(proxy: Proxy) -> None:
    url = proxy.url
    await proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(url)
    await proxy.serve()
    assert proxy.url == url
    connection = await asyncpg.connect(url)
    await connection.close()


@pytest.mark.parametrize("everyone", [True, False])
async def test_a_black_hole_takes_everything_and_answers_nothing(proxy: Proxy, everyone: bool) -> None:
    one, other = await asyncpg.connect(proxy.url), await asyncpg.connect(proxy.url)
    if everyone:
        proxy.swallowing = True
    else:
        proxy.sessions[0].swallowing = True
    with pytest.raises(TimeoutError):
        await one.execute("INSERT INTO numbers VALUES (1, 'a')", timeout=0.2)
    if not everyone:
        assert await other.fetchval("SELECT count(*) FROM numbers") == 0
    assert await count(proxy) == 0
    one.terminate()
    other.terminate()


async def test_latency_delays_each_way(proxy: Proxy) -> None:
    connection = await asyncpg.connect(proxy.url)
    proxy.latency = 0.05
    clock = asyncio.get_running_loop()
    begin = clock.time()
    await connection.fetchval("SELECT 1")
    assert clock.time() - begin >= 2 * proxy.latency
    proxy.latency = 0
    await connection.close()


async def test_a_moment_that_never_comes_fails_its_test(proxy: Proxy) -> None:
    hold: Hold = proxy.before("INSERT numbers")
    with pytest.raises(TimeoutError):
        await hold.reached(patience=0.05)


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("SELECT 1", ""),
        ("-- a note\nINSERT INTO bulkmig.runs (id) VALUES ('x;y')", "INSERT bulkmig.runs"),
        ('COPY "bulkmig"."base"("a", "b") FROM STDIN WITH (FORMAT csv)', "COPY bulkmig.base"),
        ("COPY (SELECT 1) TO STDOUT", ""),
        ("UPDATE equipment t SET a = 1", "UPDATE equipment"),
        ("INSERT INTO t SELECT 1 ON CONFLICT (a) DO UPDATE SET a = 1", "INSERT t"),
        ("SELECT pg_advisory_xact_lock(-5);SET LOCAL x = 1", ""),
        ("WITH gone AS (DELETE FROM t RETURNING *) SELECT count(*) FROM gone", "DELETE t"),
        (
            "CREATE TABLE IF NOT EXISTS bulkmig.migrations (version integer)",
            "CREATE TABLE bulkmig.migrations",
        ),
        ("CREATE UNIQUE INDEX x ON t (a)", "CREATE UNIQUE INDEX x"),
        ("SELECT * FROM t FOR UPDATE SKIP LOCKED", ""),
    ],
)
def test_a_statement_is_known_by_what_it_writes(sql: str, key: str) -> None:
    assert written(normalised(sql)) == key
