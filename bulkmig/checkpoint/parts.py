"""Parts: rows of one table as COPY's CSV, compressed, each readable alone and proof against change."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Literal

from asyncpg import Record
from msgspec import Struct, field

from bulkmig._core.stored import compress, expand
from bulkmig.errors import CheckpointError
from bulkmig.postgres.session import Connection, keys_of
from bulkmig.security.seal import Keyring, is_sealed
from bulkmig.source.onboarding import copy_out
from bulkmig.target.postgres import copy_in
from bulkmig.target.scope import TargetTable


class Owner(Struct, frozen=True):
    """The checkpoint that parts belong to. `vessel_id` is None for companies and users."""

    id: str
    run_id: str
    vessel_id: str | None
    encrypted: bool


Role = Literal["state", "context", "hanging", "ledger"]
ROLES: tuple[Role, ...] = ("state", "context", "hanging", "ledger")
Rows = Callable[[TargetTable], str]  # the query of a table's rows

Stored = tuple[str, int, Role, str, list[str], bytes, bytes]  # as a row of checkpoint_parts

_SIZE = 1024 * 1024  # bytes of CSV in a part, if no single row is larger

_READ = """
SELECT part, role, table_name, columns, payload, digest FROM bulkmig.checkpoint_parts
 WHERE checkpoint_id = $1::text::uuid AND part > $2 AND role = ANY ($3) ORDER BY part LIMIT $4
"""
# Those that are read: a part of any other role would be passed over.
_COUNTED = """
SELECT checkpoint_id::text AS id, count(*) AS parts FROM bulkmig.checkpoint_parts
 WHERE checkpoint_id = ANY ($1::text[]::uuid[]) AND role = ANY ($2) GROUP BY checkpoint_id
"""
_AT_ONCE = 8  # parts in memory


class Packed(Struct):
    """Parts that are not stored yet, still small: compressed. `rows` of all of them together."""

    parts: list[tuple[Role, str, Sequence[str], bytes]] = field(default_factory=list)
    rows: int = 0

    async def add(
        self, connection: Connection, role: Role, table: str, columns: Sequence[str], query: str
    ) -> None:
        """Adds what a query yields, which are these columns of that table."""
        chunks: list[bytes] = []
        size = 0

        def cut() -> None:
            if chunks:
                self.parts.append((role, table, columns, compress(b"".join(chunks))))
                chunks.clear()

        async def take(data: bytes) -> None:
            nonlocal size
            chunks.append(data)
            size += len(data)
            if size >= _SIZE:
                cut()
                size = 0

        self.rows += await copy_out(connection, query, take)
        cut()

    def keep(self, role: Role, table: str, columns: Sequence[str], rows: Sequence[bytes]) -> None:
        """Adds these rows, which are these columns of that table, as they were printed."""
        self.rows += len(rows)
        each = max(len(rows) * _SIZE // max(sum(map(len, rows)), 1), 1)  # rows of a part
        for first in range(0, len(rows), each):
            data = b"\n".join([*rows[first : first + each], b""])
            self.parts.append((role, table, columns, compress(data)))

    async def store(self, connection: Connection, of: Owner, first: int) -> int:
        """Writes and forgets the parts collected so far; returns their bytes."""
        records = self.taken(of, first, keys_of(connection))
        await store(connection, records)
        return sum(len(record[5]) for record in records)

    def taken(self, of: Owner, first: int, keys: Keyring) -> list[Stored]:
        """The parts collected so far as they are stored, from this number on; forgets them."""
        records = []
        for number, (role, table, columns, packed) in enumerate(self.parts, first):
            payload = sealed(of, number, Part(role, table, tuple(columns), b""), packed, keys)
            digest = hashlib.sha256(payload).digest()
            records.append((of.id, number, role, table, list(columns), payload, digest))
        self.parts.clear()
        return records


async def store(connection: Connection, records: Sequence[Stored]) -> None:
    """Writes parts, also of several checkpoints."""
    await connection.copy_records_to_table(
        "checkpoint_parts",
        schema_name="bulkmig",
        columns=("checkpoint_id", "part", "role", "table_name", "columns", "payload", "digest"),
        records=records,
    )


class Part(Struct, frozen=True):
    """A part that was read and found unharmed. `data` is CSV."""

    role: Role
    table: str
    columns: tuple[str, ...]
    data: bytes


Parts = AsyncIterator[Part]


async def read(connection: Connection, of: Owner, roles: Sequence[Role]) -> Parts:
    """The parts of a checkpoint, one after the other. Raises CheckpointError for one that was changed, and
    for one that the key doesn't open."""
    last = -1
    while rows := await connection.fetch(_READ, of.id, last, list(roles), _AT_ONCE):
        last = rows[-1]["part"]
        for row in rows:
            yield opened(of, row, keys_of(connection))


