"""Encryption at rest: AES-256-GCM with associated data that ties each value to its place.

A sealed value is: 1 byte of version, 8 bytes that tell the key, 12 bytes of nonce, and the ciphertext.
Nothing in the clear begins with that byte: CSV is compressed, keys are packed, texts are JSON."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterable

from bulkmig.errors import CheckpointError

_VERSION, _ID, _NONCE = b"\x01", 8, 12
_TEXT = "sealed:"


class Seal:
    """Seals and opens with one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        # Loaded for who has a key, and by no other command.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)
        self._wrong = (InvalidTag, ValueError)
        self._id = hashlib.sha256(b"bulkmig key " + key).digest()[:_ID]
        self._signs = hmac.digest(key, b"bulkmig signature", "sha256")

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
        """Decrypts it. Raises CheckpointError where place or bytes are not those it was sealed with."""
        try:
            return self._cipher.decrypt(sealed[1 + _ID : 1 + _ID + _NONCE], sealed[1 + _ID + _NONCE :], place)
        except self._wrong:
            raise CheckpointError(
                "an encrypted value of the ledger is not what was stored, or not where it was stored",
                "its bytes were changed in the database: restore the schema bulkmig from a backup",
            ) from None

    def sign(self, value: bytes) -> bytes:
        """A signature of 32 bytes that only this key makes."""
        return hmac.digest(self._signs, value, "sha256")


class Keyring:
    """Several keys: the first one writes, all of them read. Without any, values stay in the clear."""

    def __init__(self, seals: Iterable[Seal] = ()) -> None:
        self._seals = {seal.id: seal for seal in seals}
        self.writer = next(iter(self._seals.values()), None)

    def __bool__(self) -> bool:
        return bool(self._seals)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(id_.hex() for id_ in self._seals)})"

    @property
    def ids(self) -> list[bytes]:
        """Which keys there are."""
        return list(self._seals)

    def close(self, value: bytes, place: bytes) -> bytes:
        """Encrypts a value for a place, if there is a key."""
        return self.writer.close(value, place) if self.writer is not None else value

    def open(self, value: bytes, place: bytes) -> bytes:
        """What was stored at a place, decrypted if it is sealed. Raises CheckpointError."""
        return self._of(key_of(value)).open(value, place) if is_sealed(value) else value

    def close_text(self, value: str, place: bytes) -> str:
        """The same for a column of text."""
        if self.writer is None:
            return value
        return _TEXT + base64.b64encode(self.writer.close(value.encode(), place)).decode()

    def open_text(self, value: str, place: bytes) -> str:
        """Raises CheckpointError."""
        if not value.startswith(_TEXT):
            return value
        try:
            return self.open(raw(value), place).decode()
        except UnicodeDecodeError:
            raise _no_text() from None

    def sign(self, value: bytes) -> bytes | None:
        """The writing key's id and its signature; None without a key."""
        return self.writer.id + self.writer.sign(value) if self.writer is not None else None

    def signed(self, value: bytes, signature: bytes) -> bool | None:
        """Whether one of the keys made this signature; None where the key that made it is not here."""
        seal = self._seals.get(signature[:_ID])
        return None if seal is None else hmac.compare_digest(signature[_ID:], seal.sign(value))

    def _of(self, id_: bytes) -> Seal:
        if id_ not in self._seals:
            raise missing([id_], self)
        return self._seals[id_]


NO_KEYS = Keyring()


def is_sealed(value: bytes) -> bool:
    """Whether a stored value is encrypted."""
    return value[:1] == _VERSION


def key_of(sealed: bytes) -> bytes:
    """The id of the key that a value is encrypted with."""
    return sealed[1 : 1 + _ID]


def raw(text: str) -> bytes:
    """The bytes of a column of text: what is encrypted, or the text itself. Raises CheckpointError."""
    if not text.startswith(_TEXT):
        return text.encode()
    try:
        return base64.b64decode(text[len(_TEXT) :], validate=True)
    except ValueError:
        raise _no_text() from None


def _no_text() -> CheckpointError:
    return CheckpointError("an encrypted text of the ledger can't be read", "it was changed in the database")


def missing(ids: Iterable[bytes], keys: Keyring) -> CheckpointError:
    """The error of values that are encrypted with keys that are not here."""
    named = ", ".join(id_.hex() for id_ in ids)
    return CheckpointError(
        f"encrypted with the key {named}, "
        + (f"the key given is {keys!r}" if keys else "and no key is given"),
        "give the key that was in use then: --key-file FILE, which may hold several, one a line",
    )
