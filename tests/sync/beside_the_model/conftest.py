"""Sessions on which model and package agree, before the first step."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.model.beginnings import Beginnings
from tests.model.session import Session
from tests.support.servers import EmbeddedServers


@pytest.fixture(scope="session")
def beginnings(embedded_servers: EmbeddedServers) -> Beginnings:
    return Beginnings(embedded_servers)


@pytest.fixture
async def session(beginnings: Beginnings) -> AsyncIterator[Session]:
    """All vessels migrated, and one thing that the model and the package agree on, with `--on-error
    quarantine`."""
    async with beginnings("quarantine") as made:
        yield made


@pytest.fixture
async def failing(beginnings: Beginnings) -> AsyncIterator[Session]:
    """The same with `--on-error fail`."""
    async with beginnings("fail") as made:
        yield made
