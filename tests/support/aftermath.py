"""What is left of a run that came to a bad end: half vessels, sessions, locks, and the ledger's words."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import msgspec

from bulkmig._core.frames import from_csv
from bulkmig.checkpoint import changes, parts
from bulkmig.encode import read_base
from bulkmig.ledger import base
from bulkmig.ledger.write import quarantine_place
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import TARGET, session
from bulkmig.security.seal import NO_KEYS, Keyring
from bulkmig.sync.conflicts import place as conflict_place

LINGER = 15.0  # seconds that a server may take to notice that a program is gone
PAUSE = 0.02  # seconds between two looks of the bystander

# What belongs to a vessel in the target: table -> the vessel's id.
_OF_VESSEL = {
    "vessels": "SELECT id FROM vessels",
    "vessel_details": "SELECT vessel_id FROM vessel_details",
    "equipment": "SELECT vessel_id FROM equipment",
    "equipment_metadata": "SELECT vessel_id FROM equipment_metadata JOIN equipment ON id = equipment_id",
    "critical_parts": "SELECT e.vessel_id FROM critical_parts p JOIN equipment e ON e.id = p.equipment_id",
    "part_details": "SELECT e.vessel_id FROM part_details d JOIN critical_parts p ON p.id = d.part_id"
    " JOIN equipment e ON e.id = p.equipment_id",
    "equipment_documents": "SELECT e.vessel_id FROM equipment_documents d"
    " JOIN equipment e ON e.id = d.equipment_id",
    "vessel_documents": "SELECT vessel_id FROM vessel_documents",
    "document_details": "SELECT coalesce(e.vessel_id, v.vessel_id) FROM document_details m"
    " JOIN equipment_documents d ON d.id = m.document_id LEFT JOIN equipment e ON e.id = d.equipment_id"
    " LEFT JOIN vessel_documents v ON v.document_id = d.id",
    "quality_scores": "SELECT vessel_id FROM quality_scores",
    "cross_references": "SELECT vessel_id FROM cross_references",
}
# What rows say, as one number: a sync changes rows whose number stays.
_CONTENTS = {
    "contents of vessels": "SELECT id, t::text FROM vessels t",
    "contents of equipment": "SELECT vessel_id, t::text FROM equipment t",
    "contents of metadata": "SELECT vessel_id, t::text FROM equipment_metadata t"
    " JOIN equipment e ON e.id = t.equipment_id",
    "contents of documents": "SELECT vessel_id, t::text FROM vessel_documents t",
}
# By the vessel's id in the source. A reference waits, or goes to the table, or into quarantine: each counts.
_REFERENCES = "cross_references"
_OF_SOURCE = {
    _REFERENCES: "SELECT vessel_id FROM bulkmig.pending WHERE entity = 'cross_reference'",
    "quarantined cross_references": "SELECT vessel_id FROM bulkmig.quarantine"
    " WHERE entity = 'cross_reference'",
    "quarantine": "SELECT vessel_id FROM bulkmig.quarantine WHERE entity <> 'cross_reference'",
    "base": "SELECT DISTINCT vessel_id FROM bulkmig.base WHERE entity = 'vessel'",
}
_FLEET = ("companies", "company_settings", "users", "user_metadata")


def _counts(queries: dict[str, str]) -> str:
    return " UNION ALL ".join(
        f"SELECT '{name}' AS name, v::text AS vessel, count(*) AS n FROM ({query}) AS q (v)"
        " WHERE v IS NOT NULL GROUP BY v"
        for name, query in queries.items()
    )


def _sums(queries: dict[str, str]) -> str:
    return " UNION ALL ".join(
        f"SELECT '{name}' AS name, v::text AS vessel, sum(hashtext(said)::bigint)::bigint AS n"
        f" FROM ({query}) AS q (v, said) GROUP BY v"
        for name, query in queries.items()
    )


Counts = dict[str, int]


@dataclass
class State:
    """What a reader sees of every vessel (by its id in the target, or in the source where it has no row) and
    of companies and users: the mark, and rows per table. `waiting`: vessel -> references that wait."""

    vessels: dict[str, Counts]
    fleet: Counts
    waiting: Counts


async def look(connection: asyncpg.Connection) -> State:
    """One snapshot, as any other reader would take it."""
    vessels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    waiting: dict[str, int] = {}
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for name, vessel, n in await connection.fetch(_counts(_OF_VESSEL)):
            vessels[vessel][name] += n
        for name, vessel, n in await connection.fetch(_sums(_CONTENTS)):
            vessels[vessel][name] += n
        fleet = {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in _FLEET}
        if await connection.fetchval("SELECT to_regclass('bulkmig.vessels')") is not None:
            rows = await connection.fetch(
                "SELECT entity, source_id::text, target_id::text FROM bulkmig.identities"
            )
            target_of = {row["source_id"]: row["target_id"] for row in rows if row["entity"] == "vessel"}
            # Those of vessels' rows that moved come with their vessel.
            fleet["identities"] = sum(row["entity"] in ("company", "user") for row in rows)
            for name, vessel, n in await connection.fetch(_counts(_OF_SOURCE)):
                kind = _REFERENCES if _REFERENCES in name else name
                vessels[target_of.get(vessel, vessel)][kind] += n
                if name == _REFERENCES:
                    waiting[target_of.get(vessel, vessel)] = n
            # A vessel that failed is not there, whoever tried: its mark goes with no row.
            for vessel, state in await connection.fetch(
                "SELECT vessel_id::text, state || coalesce((SELECT ' by a sync' FROM bulkmig.runs r"
                " WHERE r.id = run_id AND command = 'sync'), '')"
                " FROM bulkmig.vessels WHERE state <> 'failed'"
            ):
                vessels[target_of.get(vessel, vessel)][f"marked {state}"] += 1
    return State(
        {vessel: dict(counts) for vessel, counts in vessels.items()},
        {k: v for k, v in fleet.items() if v},
        waiting,
    )


@dataclass
class Bystander:
    """Another reader of the target, that looks again and again. `seen`: what was neither the state before a
    command nor the one after it, which would be something half."""

    url: str
    before: State
    after: State
    looks: int = 0
    seen: list[str] = field(default_factory=list)
    # Where the target refuses companies or users one by one, or vessels bring some along, those come in more
    # than one transaction.
    fleet: bool = True

    def judge(self, state: State) -> None:
        """Notes whatever is half in a snapshot."""
        self.looks += 1
        for vessel in state.vessels.keys() | self.before.vessels.keys():
            now = state.vessels.get(vessel, {})
            allowed = [self.before.vessels.get(vessel, {}), self.after.vessels.get(vessel, {})]
            # Of references that wait the end of a run decides, also whether they are none any more.
            settled = [
                {**now, _REFERENCES: now[_REFERENCES] - n} for n in range(1, state.waiting.get(vessel, 0) + 1)
            ]
            if now not in allowed and not any(one in allowed for one in settled):
                self.seen.append(f"vessel {vessel}: {now}, and it may be {allowed[0]} or {allowed[1]}")
        if self.fleet and state.fleet not in (self.before.fleet, self.after.fleet):
            self.seen.append(
                f"companies and users: {state.fleet}, and may be {self.before.fleet}, {self.after.fleet}"
            )

    async def look(self) -> None:
        """One look, on a session of its own."""
        connection = await asyncpg.connect(self.url)
        try:
            self.judge(await look(connection))
        finally:
            await connection.close()

    async def _watch(self) -> None:
        while True:
            try:
                connection = await asyncpg.connect(self.url)
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(PAUSE)  # the server is down: nobody sees anything
                continue
            try:
                seen = ""
                while True:
                    # While no transaction begins or ends a look sees what the one before saw.
                    now = await connection.fetchval("SELECT pg_current_snapshot()::text")
                    if now != seen:
                        self.judge(await look(connection))
                        seen = now
                    await asyncio.sleep(PAUSE)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()
            finally:
                connection.terminate()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Looks all the time, to the end of the block; then nothing half may have been seen."""
        task = asyncio.ensure_future(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.look()
        assert not self.seen, "\n".join(self.seen)
        assert self.looks > 0


_LEFT = {
    "session": "SELECT application_name || ', ' || coalesce(state, '?') || ': ' || left(query, 80)"
    " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND application_name LIKE 'bulkmig%'",
    "open transaction": "SELECT state || ': ' || left(query, 80) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    " AND application_name LIKE 'bulkmig%'",
    "advisory lock": "SELECT l.mode || ' by ' || l.pid FROM pg_locks l"
    " JOIN pg_database d ON d.oid = l.database"
    " WHERE l.locktype = 'advisory' AND d.datname = current_database()",
    "temporary table": "SELECT oid::regclass::text FROM pg_class WHERE relpersistence = 't'",
    "prepared transaction": "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()",
}


async def left_behind(*urls: str) -> list[str]:
    """What programs that are gone have left on servers, once those had time to notice."""
    found: list[str] = []
    for url in urls:
        connection = await asyncpg.connect(url, server_settings={"application_name": "test"})
        try:
            for what, query in _LEFT.items():
                rows = await _in_time(connection, query)
                found += (f"{what}: {row[0]}" for row in rows)
        finally:
            await connection.close()
    return found


async def _in_time(connection: asyncpg.Connection, query: str) -> list[asyncpg.Record]:
    """The rows of a query, once there are none, or after so long."""
    rows: list[asyncpg.Record] = []

    async def gone() -> bool:
        rows[:] = await connection.fetch(query)
        return not rows

    await until(gone, LINGER)
    return rows


async def until(happened: Callable[[], Awaitable[bool]], patience: float) -> bool:
    """Asks again and again; returns whether it happened in so many seconds."""
    clock = asyncio.get_running_loop()
    end = clock.time() + patience
    while not await happened():
        if clock.time() > end:
            return False
        await asyncio.sleep(PAUSE)
    return True


# What the ledger says besides which run it was and when: columns that any sequence of runs must agree on.
_LEDGER = {
    "identities": "entity, source_id, target_id, adopted",
    # A sync that goes on where one was killed may find nothing left to change.
    "vessels": "vessel_id, state, name, phase, error, CASE WHEN run_id NOT IN"
    " (SELECT id FROM bulkmig.runs WHERE command = 'sync') THEN rows END AS rows",
    "slugs": "*",
    "qr_codes": "*",
    "pending": "entity, source_id, vessel_id",
    "quarantine": "entity, source_id, vessel_id, code, message",
    "findings": "DISTINCT severity, code, vessel_id, entity, source_id, field, message",
    "conflicts": "vessel_id, entity, source_id, target_id, kind, status, strategy",
    "retained": "entity, source_id, vessel_id, target_id, reason",
}

# Of users who came after all, this was found by a run that was killed before they did.
_BUT = {
    "findings": " WHERE code <> 'user.email_taken' OR source_id NOT IN"
    " (SELECT source_id FROM bulkmig.identities WHERE entity = 'user')"
}


# What may be encrypted -> by what it is known, and its place.
_SEALED: dict[str, tuple[str, str, Callable[[asyncpg.Record], bytes]]] = {
    "quarantine": (
        "row",
        "SELECT entity || ' ' || source_id AS of, row AS text, entity, source_id::text, vessel_id::text,"
        " run_id::text FROM bulkmig.quarantine",
        lambda r: quarantine_place(r["entity"], r["source_id"], r["vessel_id"], r["run_id"]),
    ),
    "conflicts": (
        "fields",
        "SELECT entity || ' ' || source_id AS of, fields AS text, id::text, vessel_id::text"
        " FROM bulkmig.conflicts",
        lambda r: conflict_place(r["id"], r["vessel_id"]),
    ),
}
_TEXT = re.compile(r"sealed:[\w+/=]*")  # encrypted anew, it looks otherwise


async def ledger(url: str, keys: Keyring = NO_KEYS) -> dict[str, bytes]:
    """What the ledger says of the vessels, without what differs from run to run; `apart` compares it."""
    connection = await asyncpg.connect(url)
    try:
        found = {}
        for table, columns in _LEDGER.items():
            rows = f"SELECT {columns} FROM bulkmig.{table}{_BUT.get(table, '')}"
            query = f"SELECT t::text FROM ({rows}) t ORDER BY 1"
            found[f"bulkmig.{table}"] = "\n".join(row[0] for row in await connection.fetch(query)).encode()
        for table, (column, query, place) in _SEALED.items():
            texts = [
                f"{row['of']} {keys.open_text(row['text'], place(row))}"
                for row in await connection.fetch(query)
            ]
            found[f"bulkmig.{table}.{column}"] = "\n".join(sorted(texts)).encode()
        # Row by row: how many go together depends on when they came, and what pads a buffer on chance.
        held = await connection.fetch(f"SELECT {base.SEALED} FROM bulkmig.base")
        lines = sorted(
            f"{part['vessel_id']} {part['entity']} {part['kind']} {row}"
            for part in held
            for row in _held(part["kind"], keys.open(part["payload"], base.place_of(part)))
        )
        found["bulkmig.base"] = "\n".join(lines).encode()
        return found
    finally:
        await connection.close()


def _held(kind: str, payload: bytes) -> list[object]:
    """What a part of the base holds."""
    if kind in ("rows", "stayed", "standing"):
        return list(read_base(payload).rows())
    ids = msgspec.msgpack.decode(payload)
    return [(table, id_) for table, of in ids.items() for id_ in of] if isinstance(ids, dict) else list(ids)


async def checkpoints(url: str, keys: Keyring = NO_KEYS) -> dict[str, bytes]:
    """What every checkpoint holds, by its id. Raises CheckpointError where one can't be restored whole."""
    async with session(parse(url, keys=keys), TARGET, role="target") as connection:
        if await connection.fetchval("SELECT to_regclass('bulkmig.checkpoints')") is None:
            return {}
        found = {}
        for change in await changes.find(connection):
            await parts.complete(connection, {change.id: change.parts})
            held = [
                f"{part.role} {part.table} {row}"
                async for part in parts.read(connection, change, parts.ROLES)
                for row in from_csv(part.data, part.columns).rows()
            ]
            found[change.id] = _TEXT.sub("", "\n".join(held)).encode()
        return found


@dataclass(frozen=True)
class Marks:
    """The marks of vessels: vessel -> (state, run)."""

    of: dict[str, tuple[str, str]]

    def of_run(self, run_id: str, *states: str) -> set[str]:
        """Vessels that this run marked so."""
        return {vessel for vessel, (state, run) in self.of.items() if run == run_id and state in states}

    def __iter__(self) -> Iterator[str]:
        return iter(self.of)


async def marks(url: str) -> Marks:
    """The marks as they are now; none where there is no ledger."""
    connection = await asyncpg.connect(url)
    try:
        if await connection.fetchval("SELECT to_regclass('bulkmig.vessels')") is None:
            return Marks({})
        rows = await connection.fetch("SELECT vessel_id::text, state, run_id::text FROM bulkmig.vessels")
        return Marks({row["vessel_id"]: (row["state"], row["run_id"]) for row in rows})
    finally:
        await connection.close()
