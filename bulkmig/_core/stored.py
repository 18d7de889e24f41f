"""Compresses what the ledger stores, and reads it as if somebody else had written it: bounded, and wary."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import zstandard

from bulkmig.errors import CheckpointError

# No value that PostgreSQL stores is larger than a gigabyte, and a part ends with the row that fills it.
LARGEST = 2**30 + 2**20

_LEVEL = 1  # a stronger compression saves a tenth of the bytes for three times the time


class _Means(threading.local):
    """One of each a thread: what they allocate takes longer than a small payload does."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_means = _Means()


def compress(data: bytes) -> bytes:
    """Compresses it so that it says first how large it gets."""
    return _means.compressor.compress(data)


def expand(payload: bytes, what: str, largest: int = LARGEST) -> bytes:
    """Decompresses what says first how large it gets. Raises CheckpointError where it doesn't, or says more
    than `largest` bytes."""
    try:
        size = zstandard.frame_content_size(payload)
        if not 0 <= size <= largest:
            raise zstandard.ZstdError
        return _means.decompressor.decompress(payload)
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