def sealed(of: Owner, number: int, part: Part, packed: bytes, keys: Keyring) -> bytes:
    """The compressed data of a part as it is stored."""
    return keys.close(packed, _place(of, number, part))


def opened(of: Owner, row: Record, keys: Keyring) -> Part:
    """A part as it was stored. Raises CheckpointError."""
    number, role, table, payload = row["part"], row["role"], row["table_name"], row["payload"]
    if hashlib.sha256(payload).digest() != row["digest"] or is_sealed(payload) != of.encrypted:
        raise CheckpointError(
            f"checkpoint {of.id}: part {number} ({table}) is not what was stored",
            "its bytes were changed in the database: restore bulkmig.checkpoint_parts from a backup",
        )
    columns = tuple(row["columns"])
    packed = keys.open(payload, _place(of, number, Part(role, table, columns, b"")))
    return Part(role, table, columns, expand(packed, f"checkpoint {of.id}: part {number}"))


async def joined(read: Parts) -> Parts:
    """The same rows in fewer parts: a table's of many small checkpoints together."""
    held: defaultdict[tuple[Role, str, tuple[str, ...]], list[bytes]] = defaultdict(list)
    size = 0
    async for part in read:
        if held and size + len(part.data) > _SIZE:
            for of, data in held.items():
                yield Part(*of, b"".join(data))
            held.clear()
            size = 0
        held[part.role, part.table, part.columns].append(part.data)
        size += len(part.data)
    for of, data in held.items():
        yield Part(*of, b"".join(data))


async def complete(connection: Connection, checkpoints: Mapping[str, int]) -> None:
    """Raises CheckpointError where parts of these checkpoints, which should have so many, are missing or too
    many."""
    rows = await connection.fetch(_COUNTED, list(checkpoints), list(ROLES))
    found = {row["id"]: row["parts"] for row in rows}
    for checkpoint, parts in checkpoints.items():
        if found.get(checkpoint, 0) != parts:
            raise CheckpointError(
                f"checkpoint {checkpoint} has {found.get(checkpoint, 0)} of its {parts} parts",
                "restore bulkmig.checkpoint_parts from a backup",
            )


async def copy_part(connection: Connection, table: str, part: Part) -> int:
    """Loads a part's rows into a table with the same columns."""
    return await copy_in(connection, table, [plain(column) for column in part.columns], part.data)


async def put_back(
    connection: Connection,
    part: Part,
    key: Sequence[str],
    *,
    rows: bool = True,
    about: Mapping[str, Collection[str]] | None = None,
) -> None:
    """Replaces the rows that have a part's keys, in the table they were taken from, by the part's; without
    `rows` they just go. `about`: column -> ids, of which those are that alone go back."""
    await connection.execute(
        f"CREATE TEMPORARY TABLE part_rows ON COMMIT DROP AS TABLE {part.table} WITH NO DATA"
    )
    await copy_part(connection, "part_rows", part)
    for column, ids in (about or {}).items():
        others = f"DELETE FROM part_rows WHERE NOT {column} = ANY ($1::text[]::uuid[])"
        await connection.execute(others, sorted(ids))
    columns = ", ".join(part.columns)
    same = " AND ".join(f"t.{column} = p.{column}" for column in key)
    insert = f"INSERT INTO {part.table} ({columns}) SELECT {columns} FROM part_rows;" if rows else ""
    await connection.execute(
        f"DELETE FROM {part.table} t WHERE EXISTS (SELECT FROM part_rows p WHERE {same});{insert}"
        "DROP TABLE part_rows"
    )


def plain(column: str) -> str:
    """A column's name without its quotes."""
    return column[1:-1].replace('""', '"') if column.startswith('"') else column


def _place(of: Owner, number: int, part: Part) -> bytes:
    """What ties an encrypted part to its place: a part that was moved or exchanged doesn't open."""
    where = (of.id, of.run_id, of.vessel_id or "", str(number), part.role, part.table, *part.columns)
    return "/".join(where).encode()
