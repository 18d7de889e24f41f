"""Connection URLs: parsed once, checked against the transport rule, printed without secrets.

The rule (cli.md, "Connections"): a TCP connection that leaves this machine uses `sslmode=verify-full`;
anything weaker is refused unless it was allowed explicitly.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from bulkmig._core.ask import words
from bulkmig.errors import PreflightError, UsageError
from bulkmig.postgres.password import PasswordCommand
from bulkmig.postgres.tls import reason, system_context
from bulkmig.security.seal import NO_KEYS, Keyring

# libpq parameters that asyncpg would hand to the server as settings, which refuses them.
_IGNORED = {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"}
_REFUSED = {
    "load_balance_hosts": "name one host",
    "requirepeer": "leave it out",
    "service": "write the URL out",
    "sslcrl": "leave it out",
}
_PASSED = {
    "host", "port", "user", "password", "dbname", "database", "passfile", "sslmode", "sslrootcert", "sslcert",
    "sslkey", "sslpassword", "sslnegotiation", "target_session_attrs", "gsslib", "krbsrvname", "options",
    "application_name", "ssl_min_protocol_version", "ssl_max_protocol_version",
}  # fmt: skip
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Address:
    """A PostgreSQL address. `url` is what asyncpg connects to and is left out of `repr`. `keys` seal
    the ledger's values there."""

    url: str = field(repr=False)
    shown: str
    local: bool
    sslmode: str
    connect_timeout: float
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    network_timeout: float = 10.0
    password: Callable[[], Awaitable[str | None]] | None = field(default=None, repr=False)
    keys: Keyring = NO_KEYS

    async def secret(self) -> str | None:
        """The password that a command yields, asked before the connection's time-out begins; else None, and
        the driver looks into URL, environment and passfile."""
        return await self.password() if self.password is not None else None


def parse(
    url: str,
    *,
    allow_insecure: bool = False,
    connect_timeout: float = 2.0,
    network_timeout: float = 10.0,
    password_command: str = "",
    end: str = "",
    keys: Keyring = NO_KEYS,
) -> Address:
    """Reads a `postgresql://` URL. Time-outs in seconds; the URL may name its own `connect_timeout`.
    `password_command` is asked for the password of this `end` unless the URL has one.

    Raises UsageError for what can't be read, PreflightError for a transport that the rule refuses."""
    parts, query = _read(url)
    if os.environ.get("PGSERVICE"):
        # The driver would take the host from it, after the transport was judged.
        raise UsageError("the variable PGSERVICE is not supported", "unset it and write the URL out")
    kept, connect_timeout = _parameters(query, connect_timeout)
    hosts = _named_hosts(parts, kept)
    local = all(_is_local(h) for h in hosts)
    kept["sslmode"] = mode = _mode(kept, local, allow_insecure)
    tls = None
    if (kept.get("sslrootcert") or os.environ.get("PGSSLROOTCERT")) == "system":
        kept.pop("sslrootcert", None)
        tls = _system(kept) if mode not in ("disable", "allow", "prefer") else None
    for key in ("sslrootcert", "sslcert", "sslkey"):
        if key in kept and mode != "disable":
            _readable(key, kept[key])
    full = parts._replace(query=urlencode(kept, quote_via=quote)).geturl()
    asked = None
    if password_command and not (parts.password or kept.get("password")):
        words(password_command, "password_command")
        about = {
            "BULKMIG_END": end,
            "BULKMIG_HOST": ",".join(hosts),
            "BULKMIG_USER": unquote(parts.username or kept.get("user") or os.environ.get("PGUSER") or ""),
            "BULKMIG_DATABASE": unquote(parts.path.lstrip("/")),
        }
        asked = PasswordCommand(password_command, about)
    return Address(full, _shown(url), local, mode, connect_timeout, tls, network_timeout, asked, keys)


