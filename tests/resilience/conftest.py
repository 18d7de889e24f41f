"""A small fleet, what an undisturbed migration makes of it, and a way to run one that is disturbed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from bulkmig import Report, Selection, Settings, Stop, migrate
from bulkmig.events import Event
from bulkmig.generate import FleetSpec
from tests.support.fleets import Fleets, Origin

SPEC = FleetSpec(seed=5, vessels=5, equipment=20, parts=1, documents=1, companies=2, users_per_company=2)

Migrate = Callable[..., Awaitable[Report]]


@pytest.fixture
async def origin(fleets: Fleets) -> Origin:
    """The source."""
    return await fleets(SPEC)


@pytest.fixture
def run(origin: Origin, maintenance_url: str) -> Migrate:
    """Migrates the whole fleet; every setting can be another."""

    async def call(
        listen: Callable[[Event], None] = lambda event: None, stop: Stop | None = None, **settings: Any
    ) -> Report:
        mine = Settings(
            source=origin.url,
            target=maintenance_url,
            on_error="quarantine",
            continue_on_error=True,
            outage=30.0,
            network_timeout=1.0,
        )
        return await migrate(
            msgspec.structs.replace(mine, **settings), Selection(all=True), listen=listen, stop=stop
        )

    return call


@pytest.fixture
async def undisturbed(fleets: Fleets, origin: Origin, databases: Callable[[str], str]) -> Report:
    """What a migration reports that nobody disturbs."""
    settings = Settings(
        source=origin.url, target=databases("maintenance"), on_error="quarantine", continue_on_error=True
    )
    return await fleets.migrate(origin, settings)


def figures(report: Report) -> dict[str, Any]:
    """What of a report must not depend on what went wrong on the way."""
    document = report.document()
    return {
        key: document[key]
        for key in ("status", "vessels", "rows", "findings", "quarantined", "pending", "stats", "lossiness")
    } | {"differences": document["verification"]["difference_count"]}
