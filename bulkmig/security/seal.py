"""Encryption at rest: AES-256-GCM with associated data that ties each value to its place.

A sealed value is: 1 byte of version, 8 bytes that tell the key, 12 bytes of nonce, and the ciphertext."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bulkmig.errors import CheckpointError, UsageError

VARIABLE = "BULKMIG_KEY"
_VERSION, _ID, _NONCE = b"\x01", 8, 12


class Seal:
    """Seals and opens with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._id = hashlib.sha256(b"bulkmig key " + key).digest()[:_ID]

    @property
    def id(self) -> bytes:
        """Tells the key without giving it away; the second to ninth byte of what it sealed."""
        return self._id

    def __repr__(self) -> str:
        return f"Seal({self._id.hex()})"

    def close(self, value: bytes, place: bytes) -> bytes:
        """Encrypts a value for a place."""
        nonce = os.urandom(_NONCE)
        return _VERSION + self._id + nonce + self._cipher.encrypt(nonce, value, place)

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Decrypts it. Raises CheckpointError where key, place or bytes are not those it was sealed with."""
        known, nonce = sealed[1 : 1 + _ID], sealed[1 + _ID : 1 + _ID + _NONCE]
        if sealed[:1] != _VERSION or known != self._id:
            raise CheckpointError(
                f"encrypted with the key {known.hex()}, the key given is {self._id.hex()}",
                "give the key that was in use then",
            )
        try:
            return self._cipher.decrypt(nonce, sealed[1 + _ID + _NONCE :], place)
        except InvalidTag:
            raise CheckpointError(
                "an encrypted part is not what was stored", "its bytes were changed in the database"
            ) from None


def from_settings(key_file: str) -> Seal | None:
    """The seal of the key in this file, else of the one in the environment, else none. A key is 32 bytes,
    written in base64 or hex. Raises UsageError."""
    if key_file:
        try:
            text = Path(key_file).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"can't read the key file {key_file}", "check --key-file") from error
    else:
        text = os.environ.get(VARIABLE, "")
    text = text.strip()
    if not text:
        return None
    for decode in (bytes.fromhex, base64.b64decode):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == 32:
            return Seal(key)
    raise UsageError("the key is not 32 bytes in base64 or hex", "make one with: openssl rand -base64 32")
