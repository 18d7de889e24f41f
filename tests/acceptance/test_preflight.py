"""What is wrong with a database is said before anything is touched: by its name, and with what to do."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import msgspec
import pytest

from bulkmig import (
    PreflightError,
    Report,
    Selection,
    Settings,
    UsageError,
    migrate,
    plan,
    schemas,
    sync,
    validate,
    verify,
)
from bulkmig.embedded import Server
from bulkmig.generate import FleetSpec
from tests.support.dumps import dump, objects
from tests.support.fleets import Fleets, Origin

SPEC = FleetSpec(seed=10, vessels=1, equipment=3)
ALL = Selection(all=True)
_numbers = itertools.count(1)

Command = Callable[[Settings, Selection], Awaitable[Report]]
NewRole = Callable[[str, str], str]

READ_ALL = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};"
WRITE_ALL = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};"
MAY_CREATE = "DO $$ BEGIN EXECUTE 'GRANT CREATE ON DATABASE ' || current_database() || ' TO {role}'; END $$;"


async def dry(settings: Settings, selection: Selection) -> Report:
    return await migrate(msgspec.structs.replace(settings, dry_run=True), selection)


@pytest.fixture
def role(pg: Server) -> Iterator[NewRole]:
    """A role with certain rights in a database: `role(url, grants)` returns the URL to connect as it. In the
    grants it is `{role}`."""
    made: list[tuple[str, str]] = []

    def make(url: str, grants: str) -> str:
        name, database = f"limited_{next(_numbers)}", url.rpartition("/")[2]
        pg.execute(f"CREATE ROLE {name} LOGIN")
        made.append((name, database))
        pg.execute(grants.replace("{role}", name), database)
        return pg.url(database, user=name)

    yield make
    for name, database in made:
        pg.execute(f"DROP OWNED BY {name}", database)
        pg.execute(f"DROP ROLE {name}")


@dataclass
class Ends:
    """A source with a small fleet and a fresh target, as their owner sees them."""

    pg: Server
    source: str
    target: str

    def change(self, url: str, statement: str) -> None:
        self.pg.execute(statement, url.rpartition("/")[2])

    async def refuse(
        self, *, source: str = "", target: str = "", command: Command = migrate
    ) -> PreflightError:
        """The error in which a command ends; nothing has changed at either end."""
        [error] = await self.refuse_each(command, source=source, target=target)
        return error

    async def refuse_each(
        self, *commands: Command, source: str = "", target: str = ""
    ) -> list[PreflightError]:
        """The same for one command after the other."""
        before, errors = await self._whole(), []
        for command in commands:
            with pytest.raises(PreflightError) as caught:
                await command(Settings(source=source or self.source, target=target or self.target), ALL)
            assert await self._whole() == before
            assert caught.value.hint
            assert caught.value.exit_status == 3
            errors.append(caught.value)
        return errors

    async def _whole(self) -> list[tuple[dict[str, bytes], list[str]]]:
        return [(await dump(url), await objects(url)) for url in (self.source, self.target)]


@pytest.fixture
async def origin(fleets: Fleets) -> Origin:
    return await fleets.changing(SPEC)


@pytest.fixture
async def ends(pg: Server, origin: Origin, maintenance_url: str) -> Ends:
    return Ends(pg, origin.url, maintenance_url)


async def test_a_source_table_that_may_not_be_read_is_named(ends: Ends, role: NewRole) -> None:
    limited = role(ends.source, READ_ALL + "REVOKE SELECT ON documents FROM {role};")
    for error in await ends.refuse_each(migrate, plan, validate, source=limited):
        assert error.message.endswith("as bulkmig reads it: table documents may not be read")
        assert "GRANT SELECT" in error.hint


async def test_a_source_column_that_may_not_be_read_is_named(ends: Ends, role: NewRole) -> None:
    limited = role(
        ends.source,
        READ_ALL + "REVOKE SELECT ON users FROM {role};"
        "GRANT SELECT (id, company_id, email, password_hash, first_name, last_name, role, avatar_url,"
        " is_active, settings, created_at, updated_at) ON users TO {role};",
    )
    error = await ends.refuse(source=limited)
    assert error.message.endswith("as bulkmig reads it: column users.phone may not be read")


async def test_a_role_that_may_only_read_the_tables_that_move_is_enough_for_the_source(
    ends: Ends, role: NewRole
) -> None:
    limited = role(ends.source, READ_ALL + "REVOKE SELECT ON audit_logs FROM {role};")
    report = await migrate(Settings(source=limited, target=ends.target), ALL)
    assert (report.status, report.done) == ("completed", 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE critical_parts DROP COLUMN quantity", "column critical_parts.quantity is missing"),
        ("ALTER TABLE users RENAME COLUMN phone TO telephone", "column users.phone is missing"),
        ("DROP TABLE quality_scores", "table quality_scores is missing"),
    ],
)
async def test_what_the_source_lacks_is_named(ends: Ends, change: str, named: str) -> None:
    ends.change(ends.source, change)
    assert named in (await ends.refuse()).message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE part_details DROP COLUMN manufacturer", "column part_details.manufacturer is missing"),
        ("DROP TABLE vessel_documents", "table vessel_documents is missing"),
    ],
)
async def test_what_the_target_lacks_is_named(ends: Ends, change: str, named: str) -> None:
    ends.change(ends.target, change)
    assert named in (await ends.refuse()).message


@pytest.mark.parametrize(
    ("grants", "named"),
    [
        (
            MAY_CREATE + WRITE_ALL + "REVOKE INSERT ON part_details FROM {role};",
            "as bulkmig writes it: table part_details may not be written: no INSERT",
        ),
        (
            MAY_CREATE + WRITE_ALL + "REVOKE INSERT ON users FROM {role};"
            "GRANT INSERT (id, company_id, email, password_hash, first_name, last_name, role, avatar_url,"
            " is_active, created_at) ON users TO {role};",
            "column users.updated_at may not be written",
        ),
        (WRITE_ALL, "may not create"),
    ],
    ids=["table", "column", "ledger"],
)
async def test_what_the_role_may_not_do_in_the_target_is_named(
    ends: Ends, role: NewRole, grants: str, named: str
) -> None:
    assert named in (await ends.refuse(target=role(ends.target, grants))).message


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("CREATE TABLE bulkmig.vessels (x int)", "names of its tables: bulkmig.vessels"),
        ("CREATE TABLE bulkmig.migrations (x int)", "names of its tables: bulkmig.migrations"),
        (
            "CREATE TABLE bulkmig.migrations (version int); CREATE VIEW bulkmig.base AS SELECT 1 AS x",
            "names of its tables: bulkmig.base",
        ),
        ("CREATE VIEW bulkmig.migrations AS SELECT 12 AS version", "table access is missing"),
    ],
)
async def test_what_bears_the_names_of_the_ledgers_tables_and_is_none_is_named(
    ends: Ends, made: str, named: str
) -> None:
    ends.change(ends.target, f"CREATE SCHEMA bulkmig; {made}")
    for error in await ends.refuse_each(migrate, plan):
        assert named in error.message


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("DROP TABLE bulkmig.base", "table base is missing"),
        (
            "ALTER TABLE bulkmig.vessels DROP COLUMN source_snapshot",
            "column vessels.source_snapshot is missing",
        ),
        ("DROP TABLE bulkmig.migrations", "bulkmig.access, bulkmig.audit"),
        ("DELETE FROM bulkmig.migrations", "bulkmig.access, bulkmig.audit"),
        ("DELETE FROM bulkmig.migrations WHERE version > 2", "table access is of a later one"),
    ],
)
async def test_a_ledger_that_has_lost_a_part_is_named_and_left_alone(
    fleets: Fleets, origin: Origin, ends: Ends, lost: str, named: str
) -> None:
    await fleets.migrate(origin, Settings(source=ends.source, target=ends.target))
    ends.change(ends.target, lost)
    for error in await ends.refuse_each(migrate, sync, verify):
        assert named in error.message


@pytest.mark.parametrize("command", [plan, validate])
async def test_looking_needs_no_right_to_write(ends: Ends, role: NewRole, command: Command) -> None:
    source, target = role(ends.source, READ_ALL), role(ends.target, READ_ALL)
    report = await command(Settings(source=source, target=target), ALL)
    assert (report.status, report.done) == ("completed", 1)


async def test_a_role_with_the_least_rights_migrates(ends: Ends, role: NewRole) -> None:
    source, target = role(ends.source, READ_ALL), role(ends.target, MAY_CREATE + WRITE_ALL)
    report = await migrate(Settings(source=source, target=target), ALL)
    assert (report.status, report.done, report.verified.difference_count) == ("completed", 1, 0)


async def test_one_database_at_both_ends_is_refused(ends: Ends) -> None:
    for url in (ends.source, ends.target):
        assert "check the address" in (await ends.refuse(source=url, target=url)).hint


async def test_ends_that_are_mixed_up_are_refused(ends: Ends) -> None:
    error = await ends.refuse(source=ends.target, target=ends.source)
    assert "check" in error.hint
    assert "source" in error.message


async def test_a_target_that_takes_no_writes_is_refused(ends: Ends) -> None:
    name = ends.target.rpartition("/")[2]
    ends.change(ends.target, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert "read-only" in (await ends.refuse()).message
    assert "read-only" in (await ends.refuse(command=dry)).message


async def test_a_dry_run_needs_the_rights_of_a_run(ends: Ends, role: NewRole) -> None:
    limited = role(ends.target, WRITE_ALL + "REVOKE INSERT ON part_details FROM {role};")
    assert "part_details" in (await ends.refuse(target=limited, command=dry)).message


@pytest.mark.parametrize("command", [migrate, plan])
async def test_a_target_whose_encoding_has_no_place_for_some_texts_is_refused(
    ends: Ends, command: Command
) -> None:
    name = f"latin_{next(_numbers)}"
    ends.pg.execute(
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    try:
        ends.pg.execute(schemas.read("maintenance.postgres.sql"), name)
        error = await ends.refuse(target=ends.pg.url(name), command=command)
        assert "LATIN1" in error.message
        assert "UTF8" in error.hint
    finally:
        ends.pg.drop_database(name)


@pytest.mark.parametrize("end", ["source", "target"])
async def test_a_server_that_is_not_there_is_named_by_its_end(ends: Ends, end: str) -> None:
    nowhere = "postgresql://127.0.0.1:1/nothing"
    error = await ends.refuse(**{end: nowhere})  # type: ignore[arg-type]
    assert error.message.startswith(f"can't connect to the {end} postgresql://127.0.0.1:1/nothing")


@pytest.mark.parametrize("missing", ["source", "target"])
async def test_an_end_that_is_not_given_is_asked_for(missing: str) -> None:
    urls = {"source": "postgresql:///a", "target": "postgresql:///b", missing: ""}
    with pytest.raises(UsageError, match=f"no {missing} is given"):
        await migrate(Settings(source=urls["source"], target=urls["target"]), ALL)
