"""Reads what the ledger stores as if somebody else had written it: bounded, and wary."""

from __future__ import annotations

from typing import Any

import orjson
import zstandard

from bulkmig.errors import CheckpointError

# No value that PostgreSQL stores is larger than a gigabyte, and a part ends with the row that fills it.
LARGEST = 2**30 + 2**20


def expand(payload: bytes, what: str, largest: int = LARGEST) -> bytes:
    """Decompresses what says first how large it gets. Raises CheckpointError where it doesn't, or says more
    than `largest` bytes."""
    try:
        size = zstandard.frame_content_size(payload)
        if not 0 <= size <= largest:
            raise zstandard.ZstdError
        return zstandard.ZstdDecompressor().decompress(payload)
    except (zstandard.ZstdError, MemoryError):
        raise unreadable(what) from None


def document(text: str, what: str) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise unreadable(what) from None
    if not isinstance(found, dict):
        raise unreadable(what)
    return found


def unreadable(what: str) -> CheckpointError:
    """The error of something that isn't what bulkmig stores."""
    return CheckpointError(
        f"{what} can't be read", "it was changed in the database: restore the schema bulkmig from a backup"
    )
