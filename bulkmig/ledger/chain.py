"""The chain over the audit log. Vessels commit side by side and must not queue for its head, so entries are
sealed afterwards: a run's when it ends (or, where its process was gone, when the next one begins), others at
once. What is sealed can't be changed or removed unseen; what was added without being sealed is found too.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import orjson
from asyncpg import Record
from msgspec import Struct

from bulkmig.postgres.session import Connection, keys_of

_LOCK = 0x62756C6B6C6F67  # "bulklog"
COLUMNS = """
a.id, a.at, a.run_id::text AS run_id, a.vessel_id::text AS vessel_id, a.action, a.operator, a.host, a.summary,
a.mac
"""
# Of these runs, of runs whose process is gone, and this one.
_UNSEALED = f"""
SELECT {COLUMNS} FROM bulkmig.audit a
 WHERE (a.run_id = ANY ($1::text[]::uuid[]) OR a.id = $2
        OR a.run_id IN (SELECT id FROM bulkmig.runs WHERE status = 'interrupted'))
   AND a.id > (SELECT after FROM bulkmig.audit_head)
   AND NOT EXISTS (SELECT FROM bulkmig.audit_chain c WHERE c.audit_id = a.id) ORDER BY a.id
"""
# Whether a key was in use before: then the head was signed.
_SIGNED_BEFORE = """
SELECT EXISTS (SELECT FROM bulkmig.audit a LEFT JOIN bulkmig.audit_chain c ON c.audit_id = a.id
                WHERE a.mac IS NOT NULL
                  AND (c.seq IS NOT NULL OR a.id <= (SELECT after FROM bulkmig.audit_head)))
"""
# As texts, for the reason that `LOCK_VESSELS` has.
_APPEND = """
WITH linked AS (INSERT INTO bulkmig.audit_chain (seq, audit_id, digest, hash)
     SELECT * FROM unnest($1::text[]::bigint[], $2::text[]::bigint[],
                          $3::text[]::bytea[], $4::text[]::bytea[]))
UPDATE bulkmig.audit_head SET entries = $5, hash = $6, mac = $7
"""
START = bytes(32)


class Entry(Struct, frozen=True):
    """An entry of the log as it is stored."""

    id: int
    at: datetime
    run_id: str | None
    vessel_id: str | None
    action: str
    operator: str
    host: str
    summary: str
    mac: bytes | None

    def digest(self) -> bytes:
        """SHA-256 of all that it says."""
        said = [
            *(self.id, self.at.astimezone(UTC).isoformat(), self.run_id, self.vessel_id, self.action),
            *(self.operator, self.host, self.summary, self.mac.hex() if self.mac is not None else None),
        ]
        return hashlib.sha256(orjson.dumps(said)).digest()


class Head(Struct, frozen=True):
    """How long the chain is, and its last hash. `after`: the last entry that was there before it."""

    entries: int
    hash: bytes
    after: int = 0

    def __str__(self) -> str:
        return f"{self.entries}:{self.hash.hex()}"

    def signed_text(self) -> bytes:
        """What a key signs."""
        return f"head {self} after {self.after}".encode()


def entry_of(row: Record) -> Entry:
    """A row with the columns of an entry."""
    return Entry(**{name: row[name] for name in Entry.__struct_fields__})


def link(before: bytes, seq: int, digest: bytes) -> bytes:
    """The hash of an entry that follows on a hash."""
    return hashlib.sha256(before + seq.to_bytes(8, "big") + digest).digest()


async def head(connection: Connection) -> Head:
    """The chain's head; one of nothing where somebody took it away."""
    row = await connection.fetchrow("SELECT entries, hash, after FROM bulkmig.audit_head")
    return Head(row["entries"], row["hash"], row["after"]) if row is not None else Head(0, START)


async def seal(connection: Connection, *run_ids: str, entry: int | None = None) -> Head:
    """Seals the entries of these runs, of runs whose process is gone, and one that belongs to no run, in the
    caller's transaction; returns the new head."""
    await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
    now = await head(connection)
    rows = await connection.fetch(_UNSEALED, list(run_ids), entry)
    if not rows:
        return now
    hash_, digests, hashes = now.hash, [], []
    for seq, row in enumerate(rows, now.entries + 1):
        digests.append(entry_of(row).digest())
        hash_ = link(hash_, seq, digests[-1])
        hashes.append(hash_)
    new = Head(now.entries + len(rows), hash_, now.after)
    await connection.execute(
        _APPEND,
        [str(seq) for seq in range(now.entries + 1, new.entries + 1)],
        [str(row["id"]) for row in rows],
        [f"\\x{digest.hex()}" for digest in digests],
        [f"\\x{hash_.hex()}" for hash_ in hashes],
        new.entries,
        new.hash,
        keys_of(connection).sign(new.signed_text()) if await _is_ours(connection, now) else None,
    )
    return new


async def _is_ours(connection: Connection, now: Head) -> bool:
    """Whether the head is as a key left it: who has none could make the chain anew, and what is sealed next
    must not vouch for that."""
    mac = await connection.fetchval("SELECT mac FROM bulkmig.audit_head")
    if mac is None:
        return not await connection.fetchval(_SIGNED_BEFORE)
    return keys_of(connection).signed(now.signed_text(), mac) is True
