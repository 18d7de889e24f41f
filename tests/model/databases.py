"""Pairs of databases for one sequence after the other."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.model.run import ON_SQLITE
from tests.oracle.file import path_of
from tests.support import lane
from tests.support.servers import EmbeddedServers


class Databases:
    """Two databases for one sequence after the other."""

    def __init__(self, servers: EmbeddedServers) -> None:
        self.servers, self.server = servers, servers.get(servers.newest)

    def fresh(self) -> tuple[str, str]:
        """URLs of an empty source and an empty target."""
        source = self.server.url(self.servers.create(self.servers.newest, "onboarding"))
        if ON_SQLITE:
            return source, lane.fresh(Path(tempfile.mkdtemp()) / "portal.db")
        return source, self.server.url(self.servers.create(self.servers.newest, "maintenance"))

    def copies(self, source: str, target: str) -> tuple[str, str]:
        """URLs of copies of two that nobody is connected to."""
        if ON_SQLITE:
            file = Path(tempfile.mkdtemp()) / "portal.db"
            shutil.copy(path_of(target), file)
            return self._copy(source), f"sqlite:///{file}"
        return self._copy(source), self._copy(target)

    def _copy(self, url: str) -> str:
        return self.server.url(self.servers.copy(self.servers.newest, url.rpartition("/")[2]))

    def drop(self, *urls: str) -> None:
        """Removes them."""
        for url in urls:
            if url.startswith("sqlite:"):
                shutil.rmtree(Path(path_of(url)).parent)
                continue
            self.servers.drop(self.servers.newest, url.rpartition("/")[2])
