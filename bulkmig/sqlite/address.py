"""Addresses of SQLite files: `sqlite:///relative/path` and `sqlite:////absolute/path`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from bulkmig.errors import UsageError
from bulkmig.postgres.dsn import Address

SCHEME = "sqlite:"


@dataclass(frozen=True)
class FileAddress(Address):
    """Where a SQLite portal lies. `scratch`: nothing may be written, not even what bulkmig notes of ids."""

    path: str = ""
    scratch: bool = False


def is_file(url: str) -> bool:
    """Whether a URL means a SQLite file."""
    return url.startswith(SCHEME)


def parse(url: str) -> FileAddress:
    """Reads a `sqlite:///` URL. Raises UsageError."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or not url.startswith("sqlite:///"):
        raise UsageError(
            "a SQLite address is a URL with three slashes: sqlite:///path/to/maintenance.db",
            "an absolute path has a fourth: sqlite:////srv/maintenance.db",
        )
    if parts.query or parts.fragment:
        raise UsageError("a SQLite address has no parameters", "write ? and # in a path as %3F and %23")
    path = unquote(parts.path[1:])
    if not path or path == ":memory:" or "\0" in path:
        raise UsageError("a SQLite address names a file", "e.g. sqlite:///maintenance.db")
    return FileAddress(url, f"sqlite:///{path}", True, "", 0.0, path=path)
