"""Fleets for workers: a source, what one process makes of it, and fresh targets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from bulkmig.generate import FleetSpec
from tests.cluster.machines import Machine, machines, plain, why_not
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets
from tests.support.programs import Ended, run
from tests.support.servers import Databases, EmbeddedServers

MODE = ("--on-error", "quarantine", "--continue-on-error")
MIGRATE = ("migrate", "--all", "--queue", *MODE)
# Figures that depend on who did what and how long it took.
_VARY = {"run_id", "phases", "seconds", "timeline", "memory", "peak_memory_bytes", "verification"}


@dataclass(frozen=True)
class Fleet:
    """A source, and what one process makes of it: the target's dump, and the JSON document."""

    source: str
    approved: int
    dump: dict[str, bytes]
    document: dict[str, Any]

    async def same(self, target: str, ended: Ended, *, but: tuple[str, ...] = ()) -> None:
        """A run over workers ended as one process does: no difference, every vessel migrated once."""
        assert ended.status == 0, ended.said[-4000:]
        assert apart(self.dump, await dump(target, schema="public")) == []
        assert ended.document["verification"]["difference_count"] == 0
        assert ended.document["verification"]["failed"] == 0
        assert apart_in(self.document["findings"], ended.document["findings"]) == {}
        for key, value in self.document.items():
            if key not in _VARY and key not in but:
                assert ended.document[key] == value, key
        await written_once(target)


def apart_in(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The codes of which there are more or fewer findings."""
    codes = one["by_code"] | other["by_code"]
    pairs = {code: (one["by_code"].get(code, 0), other["by_code"].get(code, 0)) for code in codes}
    return {code: pair for code, pair in pairs.items() if pair[0] != pair[1]}


async def written_once(target: str) -> None:
    """The ledger and the audit log know of one migration of each vessel, and the queue is empty."""
    connection = await asyncpg.connect(target)
    try:
        twice = await connection.fetch(
            "SELECT vessel_id, count(*) FROM bulkmig.audit WHERE vessel_id IS NOT NULL"
            " AND action IN ('migrated', 'quarantined') GROUP BY vessel_id HAVING count(*) > 1"
        )
        assert [tuple(row) for row in twice] == []
        marked = await connection.fetchval("SELECT count(*) FROM bulkmig.vessels WHERE state <> 'failed'")
        assert marked == await connection.fetchval(
            "SELECT count(DISTINCT vessel_id) FROM bulkmig.audit WHERE action IN ('migrated', 'quarantined')"
        )
        assert not await connection.fetch(
            "SELECT vessel_id FROM bulkmig.base WHERE entity = 'vessel' GROUP BY vessel_id"
            " HAVING count(*) > 1"
        )
        assert await connection.fetchval("SELECT count(*) FROM bulkmig.pgqueuer") == 0
    finally:
        await connection.close()


Make = Callable[[FleetSpec], Awaitable[Fleet]]


@pytest.fixture(scope="session")
def fleet(fleets: Fleets, embedded_servers: EmbeddedServers) -> Make:
    """`await fleet(spec)`: made once a session."""
    made: dict[FleetSpec, Fleet] = {}
    alone = Databases(embedded_servers, embedded_servers.newest)

    async def make(spec: FleetSpec) -> Fleet:
        if spec not in made:
            origin = await fleets(spec)
            target = alone("maintenance")
            ended = await run(origin.url, target, "migrate", "--all", *MODE)
            assert ended.status == 0, ended.said[-4000:]
            made[spec] = Fleet(
                origin.url, len(origin.approved), await dump(target, schema="public"), ended.document
            )
            alone.drop()
        return made[spec]

    return make


Places = Callable[..., Any]


@pytest.fixture(scope="session")
def namespaces() -> str:
    """Why there are none, or ''."""
    return why_not()


@asynccontextmanager
async def places(count: int, source: str, target: str, why: str) -> AsyncIterator[list[Machine]]:
    """Machines of their own where that is possible."""
    if why:
        yield plain(count, source, target)
        return
    async with machines(count, source, target) as made:
        yield made
