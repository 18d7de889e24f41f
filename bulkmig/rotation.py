"""`bulkmig keys rotate`: encrypts anew what older keys encrypted, or none.

Each step is a transaction of its own and looks for what is left, so it may be ended at any instant and run
again. Whoever reads meanwhile needs both keys, and has them: the key file holds both.
"""

from __future__ import annotations

import hashlib
from collections import Counter

import polars as pl
from asyncpg import Record

from bulkmig._core.frames import from_csv, to_csv
from bulkmig._core.stop import Stop
from bulkmig._core.stored import compress
from bulkmig.checkpoint import changes, parts
from bulkmig.checkpoint.changes import Change
from bulkmig.config import Settings
from bulkmig.errors import Stopped, UsageError
from bulkmig.ledger import access, audit, base, keys
from bulkmig.ledger.runs import is_alive
from bulkmig.ledger.write import quarantine_place
from bulkmig.postgres.session import Connection, keys_of, transaction
from bulkmig.preflight import target_only
from bulkmig.security.seal import Keyring, Seal, key_of, raw
from bulkmig.sync.conflicts import place as conflict_place

_AT_ONCE = 16
_BASE = f"""
SELECT id, {base.SEALED} FROM bulkmig.base
 WHERE id > $1 AND substr(payload, 1, 9) <> $2 ORDER BY id LIMIT {_AT_ONCE}
"""
_TEXTS = {
    "quarantine": "SELECT entity, source_id::text, vessel_id::text, run_id::text, row AS text"
    " FROM bulkmig.quarantine",
    "conflicts": "SELECT id::text, vessel_id::text, fields AS text FROM bulkmig.conflicts",
}
_UPDATES = {
    "quarantine": "UPDATE bulkmig.quarantine SET row = $2 WHERE row = $1 AND entity = $3"
    " AND source_id = $4::text::uuid",
    "conflicts": "UPDATE bulkmig.conflicts SET fields = $2 WHERE fields = $1 AND id = $3::text::uuid",
}
_LEFT = """
SELECT c.id::text FROM bulkmig.checkpoints c WHERE NOT encrypted OR EXISTS
    (SELECT FROM bulkmig.checkpoint_parts p WHERE p.checkpoint_id = c.id AND substr(p.payload, 1, 9) <> $1)
 ORDER BY c.seq
"""
_PARTS = """
SELECT part, role, table_name, columns, payload, digest FROM bulkmig.checkpoint_parts
 WHERE checkpoint_id = $1::text::uuid AND part > $2 ORDER BY part LIMIT 4
"""


async def rotate(settings: Settings, stop: Stop | None = None) -> Counter[str]:
    """Encrypts everything of the ledger with the first of the keys; returns how many values of each table
    that concerned. Raises UsageError without a key, CheckpointError where a key that was used isn't there,
    Stopped where it was asked to stop."""
    done: Counter[str] = Counter()
    stop = stop or Stop()
    async with target_only(settings, unsealed=True, writing=True) as target:
        await access.check(target, settings.operator, "administer", "keys rotate")
        ring = keys_of(target)
        if ring.writer is None:
            raise UsageError("there is no key to encrypt with", "say --key-file FILE")
        who = audit.who(settings.operator)
        await keys.register(target)
        steps = _Steps(target, ring, ring.writer, stop, done)
        await steps.base()
        for table in _TEXTS:
            await steps.texts(table)
        await steps.checkpoints()
        async with transaction(target):
            if not await _at_work(target):
                await keys.retire(target, {ring.writer.id})
            await audit.entry(target, who, "rotated", f"{done.total()} values to key {ring.writer.id.hex()}")
    return done


async def _at_work(connection: Connection) -> bool:
    """Whether a run is under way, which may be writing with an older key."""
    rows = await connection.fetch("SELECT id::text FROM bulkmig.runs WHERE status = 'running'")
    return any([await is_alive(connection, row["id"]) for row in rows])