def _read(url: str) -> tuple[SplitResult, dict[str, str]]:
    """The URL's parts, and its parameters."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise UsageError(
            "a PostgreSQL address is a URL: postgresql://user@host:5432/database",
            "write the address as a URL (key=value strings are not read)",
        )
    try:
        parts = urlsplit(url)
        # Which host that means is read in two ways.
        if parts.netloc.count("@") > 1 or parts.path.startswith("//"):
            raise ValueError
        return parts, dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise UsageError("the PostgreSQL URL can't be read", "escape special characters as %XX") from error


def _parameters(query: Mapping[str, str], connect_timeout: float) -> tuple[dict[str, str], float]:
    """The parameters that the driver gets, and the seconds that a connection may take."""
    kept: dict[str, str] = {}
    if os.environ.get("PGCONNECT_TIMEOUT") and "connect_timeout" not in query:
        connect_timeout = _seconds(os.environ["PGCONNECT_TIMEOUT"])
    for key, value in query.items():
        if key == "connect_timeout":
            connect_timeout = _seconds(value)
        elif key == "channel_binding":
            if value == "require":
                raise UsageError("channel_binding=require is not supported", "use sslmode=verify-full")
        elif key in _REFUSED:
            raise UsageError(f"the URL parameter {key} is not supported", _REFUSED[key])
        elif key in _PASSED:
            kept[key] = value
        elif key not in _IGNORED:
            named = f" {key}" if re.fullmatch("[a-z_]{1,40}", key) else ""
            raise UsageError(f"the URL parameter{named} is not known", "see libpq's connection parameters")
    return kept, connect_timeout


def _named_hosts(parts: SplitResult, kept: Mapping[str, str]) -> list[str]:
    """The hosts that URL, parameters or environment name."""
    in_netloc = _hosts(parts.netloc)
    named = kept.get("host") or os.environ.get("PGHOST") or ""
    hosts = in_netloc if in_netloc != [""] else named.split(",") if named else []
    if not all(hosts):
        raise UsageError("a host of the PostgreSQL URL has no name", "leave out the comma before or after it")
    if not all(map(_is_port, [*_ports(parts.netloc), *kept.get("port", "").split(",")])):
        raise UsageError(
            "a port of the PostgreSQL URL is no number from 1 to 65535", "e.g. host:5432/database"
        )
    return hosts


def _mode(kept: Mapping[str, str], local: bool, allow_insecure: bool) -> str:
    """The sslmode in force. Raises PreflightError where the rule refuses it."""
    mode = kept.get("sslmode") or os.environ.get("PGSSLMODE") or ("prefer" if local else "verify-full")
    if mode not in _MODES:
        raise UsageError("the sslmode is not known", f"one of {', '.join(_MODES)}")
    if not local and mode != "verify-full" and not allow_insecure:
        raise PreflightError(
            f"sslmode={mode} is too weak for a connection that leaves this machine",
            "use sslmode=verify-full with sslrootcert, or say --allow-insecure",
        )
    return mode


def _readable(key: str, path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no path"
        raise PreflightError(f"{key} can't be read: {why}", f"check {path!r}") from None


def _system(kept: dict[str, str]) -> ssl.SSLContext:
    certificate = kept.get("sslcert") or os.environ.get("PGSSLCERT")
    try:
        return system_context(
            certificate, kept.get("sslkey") or os.environ.get("PGSSLKEY"), kept.get("sslpassword")
        )
    except OSError as error:
        why, hint = reason(error) or ("the client's certificate can't be read", "check sslcert and sslkey")
        raise PreflightError(why, hint) from None


def masked(url: str) -> str:
    """An address as it was given, without its secrets."""
    if _ambiguous(url):
        return "postgresql://…"
    url = re.sub(r"(?<=://)([^:@/]*):[^@/]*@", r"\1:***@", url)
    return re.sub(r"(?<=[?&])(password|sslpassword)=[^&]*", r"\1=***", url, flags=re.IGNORECASE)


def _ambiguous(url: str) -> bool:
    """Whether a password may stand anywhere in it, because it wasn't escaped."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    return parts.netloc.count("@") > 1 or "@" in parts.path or ("@" in url and "@" not in parts.netloc)


def _shown(url: str) -> str:
    if _ambiguous(url):
        return "postgresql://…"
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user = unquote(parts.netloc.rpartition("@")[0].partition(":")[0]) if "@" in parts.netloc else ""
    where = dict(parse_qsl(parts.query)).get("host", "")
    return f"postgresql://{user + '@' if user else ''}{host or where}{parts.path}"


def _hosts(netloc: str) -> list[str]:
    hosts = []
    for spec in netloc.rpartition("@")[2].split(","):
        if spec.startswith("["):
            hosts.append(spec[1:].partition("]")[0])
        else:
            hosts.append(unquote(spec.partition(":")[0]))
    return hosts


def _ports(netloc: str) -> list[str]:
    specs = netloc.rpartition("@")[2].split(",")
    return [spec[spec.rfind("]") + 1 :].partition(":")[2] for spec in specs]


def _is_port(text: str) -> bool:
    """Nothing stands for the port that PostgreSQL has by default."""
    return not text or (re.fullmatch("[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535)


def _is_local(host: str) -> bool:
    if host.startswith("/") or host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
        if not 0 <= seconds <= 3600:
            raise ValueError
        return max(seconds, 0.001)
    except ValueError:
        raise UsageError("connect_timeout is a number of seconds", "e.g. connect_timeout=5") from None
