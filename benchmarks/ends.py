"""The two servers of a benchmark: the fleet on one, fresh targets on the other."""

from __future__ import annotations

import compileall
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import anyio
import asyncpg
import orjson

import bulkmig
from bulkmig import schemas
from bulkmig.embedded import Install, Server, server
from bulkmig.generate import FleetSpec, generate_fleet

# As one sets up a server that is to take a fleet, the same for every contender. All else is PostgreSQL's
# default: fsync, full_page_writes and autovacuum are on.
SETTINGS = {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
_SOURCE, _TEMPLATE = "onboarding", "maintenance"


class Ends:
    """A source that holds the fleet, and targets made fresh from a template."""

    def __init__(self, source: Server, target: Server) -> None:
        self.source, self.target = source, target
        self._made = 0

    @property
    def source_url(self) -> str:
        return self.source.url(_SOURCE)

    @property
    def psql(self) -> str:
        """psql of the servers' own install, else the one in PATH."""
        own = self.target.install.bindir / "psql"
        return str(own) if os.access(own, os.X_OK) else "psql"

    def processes(self) -> dict[str, int]:
        """The postmasters' process ids."""
        return {"source": self.source.pid or 0, "target": self.target.pid or 0}

    @contextmanager
    def fresh_target(self, template: str | None = _TEMPLATE) -> Iterator[str]:
        """The URL of a new target without rows, dropped at the end. No server has anything left to write."""
        self._made += 1
        name = f"target_{self._made}"
        self.target.create_database(name, template=template)
        self.settle()
        try:
            yield self.target.url(name)
        finally:
            self.target.drop_database(name)

    def settle(self) -> None:
        """Writes what earlier work left in memory, so that it is not charged to the next contender."""
        for one in (self.source, self.target):
            one.execute("CHECKPOINT")


@contextmanager
def ends(spec: FleetSpec, *, install: Install | None, directory: Path | None) -> Iterator[Ends]:
    """Starts both servers and generates the fleet. With a directory the source stays there, and the next run
    with the same fleet finds it."""
    # As pip leaves an installed package: else each process might compile it, for a quarter of a second.
    compileall.compile_dir(Path(bulkmig.__file__).parent, quiet=1)
    with ExitStack() as stack:
        kept = directory / "source" if directory is not None else None
        source = stack.enter_context(server(kept, install=install, settings=SETTINGS))
        target = stack.enter_context(server(install=install, settings=SETTINGS))
        _generate(source, spec, directory / "fleet.json" if directory is not None else None)
        target.create_database(_TEMPLATE)
        target.execute(schemas.read("maintenance.postgres.sql"), _TEMPLATE)
        yield Ends(source, target)


def _generate(source: Server, spec: FleetSpec, note: Path | None) -> None:
    wanted = orjson.dumps(asdict(spec))
    if note is not None and note.exists() and note.read_bytes() == wanted:
        return
    source.drop_database(_SOURCE)
    source.create_database(_SOURCE)
    source.execute(schemas.read("onboarding.sql"), _SOURCE)
    anyio.run(generate_fleet, source.url(_SOURCE), spec)
    source.execute("VACUUM ANALYZE", _SOURCE)
    if note is not None:
        note.write_bytes(wanted)


async def _contents(url: str) -> dict[str, tuple[int, str]]:
    connection = await asyncpg.connect(url, server_settings={"TimeZone": "UTC", "DateStyle": "ISO, YMD"})
    tables = await connection.fetch(
        "SELECT relname FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    found = {}
    for (table,) in tables:
        digest = hashlib.sha256()

        async def add(data: bytes, digest: hashlib._Hash = digest) -> None:
            digest.update(data)

        order = "1, 2" if table == "vessel_documents" else "1"
        status = await connection.copy_from_query(f"SELECT * FROM {table} ORDER BY {order}", output=add)
        found[table] = (int(status.rpartition(" ")[2]), digest.hexdigest())
    await connection.close()
    return found


def contents(url: str) -> dict[str, tuple[int, str]]:
    """Table -> its number of rows and a digest of all its cells, in the order of the key."""
    return anyio.run(_contents, url)
