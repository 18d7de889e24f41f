"""PostgreSQL's functions that bulkmig's statements call, for SQLite."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from bulkmig.sqlite import values


def stamp(moment: datetime) -> str:
    """A moment as the ledger's columns keep it: in their order as texts."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment(text: str) -> datetime:
    """The moment of a `stamp`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _epoch(text: str | None) -> float | None:
    return None if text is None else moment(text).timestamp()


def _joined(separator: str, *parts: Any) -> str:
    return separator.join(str(part) for part in parts if part is not None)


def _unpacked(text: str | None) -> bytes | None:
    """Bytes in hexadecimal digits, also as PostgreSQL writes them."""
    return None if text is None else bytes.fromhex(text.removeprefix("\\x"))


def register(connection: sqlite3.Connection) -> None:
    """Gives a connection the functions."""

    def add(name: str, n: int, function: Any, *, deterministic: bool = False) -> None:
        connection.create_function(name, n, function, deterministic=deterministic)

    def now() -> str:
        return stamp(datetime.now(UTC))

    add("clock_timestamp", 0, now)
    add("now", 0, now)
    add("gen_random_uuid", 0, lambda: str(uuid4()))
    add("pg_advisory_xact_lock", 1, lambda _: None)  # the one writer has all locks
    add("starts_with", 2, lambda text, start: None if start is None else (text or "").startswith(start))
    add("epoch", 1, _epoch, deterministic=True)
    add("concat_ws", -1, _joined, deterministic=True)
    add("sha256", 1, lambda data: hashlib.sha256(data or b"").digest(), deterministic=True)
    add("cardinality", 1, lambda text: len(json.loads(text)), deterministic=True)
    add("unpack", 1, _unpacked, deterministic=True)
    add("own_uuid", 2, values.own_uuid, deterministic=True)
    add("own_number", 2, values.own_number, deterministic=True)
    add("odd", 1, values.odd, deterministic=True)
    add("plain", 1, values.plain, deterministic=True)