class _Steps:
    """The tables, one after the other. `current`: how everything begins that needs no work."""

    def __init__(
        self, connection: Connection, ring: Keyring, writer: Seal, stop: Stop, done: Counter[str]
    ) -> None:
        self.connection, self.ring, self.writer, self.stop, self.done = connection, ring, writer, stop, done
        self.current = b"\x01" + writer.id

    def _go_on(self) -> None:
        if self.stop.requested:
            raise Stopped("stopped before everything was encrypted anew", "run the same command again")

    async def base(self) -> None:
        last = 0
        while rows := await self.connection.fetch(_BASE, last, self.current):
            self._go_on()
            last = rows[-1]["id"]
            sealed = [
                (row["id"], self.writer.close(base.opened(self.connection, row), base.place_of(row)))
                for row in rows
            ]
            await self.connection.executemany("UPDATE bulkmig.base SET payload = $2 WHERE id = $1", sealed)
            self.done["base"] += len(rows)

    async def texts(self, table: str) -> None:
        # Each is small, and an error or a conflict at most: they fit into memory.
        for row in await self.connection.fetch(_TEXTS[table]):
            self._go_on()
            if self._is_current(row["text"]):
                continue
            place = _place(table, row)
            text = self.ring.close_text(self.ring.open_text(row["text"], place), place)
            where = [row["entity"], row["source_id"]] if table == "quarantine" else [row["id"]]
            await self.connection.execute(_UPDATES[table], row["text"], text, *where)
            self.done[table] += 1

    def _is_current(self, text: str) -> bool:
        value = raw(text)
        return value[:1] == b"\x01" and key_of(value) == self.writer.id

    async def checkpoints(self) -> None:
        for row in await self.connection.fetch(_LEFT, self.current):
            self._go_on()
            async with transaction(self.connection):
                found = await changes.find(self.connection, "c.id = $1::text::uuid", row["id"])
                for change in found:  # it may have been pruned meanwhile
                    await self._checkpoint(change)

    async def _checkpoint(self, change: Change) -> None:
        """All its parts at once: either all of them are encrypted or none is."""
        size, last = 0, -1
        owner = parts.Owner(change.id, change.run_id, change.vessel_id, True)
        while rows := await self.connection.fetch(_PARTS, change.id, last):
            last = rows[-1]["part"]
            for row in rows:
                part = parts.opened(change, row, self.ring)
                packed = compress(self._inner(part))
                payload = parts.sealed(owner, row["part"], part, packed, self.ring)
                size += len(payload)
                await self.connection.execute(
                    "UPDATE bulkmig.checkpoint_parts SET payload = $3, digest = $4"
                    " WHERE checkpoint_id = $1::text::uuid AND part = $2",
                    *(change.id, row["part"], payload, hashlib.sha256(payload).digest()),
                )
        await self.connection.execute(
            "UPDATE bulkmig.checkpoints SET encrypted = true, bytes = $2 WHERE id = $1::text::uuid",
            *(change.id, size),
        )
        self.done["checkpoints"] += 1

    def _inner(self, part: parts.Part) -> bytes:
        """A part's CSV, in which the ledger's own encrypted texts are sealed anew: they may come back."""
        column, table = _TEXT_COLUMN.get(part.table, ("", ""))
        names = [parts.plain(name) for name in part.columns]
        if part.role != "ledger" or column not in names:
            return part.data
        frame = from_csv(part.data, names)
        texts = [
            self.ring.close_text(self.ring.open_text(row[column], _place(table, row)), _place(table, row))
            for row in frame.iter_rows(named=True)
        ]
        return to_csv(frame.with_columns(pl.Series(column, texts, dtype=pl.String)))


_TEXT_COLUMN = {"bulkmig.quarantine": ("row", "quarantine"), "bulkmig.conflicts": ("fields", "conflicts")}


def _place(table: str, row: Record | dict[str, str]) -> bytes:
    if table == "quarantine":
        return quarantine_place(row["entity"], row["source_id"], row["vessel_id"], row["run_id"])
    return conflict_place(row["id"], row["vessel_id"])
