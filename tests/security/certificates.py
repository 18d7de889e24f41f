"""Certificates made for a test: authorities, servers, clients; right ones and wrong ones."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in files of PEM."""

    certificate: Path
    key: Path

    def owned_by(self, user: str) -> None:
        """Gives them to that user alone, as a server wants it."""
        for path in (self.certificate, self.key):
            shutil.chown(path, user)


class Authority:
    """Signs certificates; its own one is in `certificate`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory, self.name = directory, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        made = _builder(self._subject, self._subject, self._key.public_key())
        self._certificate = made.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).sign(self._key, hashes.SHA256())
        self.certificate = directory / f"{name}.crt"
        self.certificate.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, name: str, *hosts: str, file: str = "", days: int = 1, self_signed: bool = False) -> Pair:
        """A certificate for these hosts (names or addresses). `days`: how long it holds; negative: since when
        it doesn't."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = _name(name) if self_signed else self._subject
        made = _builder(_name(name), issuer, key.public_key(), days)
        if hosts:
            names = x509.SubjectAlternativeName([_general(host) for host in hosts])
            made = made.add_extension(names, critical=False)
        certificate = made.sign(key if self_signed else self._key, hashes.SHA256())
        stem = file or f"{self.name}-{name}"
        pair = Pair(self.directory / f"{stem}.crt", self.directory / f"{stem}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        pair.key.chmod(0o600)
        return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int = 1
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
