"""The benchmarks of the strategy document, each in a fresh process on fresh databases.

One vessel of 500, 1,500 and 5,000 equipment is migrated and verified, from the process's start to its exit;
then 100 rows of the source change, and the vessel is synced. The rows are made up from a seed. Databases are
made on the servers that are given, or on embedded ones, and dropped at the end; no other is touched.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import anyio.lowlevel
from anyio import to_thread

import bulkmig
from bulkmig.cli.measure import Cost, run
from bulkmig.embedded import server
from bulkmig.errors import BulkmigError
from bulkmig.generate import FleetSpec, create_schema, generate_fleet
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import DURABLE, session
from bulkmig.schemas import read

#: Equipment of a vessel -> the seconds that the strategy expects its migration to take.
EXPECTED = {500: 20.0, 1500: 60.0, 5000: 180.0}
CHANGES, SYNC_EXPECTED = 100, 7.0
# Names that get no longer, however often that is repeated.
_CHANGES = """
UPDATE equipment SET name = reverse(name), updated_at = now()
 WHERE id IN (SELECT id FROM equipment ORDER BY id LIMIT {half});
UPDATE documents SET name = reverse(name), updated_at = now()
 WHERE id IN (SELECT id FROM documents ORDER BY id LIMIT {half});
"""
_PREFIX = "bulkmig_bench_"


@dataclass(frozen=True)
class Servers:
    """An address on each side in which any database may be named, and how to reach them."""

    source: str = field(repr=False)
    target: str = field(repr=False)
    allow_insecure: bool = False

    def connect(self, url: str, role: str) -> Any:
        return session(parse(url, allow_insecure=self.allow_insecure), DURABLE, role=role)


@dataclass
class Result:
    """One benchmark: what every repetition cost, and what it may take."""

    name: str
    expected: float
    rows: int
    costs: list[Cost]

    @property
    def seconds(self) -> float:
        return median([cost.wall for cost in self.costs])

    @property
    def met(self) -> bool:
        return self.seconds <= self.expected

    def phases(self) -> dict[str, float]:
        """Median busy seconds of all workers by phase."""
        found = [cost.document.get("phases", {}) for cost in self.costs]
        return {name: median([phases.get(name, 0.0) for phases in found]) for name in found[0]}

    def document(self) -> dict[str, Any]:
        walls = [cost.wall for cost in self.costs]
        return {
            "name": self.name,
            "expected_seconds": self.expected,
            "seconds": {"median": self.seconds, "least": min(walls), "greatest": max(walls)},
            "met": self.met,
            "rows": self.rows,
            "cpu_seconds": median([cost.cpu for cost in self.costs]),
            "peak_memory_bytes": int(median([cost.peak for cost in self.costs])),
            "phases": self.phases(),
        }


@contextmanager
def embedded() -> Iterator[Servers]:
    """A server to throw away for each side."""
    with ExitStack() as stack:
        ends = [stack.enter_context(server()) for _ in range(2)]
        yield Servers(ends[0].url(), ends[1].url())


def environment(postgres: str) -> dict[str, Any]:
    """What the figures depend on besides the program."""
    return {
        "bulkmig": bulkmig.__version__,
        "python": platform.python_version(),
        "postgresql": postgres,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }


async def version(servers: Servers) -> str:
    """The target's version."""
    async with servers.connect(servers.target, "target") as connection:
        return str(await connection.fetchval("SHOW server_version"))


async def measure(
    servers: Servers,
    sizes: Sequence[int],
    *,
    seed: int,
    repeat: int,
    say: Callable[[str], None],
) -> list[Result]:
    """Runs every benchmark so many times after one that doesn't count. Raises BulkmigError where a run fails
    and PreflightError where a server can't be reached or makes no database."""
    found: list[Result] = []
    for size in sizes:
        say(f"a vessel of {size:,} equipment")
        spec = FleetSpec(seed=seed, vessels=1, equipment=size, exact=True, parts=3, documents=2)
        async with _database(servers, servers.source, "source") as source:
            await create_schema(source)
            await generate_fleet(source, spec)
            migrated: list[Cost] = []
            synced: list[Cost] = []
            for number in range(repeat + 1):
                async with _database(servers, servers.target, "target") as target:
                    async with servers.connect(target, "target") as connection:
                        await connection.execute(read("maintenance.postgres.sql"))
                    one = await _run(servers, "migrate", source, target)
                    await _change(servers, source)
                    other = await _run(servers, "sync", source, target)
                if number:
                    migrated.append(one)
                    synced.append(other)
            expected = next((EXPECTED[n] for n in sorted(EXPECTED) if n >= size), max(EXPECTED.values()))
            found.append(Result(f"{size} equipment", expected, _rows(migrated[-1]), migrated))
            name = f"sync of {CHANGES} in {size}"
            found.append(Result(name, SYNC_EXPECTED, _rows(synced[-1]), synced))
    return found


async def _change(servers: Servers, source: str) -> None:
    async with servers.connect(source, "source") as connection:
        await connection.execute(_CHANGES.format(half=CHANGES // 2))


def _rows(cost: Cost) -> int:
    """Target rows that were written."""
    return sum(n for of in cost.document["rows"].values() for kind, n in of.items() if kind != "unchanged")


async def _run(servers: Servers, verb: str, source: str, target: str) -> Cost:
    """A command in a process of its own, which is waited for in any case. The addresses are in its
    environment, where nobody else reads them, and its directory has no configuration file."""
    package = str(Path(bulkmig.__file__).parent.parent)
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    inherited = {
        **os.environ,
        "ONBOARDING_DB_URL": source,
        "MAINTENANCE_DB_URL": target,
        "PYTHONPATH": os.pathsep.join(paths),
    }
    extra = ["--allow-insecure"] if servers.allow_insecure else []
    command = [sys.executable, "-m", "bulkmig", verb, "--all", "--json", "--quiet", *extra]
    with tempfile.TemporaryDirectory(prefix="bulkmig-bench-") as directory:
        work = partial(run, command, {}, environment=inherited, directory=Path(directory))
        try:
            return await to_thread.run_sync(work)
        except RuntimeError as error:
            await anyio.lowlevel.checkpoint()  # a terminal's signal ends that process as well as this one
            raise BulkmigError(f"`bulkmig {verb}` failed: {error}", "see what it says") from None


@asynccontextmanager
async def _database(servers: Servers, server_url: str, role: str) -> AsyncIterator[str]:
    """The URL of a new database, dropped at the end."""
    name = _PREFIX + uuid4().hex[:12]
    async with servers.connect(server_url, role) as connection:
        try:
            # template0: nothing that somebody has added to new databases is in the way.
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
            yield _renamed(server_url, name)
        finally:
            with anyio.CancelScope(shield=True):
                await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _renamed(url: str, database: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{database}" + (f"?{parts.query}" if parts.query else "")
