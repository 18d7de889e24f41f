"""Which program it is: workers that would transform otherwise than the submitter decided are refused."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable

from bulkmig._version import __version__
from bulkmig.errors import PreflightError

# What decides about a cell besides this package: how CSV is read and written, and the hash of ids.
_LIBRARIES = ("polars", "polars-hash")


@cache
def digest() -> str:
    """A digest over the package's sources and the libraries that make cells."""
    sums = hashlib.sha256()
    for name in _LIBRARIES:
        sums.update(f"{name} {version(name)}\0".encode())
    for name, content in sorted(_sources(files("bulkmig"), "bulkmig")):
        sums.update(f"{name} {len(content)}\0".encode() + content)
    return sums.hexdigest()


def _sources(folder: Traversable, name: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        path = f"{name}/{entry.name}"
        if entry.is_dir() and entry.name != "__pycache__":
            found += _sources(entry, path)
        elif entry.name.endswith((".py", ".sql")):
            found.append((path, entry.read_bytes()))
    return found


def check(theirs: str, rules: str) -> None:
    """Raises PreflightError where a run was decided by another bulkmig than this."""
    if (theirs, rules) != (__version__, digest()):
        raise PreflightError(
            f"the run in the queue is of bulkmig {theirs} (rules {rules[:12]}), this worker is bulkmig"
            f" {__version__} (rules {digest()[:12]})",
            "install the same bulkmig, with the same polars, on every machine",
        )
