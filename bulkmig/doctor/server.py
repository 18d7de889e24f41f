"""A server as such: version, transport, room for the run's sessions, clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from bulkmig.config import Settings
from bulkmig.doctor.check import Check
from bulkmig.postgres.dsn import Address
from bulkmig.postgres.session import Connection
from bulkmig.preflight import READ_ONLY, WRITABLE, free_connections
from bulkmig.target import postgres

OLDEST = 130000  # server_version_num
SKEW = 2.0  # seconds that clocks may differ before times in the ledger and in rows tell different stories

_TLS = "SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


async def look(connection: Connection, where: Address, role: str, settings: Settings) -> list[Check]:
    """Version, transport and connections of one end."""
    return [
        await _version(connection, role),
        await _transport(connection, where, role),
        await _room(connection, role, settings),
    ]


async def takes(connection: Connection) -> list[Check]:
    """Whether the target takes writes, and every text."""
    read_only, wrong = await connection.fetchval(READ_ONLY), await postgres.misencoded(connection)
    return [
        Check("target writable", not read_only, "read-only" if read_only else "it takes writes", WRITABLE),
        Check("target encoding", not wrong, wrong or "every text can be held", postgres.UTF8),
    ]


async def _version(connection: Connection, role: str) -> Check:
    number, text = await connection.fetchrow(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version')"
    ) or (0, "?")
    return Check(
        f"{role} version",
        number >= OLDEST,
        f"PostgreSQL {text}",
        f"bulkmig needs PostgreSQL {OLDEST // 10000} or later",
    )


async def _transport(connection: Connection, where: Address, role: str) -> Check:
    row = await connection.fetchrow(_TLS)
    encrypted = bool(row and row["ssl"])
    detail = f"{row['version']}, {row['cipher']}" if row and encrypted else "no TLS"
    if where.local:
        return Check(f"{role} TLS", True, f"{detail}; the connection stays on this machine")
    verified = encrypted and where.sslmode == "verify-full"
    return Check(
        f"{role} TLS",
        verified,
        f"{detail}, sslmode={where.sslmode}",
        "use sslmode=verify-full with sslrootcert instead of --allow-insecure",
        needed=False,
    )


async def _room(connection: Connection, role: str, settings: Settings) -> Check:
    # As a run opens them: its main session, and one a worker; each further process has a main one too.
    workers = settings.processes * settings.parallel_vessels
    sessions = workers + (settings.processes if settings.processes > 1 else 0)
    free = await free_connections(connection)
    return Check(
        f"{role} connections",
        free is None or free >= sessions,
        f"{'some' if free is None else max(free, 0)} free, a run with these settings opens {sessions} more",
        f"raise max_connections of the {role}, end other sessions,"
        " or lower --parallel-vessels and --processes",
    )


async def clocks(source: Connection, target: Connection) -> list[Check]:
    """How far the clocks of both servers and of this machine are apart."""
    ours = {"source": await _ahead(source), "target": await _ahead(target)}
    apart = max(abs(ours["source"]), abs(ours["target"]), abs(ours["source"] - ours["target"]))
    return [
        Check(
            "clock skew",
            apart <= SKEW,
            f"the source is {ours['source']:+.2f} s, the target {ours['target']:+.2f} s off this machine's"
            " clock",
            "let all three keep time by NTP; bulkmig itself goes by snapshots, not by clocks",
            needed=False,
        )
    ]


async def _ahead(connection: Connection) -> float:
    """Seconds that the server's clock is ahead, less than half a round trip wrong."""
    best = (float("inf"), 0.0)
    for _ in range(3):
        asked, since = datetime.now(UTC), time.perf_counter()
        there: datetime = await connection.fetchval("SELECT clock_timestamp()")
        trip = time.perf_counter() - since
        best = min(best, (trip, (there - asked).total_seconds() - trip / 2))
    return best[1]
