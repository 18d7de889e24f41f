"""A certificate says what a run left of each vessel; nobody without the key can say otherwise."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkmig import BulkmigError, Selection, UsageError, certificate, migrate, sync
from bulkmig.generate import FleetSpec
from tests.checkpoint.support import execute, fetchval, settings
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=36, vessels=2, equipment=4, nasty=0.0, least=0)
ALL = Selection(all=True)


def keys(directory: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key, in files."""
    key, private, public = Ed25519PrivateKey.generate(), directory / name, directory / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


async def test_a_certificate_holds_and_whatever_is_changed_in_it_or_since_is_found(
    fleets: Fleets, maintenance_url: str, tmp_path: Path
) -> None:
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, maintenance_url)
    report = await migrate(config, ALL)
    (private, public), (_, other) = keys(tmp_path, "mine"), keys(tmp_path, "other")
    file = tmp_path / "certificate.json"
    file.write_bytes(await certificate.make(config, report.run_id, private))
    assert await certificate.check(config, file, public) == []
    said = orjson.loads(file.read_bytes())["certificate"]
    assert {vessel["id"] for vessel in said["vessels"]} == set(origin.approved)
    for table in ("equipment", "critical_parts"):
        rows = sum(vessel["tables"].get(table, {"rows": 0})["rows"] for vessel in said["vessels"])
        assert rows == await fetchval(maintenance_url, f"SELECT count(*) FROM {table}")
    assert len(said["rules"]) == 64
    assert said["differences"] == 0
    with pytest.raises(UsageError, match="not what the key"):
        await certificate.check(config, file, other)
    forged = tmp_path / "forged.json"
    forged.write_bytes(file.read_bytes().replace(b'"rows": ', b'"rows": 1', 1))
    with pytest.raises(UsageError, match="not what the key"):
        await certificate.check(config, forged, public)
    for bad in (b"", b"{}", b'{"certificate": {}, "signature": 1}', b"[" * 5000):
        forged.write_bytes(bad)
        with pytest.raises(BulkmigError, match=r"no certificate|can't be read"):
            await certificate.check(config, forged, public)
    for wrong in (public, tmp_path / "none"):
        with pytest.raises(UsageError):
            await certificate.make(config, report.run_id, wrong)
    changed = origin.approved[0]
    renamed = "UPDATE equipment SET name = 'new', updated_at = now() WHERE vessel_id = $1::text::uuid"
    await execute(origin.url, renamed, changed)
    assert (await sync(config, ALL)).failures == []
    assert await certificate.check(config, file, public) == [changed]
