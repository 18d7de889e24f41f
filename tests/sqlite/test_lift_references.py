"""Foreign keys that a lift proves once: what is left of them is what was there, and what can't be taken away
stays."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from bulkmig import BulkmigError, Settings
from bulkmig.lift.run import lift
from tests.checkpoint.support import execute
from tests.oracle.target import read_rows
from tests.sqlite.test_lift import on_file
from tests.support.files import portal
from tests.support.servers import Databases

ROWS = (
    "INSERT INTO companies (id, name, slug) VALUES (1, 'One', 'one')",
    "INSERT INTO vessels (id, company_id, name) VALUES (1, 1, 'First')",
    "INSERT INTO equipment (id, vessel_id, qr_code, name, status) VALUES (1, 1, 'Q', 'Pump', 'fault')",
)
# All that the catalogue says of the keys, in the order in which they were made, and of what checks them.
KEYS = """
SELECT conrelid::regclass::text AS child, conname, pg_get_constraintdef(oid) AS means, convalidated,
       obj_description(oid, 'pg_constraint') AS comment,
       ARRAY(SELECT (tgrelid::regclass, tgfoid::regproc, tgtype, tgenabled, tgdeferrable,
                     tginitdeferred)::text
               FROM pg_trigger t WHERE tgconstraint = c.oid ORDER BY tgname) AS checked
  FROM pg_constraint c WHERE contype = 'f' AND connamespace = 'public'::regnamespace ORDER BY oid
"""
MADE = "SELECT conname, oid FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace"


async def fetch(url: str, query: str) -> list[tuple[object, ...]]:
    """All rows of a query."""
    connection = await asyncpg.connect(url)
    rows = [tuple(row) for row in await connection.fetch(query)]
    await connection.close()
    return rows


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A portal that has a row with references."""
    url = portal(tmp_path / "portal.db")
    on_file(url, *ROWS)
    return url


@pytest.fixture
def target(databases: Databases) -> str:
    """An empty portal for it to move into."""
    return databases("maintenance")


async def test_the_targets_foreign_keys_are_made_anew_as_they_were(file: str, target: str) -> None:
    await execute(
        target,
        "ALTER TABLE vessels DROP CONSTRAINT vessels_company_id_fkey;"
        'ALTER TABLE vessels ADD CONSTRAINT "Whose it is" FOREIGN KEY (company_id) REFERENCES companies'
        " ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED;"
        "COMMENT ON CONSTRAINT \"Whose it is\" ON vessels IS 'The owner''s';"
        "COMMENT ON CONSTRAINT users_company_id_fkey ON users IS 'Whose';"
        "ALTER TABLE users ALTER CONSTRAINT users_company_id_fkey DEFERRABLE",
    )
    before, made = await fetch(target, KEYS), set(await fetch(target, MADE))
    assert (await lift(Settings(), file, target)).exit_status == 0
    assert await fetch(target, KEYS) == before
    assert not made & set(await fetch(target, MADE))


@pytest.mark.parametrize(
    "stays",
    [
        "ALTER TABLE vessels DROP CONSTRAINT vessels_company_id_fkey;"
        " ALTER TABLE vessels ADD CONSTRAINT later FOREIGN KEY (company_id) REFERENCES companies NOT VALID",
        "ALTER TABLE vessels DISABLE TRIGGER ALL",
        "CREATE TABLE owners (id uuid PRIMARY KEY); ALTER TABLE vessels ADD owner uuid REFERENCES owners",
    ],
    ids=["not validated", "not checked", "of a table of the portal's own"],
)
async def test_a_foreign_key_that_would_not_be_the_same_stays(file: str, target: str, stays: str) -> None:
    await execute(target, stays)
    before, made = await fetch(target, KEYS), set(await fetch(target, MADE))
    assert (await lift(Settings(), file, target)).exit_status == 0
    assert sorted(await fetch(target, KEYS), key=repr) == sorted(before, key=repr)
    kept = made & set(await fetch(target, MADE))
    assert kept
    assert len(kept) < len(made)


async def test_no_foreign_key_is_taken_away_where_a_check_of_the_portals_own_waits_for_the_commit(
    file: str, target: str
) -> None:
    """A table of which rows are still to be checked can't be altered."""
    await execute(
        target,
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER looks AFTER INSERT ON vessels DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION look()",
    )
    made = await fetch(target, MADE)
    assert (await lift(Settings(), file, target)).exit_status == 0
    assert await fetch(target, MADE) == made


async def test_a_lift_waits_for_nobody_who_reads_the_empty_portal(file: str, target: str) -> None:
    made = await fetch(target, MADE)
    reader = await asyncpg.connect(target)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM quality_scores")
        assert (await lift(Settings(), file, target)).exit_status == 0
    await reader.close()
    assert await fetch(target, MADE) == made


async def test_a_role_that_owns_no_table_lifts_with_every_reference_checked_at_its_row(
    file: str, target: str
) -> None:
    name = target.rpartition("/")[2].partition("?")[0]
    role = f"{name}_guest"
    await execute(
        target,
        f"CREATE ROLE {role} LOGIN; GRANT CREATE ON DATABASE {name} TO {role};"
        f" GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
    )
    made = await fetch(target, MADE)
    assert (await lift(Settings(), file, target.replace("postgres@", f"{role}@"))).exit_status == 0
    assert await fetch(target, MADE) == made
    await execute(target, f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_reference_that_the_target_itself_makes_lead_nowhere_ends_the_lift(
    file: str, target: str
) -> None:
    await execute(
        target,
        "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " NEW.vessel_id := gen_random_uuid(); RETURN NEW; END $$;"
        "CREATE TRIGGER changes BEFORE INSERT ON equipment FOR EACH ROW EXECUTE FUNCTION change()",
    )
    before = await fetch(target, KEYS)
    with pytest.raises(BulkmigError, match=r"refuses rows of equipment: .*equipment_vessel_id_fkey"):
        await lift(Settings(), file, target)
    assert not any((await read_rows(target)).values())
    assert await fetch(target, KEYS) == before
