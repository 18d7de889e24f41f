"""PostgreSQL servers and fresh databases for tests: cheap, because little is made twice."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from bulkmig import schemas
from bulkmig.embedded import Install, Server, best, installs, server
from tests.support.superuser import Superuser

Content = Literal["empty", "onboarding", "maintenance"]

OLDEST = 13  # the oldest major of the contract's schemas

_SCHEMAS: dict[Content, str] = {"onboarding": "onboarding.sql", "maintenance": "maintenance.postgres.sql"}

# Tests may lose data when the machine crashes. Everything else is as users have it.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "150"}

# A fresh database is 300 new files: in memory 0.04 s wherever, on a disk up to 0.5 s.
_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30  # bytes


def by_major() -> dict[int, Install]:
    """The newest install of every major version, newest first. Raises PreflightError if there is none."""
    found: dict[int, Install] = {}
    for install in installs():
        if install.version >= OLDEST:
            found.setdefault(install.version, install)
    return found or {best().version: best()}


def _place() -> Path | None:
    """Where servers keep their files: in memory if there is plenty, else where temporary files go."""
    plenty = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >= 2 * _ROOM
    if not (plenty and _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)):
        return None
    # Not where programs can't run: root may have to copy PostgreSQL's there.
    runs = not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
    return _MEMORY if runs and shutil.disk_usage(_MEMORY).free >= _ROOM else None


class EmbeddedServers:
    """At most one server of each major version, started when first asked for, stopped at the end."""

    def __init__(self) -> None:
        self._installs = by_major()
        self._running: dict[int, Server] = {}
        self._superusers: dict[int, Superuser] = {}
        self._templates: set[tuple[int, Content]] = set()
        self._numbers = itertools.count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def newest(self) -> int:
        """The newest major version."""
        return next(iter(self._installs))

    def get(self, major: int) -> Server:
        """The running server of `major`; started again if a test stopped it."""
        if major not in self._running:
            self._running[major] = self._stack.enter_context(
                server(install=self._installs[major], settings=_SETTINGS, within=_place())
            )
            self._superusers[major] = self._stack.enter_context(closing(Superuser(self._running[major])))
        self._running[major].start()
        return self._running[major]

    def create(self, major: int, content: Content) -> str:
        """A fresh database; returns its name. A schema is loaded once, then copied with its database."""
        if content == "empty":
            name = f"{content}_{next(self._numbers)}"
            self._copy(major, "template1", name)
            return name
        template = f"template_{content}"
        if (major, content) not in self._templates:
            self._copy(major, "template1", template)
            self.get(major).execute(schemas.read(_SCHEMAS[content]), template)
            self._templates.add((major, content))
        return self.copy(major, template)

    def copy(self, major: int, database: str) -> str:
        """A copy of a database that nobody is connected to; returns its name."""
        content = database.removeprefix("template_").partition("_")[0]
        name = f"{content}_{next(self._numbers)}"
        self._copy(major, database, name)
        return name

    def put(self, major: int, database: str, name: str) -> None:
        """Puts a copy of a database that nobody is connected to in the place of another one."""
        self.drop(major, name)
        self._copy(major, database, name)

    def drop(self, major: int, database: str) -> None:
        """Drops a database, whoever is still connected."""
        self._execute(major, f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def _copy(self, major: int, database: str, name: str) -> None:
        # Files copied as files take half the time of pages that go through the log.
        strategy = " STRATEGY file_copy" if major >= 15 else ""
        self._execute(major, f"CREATE DATABASE {name} TEMPLATE {database}{strategy}")

    def _execute(self, major: int, statement: str) -> None:
        self.get(major)
        self._superusers[major].execute(statement)


class Databases:
    """Makes the databases of one test: `databases("onboarding")` returns the URL of a fresh one."""

    def __init__(self, servers: EmbeddedServers, major: int, files: Path | None = None) -> None:
        self._files = files  # where targets lie, if they are on SQLite
        self._servers = servers
        self._major = major
        self._names: list[str] = []

    def __call__(self, content: Content = "empty") -> str:
        if self._files is not None and content == "maintenance":
            from tests.support.lane import fresh

            return fresh(self._files / f"portal-{len(list(self._files.iterdir()))}.db")
        name = self._servers.create(self._major, content)
        self._names.append(name)
        return self._servers.get(self._major).url(name)

    def copy(self, url: str) -> str:
        """The URL of a copy of a database of such a server's that nobody is connected to."""
        name = self._servers.copy(self._major, url.rpartition("/")[2])
        self._names.append(name)
        return self._servers.get(self._major).url(name)

    def drop(self) -> None:
        """Drop all that were made, whoever is still connected."""
        while self._names:
            self._servers.drop(self._major, self._names.pop())
