"""What a failed TLS handshake means, in words that say what to do."""

from __future__ import annotations

import ssl

import asyncpg

_TRUST = "name the certificate of the authority that signed the server's: sslrootcert=FILE"


def reason(error: BaseException) -> tuple[str, str] | None:
    """Why no trusted connection came about, and what to do; None where TLS is not the reason."""
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or "it can't be verified"
        if "mismatch" in why.lower() or "match" in why.lower():
            return "the server's certificate is for another host", "use the name that its certificate has"
        return f"the server's certificate is not trusted: {why}", _TRUST
    if isinstance(error, ssl.SSLError):
        what = (error.reason or "handshake failed").replace("_", " ").lower()
        return f"TLS failed: {what}", "check sslrootcert, sslcert and sslkey, and the server's TLS settings"
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in text:
        return (
            "the server offers no TLS, and a connection without it is refused",
            "turn ssl on at the server; if it is on, something between here and there takes it away",
        )
    if isinstance(error, ConnectionError) and "during SSL exchange" in text:
        return "the server refused to begin with TLS", "look into the server's log"
    if isinstance(error, asyncpg.ClientConfigurationError) and "certificate" in text:
        return (
            "no certificate authority is named to verify the server with",
            "name it: sslrootcert=FILE, or sslrootcert=system for those that this system trusts",
        )
    return None


def system_context(
    sslcert: str | None = None, sslkey: str | None = None, sslpassword: str | None = None
) -> ssl.SSLContext:
    """A context that trusts the authorities of this system, with the client's certificate if there is one.
    Raises OSError and ssl.SSLError."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["postgresql"])
    if sslcert:
        context.load_cert_chain(sslcert, sslkey, password=lambda: sslpassword or "")
    return context
