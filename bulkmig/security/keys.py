"""Which keys there are: from a file, a command or the environment; and which ones the ledger needs."""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from os import environ
from pathlib import Path

from bulkmig._core.ask import answer
from bulkmig.config import Settings
from bulkmig.errors import PreflightError, UsageError
from bulkmig.security.seal import Keyring, Seal

VARIABLE = "BULKMIG_KEY"
_MOST = 64 * 1024  # bytes of a file with keys


def from_settings(settings: Settings) -> Keyring:
    """The keys in `key_file`, else those that `key_command` prints, else those in the environment, else none.
    One a line, 32 bytes each in base64 or hex; the first one writes. Raises UsageError, PreflightError where
    there must be a key and is none."""
    if settings.key_file:
        text = _read(settings.key_file)
    elif settings.key_command:
        text = _asked(settings.key_command)
    else:
        text = environ.get(VARIABLE, "")
    lines = [line.strip() for line in text.replace(",", "\n").splitlines()]
    ring = Keyring(_seal(line) for line in lines if line and not line.startswith("#"))
    if not ring and (settings.key_file or settings.key_command):
        raise UsageError("there is no key where one is named", "make one with: openssl rand -base64 32")
    return ring


def required(settings: Settings) -> Keyring:
    """The same for a command that writes. Raises PreflightError where the configuration asks for encryption
    and there is no key."""
    ring = from_settings(settings)
    if settings.require_encryption and not ring:
        raise PreflightError(
            "the configuration asks for encryption and there is no key",
            f"make one (openssl rand -base64 32) and name it: key_file, key_command or {VARIABLE}",
        )
    return ring


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MOST).decode("ascii")
    except (OSError, ValueError) as error:
        raise UsageError(f"can't read the key file {path}", "check --key-file") from error


@lru_cache(maxsize=4)
def _asked(command: str) -> str:
    return answer(command, {}, "key_command")


def _seal(text: str) -> Seal:
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == 32:
            return Seal(key)
    raise UsageError("a key is not 32 bytes in base64 or hex", "make one with: openssl rand -base64 32")


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
