"""What most tests of sync begin with: a fleet of the module's `SPEC` that they may change, migrated."""

from __future__ import annotations

import pytest

from bulkmig import Settings, migrate
from tests.checkpoint.support import settings
from tests.support.fleets import Fleets, Origin
from tests.sync.scene import ALL


@pytest.fixture
async def origin(request: pytest.FixtureRequest, fleets: Fleets) -> Origin:
    return await fleets(request.module.SPEC, fresh=True)


@pytest.fixture
async def config(origin: Origin, maintenance_url: str) -> Settings:
    made = settings(origin, maintenance_url)
    await migrate(made, ALL)
    return made
