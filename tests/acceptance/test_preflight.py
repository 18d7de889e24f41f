"""What is wrong with a database is said before anything is touched: by its name, and with what to do."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator

import pytest

from bulkmig import PreflightError, Report, Selection, Settings, UsageError, migrate, plan, validate
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec, generate_fleet
from tests.support.dumps import dump, objects

SPEC = FleetSpec(seed=10, vessels=1, equipment=3)
ALL = Selection(all=True)
_numbers = itertools.count(1)

Command = Callable[[Settings, Selection], Awaitable[Report]]
NewRole = Callable[[str, str], str]


@pytest.fixture
def role(pg: Server) -> Iterator[NewRole]:
    """A role with these rights in a database: `role(url, grants)` returns the URL to connect as it. The role is
    `{role}` in the grants."""
    made: list[tuple[str, str]] = []

    def make(url: str, grants: str) -> str:
        name, database = f"limited_{next(_numbers)}", url.rpartition("/")[2]
        pg.execute(f"CREATE ROLE {name} LOGIN")
        made.append((name, database))
        pg.execute(grants.format(role=name), database)
        return pg.url(database, user=name)

    yield make
    for name, database in made:
        pg.execute(f"DROP OWNED BY {name}", database)
        pg.execute(f"DROP ROLE {name}")


async def refused(source: str, target: str, command: Command = migrate) -> PreflightError:
    """The error with which a command ends; nothing has changed at either end."""
    before = [(await dump(url), await objects(url)) for url in (source, target)]
    with pytest.raises(PreflightError) as caught:
        await command(Settings(source=source, target=target), ALL)
    superusers = [url.replace(url.split("@")[0], "postgresql://postgres") for url in (source, target)]
    assert [(await dump(url), await objects(url)) for url in superusers] == before
    assert caught.value.hint
    assert caught.value.exit_status == 3
    return caught.value
