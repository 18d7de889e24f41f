"""What lies in the ledger, where others may have changed it."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any

import msgspec
import zstandard
from hypothesis import strategies as st

from bulkmig._core import stored
from bulkmig.checkpoint import parts
from bulkmig.cluster import plan
from bulkmig.encode import read_base
from bulkmig.errors import CheckpointError, PreflightError
from bulkmig.security.seal import Keyring, Seal
from tests.security.fuzz.target import (
    TEXT,
    mutated,
    target,
)

PACKED = st.tuples(
    st.one_of(st.binary(max_size=40), st.integers(0, 3).map(lambda rows: bytes(16 * rows))),
    st.dictionaries(st.sampled_from(["?t", "?", "x"]), st.lists(st.booleans(), max_size=3), max_size=2),
    st.lists(
        st.tuples(
            st.sampled_from(["t", "", "source_id"]),
            st.lists(st.sampled_from(["id", "a", "b", ""]), max_size=3),
            st.one_of(st.binary(max_size=60), TEXT.map(str.encode)),
        ),
        max_size=2,
    ),
).map(msgspec.msgpack.encode)  # fmt: skip
COMPRESSED = st.one_of(
    st.binary(max_size=300),
    PACKED.map(zstandard.ZstdCompressor().compress),
    mutated(PACKED).map(zstandard.ZstdCompressor().compress),
    mutated(PACKED.map(zstandard.ZstdCompressor().compress)),
    st.tuples(st.integers(0, 2**20), st.binary(max_size=8)).map(
        lambda bomb: zstandard.ZstdCompressor().compress(bomb[1] + bytes(bomb[0]))
    ),
)
RING = Keyring([Seal(bytes(32))])
OWNER = parts.Owner("c", "r", None, encrypted=False)


@target(COMPRESSED)
def base(payload: bytes) -> None:
    """A part of the base is an image or refused."""
    with suppress(CheckpointError):
        assert "source_id" in read_base(payload).columns


@target(st.tuples(COMPRESSED, st.booleans(), st.lists(TEXT, max_size=3), st.booleans()))
def checkpoint(given: tuple[bytes, bool, list[str], bool]) -> None:
    """A part of a checkpoint whose digest somebody made right is read or refused, with a key and without."""
    payload, sealed, columns, encrypted = given
    owner = parts.Owner("c", "r", None, encrypted=encrypted)
    part = parts.Part("state", "t", tuple(columns), b"")
    kept = parts.sealed(owner, 1, part, payload, RING) if sealed else payload
    row: Any = {
        "part": 1, "role": "state", "table_name": "t", "columns": columns, "payload": kept,
        "digest": hashlib.sha256(kept).digest(),
    }  # fmt: skip
    with suppress(CheckpointError):
        found = parts.opened(owner, row, RING)
        assert sealed == encrypted
        assert zstandard.ZstdDecompressor().decompress(payload) == found.data


@target(st.tuples(TEXT, st.one_of(st.binary(max_size=80), TEXT.map(str.encode))))
def sealed_text(given: tuple[str, bytes]) -> None:
    """A text of the ledger is what was stored, or an error."""
    text, changed = given
    kept = RING.close_text(text, b"here")
    assert RING.open_text(kept, b"here") == text
    with suppress(CheckpointError):
        RING.open_text("sealed:" + changed.decode(errors="replace"), b"here")
    with suppress(CheckpointError):
        RING.open(b"\x01" + changed, b"here")


@target(
    st.one_of(
        TEXT, st.text(alphabet='[]{}",:1e\\u0', max_size=40), st.integers(0, 3000).map(lambda n: "[" * n)
    )
)
def document(text: str) -> None:
    """A document of the ledger is an object or an error."""
    with suppress(CheckpointError):
        assert isinstance(stored.document(text, "it"), dict)


@target(COMPRESSED)
def handed_over(payload: bytes) -> None:
    """What a worker gets from the queue is a plan or refused, also where the digest is right."""
    content = b""
    with suppress(zstandard.ZstdError, MemoryError):
        content = zstandard.ZstdDecompressor().decompress(payload, max_output_size=2**21)
    with suppress(PreflightError, CheckpointError):
        plan.unpack(payload, hashlib.sha256(content).digest())
