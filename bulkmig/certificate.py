"""`bulkmig certificate`: what a run left of each vessel, in figures and digests, signed with Ed25519.

Whoever has the public key can tell later that this is what was certified, and, with the ledger, whether it is
still what bulkmig wrote. That the target holds it is for `bulkmig verify` to say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Any

import orjson
import polars as pl
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bulkmig._core.frames import to_csv
from bulkmig._core.program import digest as rules
from bulkmig._core.stored import document
from bulkmig._version import __version__
from bulkmig.config import Settings
from bulkmig.entities import ENTITIES
from bulkmig.errors import UsageError
from bulkmig.ledger import access, audit, base, chain
from bulkmig.ledger.read import one_run, run_list
from bulkmig.postgres.session import Connection
from bulkmig.preflight import target_only

_LARGEST = 256 * 2**20  # bytes of a certificate: some hundred a table of a vessel
_OF_RUN = ("id", "command", "status", "started_at", "finished_at", "operator")
_VESSELS = """
SELECT vessel_id::text AS id, name, state FROM bulkmig.vessels WHERE run_id = $1::text::uuid
 ORDER BY vessel_id
"""


async def make(settings: Settings, run_id: str, key_file: Path) -> bytes:
    """The certificate of a run, by its id or how that begins: JSON. Raises UsageError."""
    key = _private(key_file)
    async with target_only(settings, unsealed=True, current=True) as target:
        await access.check(target, settings.operator, "administer", f"certificate of {run_id}")
        (run,) = await run_list(target, await one_run(target, run_id))
        report = run["report"] or {}
        said = {
            **{name: run[name] for name in _OF_RUN},
            "bulkmig": __version__,
            "rules": rules(),
            "source_snapshot": await target.fetchval(
                "SELECT source_snapshot FROM bulkmig.runs WHERE id = $1::text::uuid", run["id"]
            ),
            "differences": report.get("verification", {}).get("difference_count"),
            "audit_head": str(await chain.head(target)),
            "vessels": [
                {**dict(row), "tables": await _tables(target, row["id"])}
                for row in await target.fetch(_VESSELS, run["id"])
            ],
        }
        await audit.alone(target, audit.who(settings.operator), "certified", f"run {run['id']}")
    text = _canonical(said)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = {
        "certificate": said,
        "signature": base64.b64encode(key.sign(text)).decode(),
        "public_key": public.decode(),
    }
    return orjson.dumps(signed, option=orjson.OPT_INDENT_2) + b"\n"


async def check(settings: Settings, file: Path, key_file: Path) -> list[str]:
    """Ids of certified vessels of which bulkmig has written something else since. Raises UsageError for what
    the key didn't sign."""
    said = _signed(file, key_file)
    async with target_only(settings, unsealed=True, current=True) as target:
        return [
            vessel["id"]
            for vessel in said.get("vessels", [])
            if vessel["tables"] != await _tables(target, vessel["id"])
        ]


def _signed(file: Path, key_file: Path) -> dict[str, Any]:
    try:
        found = document(_read(file, _LARGEST).decode(), str(file))
        said, signature = found["certificate"], base64.b64decode(found["signature"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise UsageError(f"{file} is no certificate", "as `bulkmig certificate make` writes it") from None
    try:
        _public(key_file).verify(signature, _canonical(said))
    except InvalidSignature:
        raise UsageError(
            f"{file} is not what the key {key_file} signed", "it was changed, or another key signed it"
        ) from None
    return dict(said)


async def _tables(connection: Connection, vessel: str) -> dict[str, dict[str, Any]]:
    """Table -> rows and digest of what bulkmig last wrote of a vessel."""
    found = {}
    for entity in ENTITIES:
        image = await base.read(connection, [vessel], entity.name) if entity.tables else None
        if image is None:
            continue
        image = image.sort("source_id")
        for table in entity.tables:
            flag = f"?{table.name}"
            rows = image.filter(pl.col(flag)) if flag in image.columns else image
            cells = rows.select("source_id", *sorted(f"{table.name}.{name}" for name in table.cells))
            if rows.height:
                found[table.name] = {"rows": rows.height, "sha256": hashlib.sha256(to_csv(cells)).hexdigest()}
    return found


def _canonical(said: object) -> bytes:
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def _read(path: Path, most: int = 64 * 1024) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:
        raise UsageError(f"can't read {path}: {getattr(error, 'strerror', None) or 'no path'}") from None


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 key", "make one: openssl genpkey -algorithm ed25519")
    return key


def _public(path: Path) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is no public Ed25519 key", "make it: openssl pkey -in KEY -pubout")
    return key
