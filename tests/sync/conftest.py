"""What most tests of sync begin with: a fleet of the module's `SPEC` that they may change, migrated."""

from __future__ import annotations

import pytest

from bulkmig import Settings
from tests.checkpoint.support import settings
from tests.support.fleets import Fleets, Origin


@pytest.fixture
async def origin(request: pytest.FixtureRequest, fleets: Fleets) -> Origin:
    return await fleets.changing(request.module.SPEC)


@pytest.fixture
async def config(fleets: Fleets, origin: Origin, maintenance_url: str) -> Settings:
    made = settings(origin, maintenance_url)
    await fleets.migrate(origin, made)
    return made
