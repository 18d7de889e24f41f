"""Tables and columns that only the portal knows: what hangs on a vessel by them goes and returns with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import asdict

from bulkmig import Selection, Settings, migrate, rollback
from bulkmig.generate import FleetSpec
from bulkmig.sqlite.address import is_file
from tests.checkpoint.support import a_vessel_with_equipment, execute, fetchval, settings, state, undone
from tests.checkpoint.test_rollback import apart_in_the_portal
from tests.support.dumps import apart
from tests.support.files import tamper
from tests.support.fleets import Fleets

SPEC = FleetSpec(seed=6, vessels=2, equipment=5, companies=1, users_per_company=2)
ALL = Selection(all=True)

# What the portal has of its own -> what it fills that with after the migration.
SCHEMAS = {
    "a foreign key of two columns": (
        "ALTER TABLE equipment ADD UNIQUE (vessel_id, id);"
        "CREATE TABLE readings (id serial PRIMARY KEY, v uuid, e uuid,"
        " FOREIGN KEY (v, e) REFERENCES equipment (vessel_id, id) ON DELETE CASCADE)",
        "INSERT INTO readings (v, e) SELECT vessel_id, id FROM equipment",
    ),
    "a partition with a foreign key": (
        "CREATE TABLE readings (id int, day date, e uuid, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);"
        "CREATE TABLE readings_1 PARTITION OF readings FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');"
        "ALTER TABLE readings_1 ADD FOREIGN KEY (e) REFERENCES equipment ON DELETE CASCADE",
        "INSERT INTO readings SELECT row_number() OVER (), '2024-01-01', id FROM equipment",
    ),
    "columns that can't be updated": (
        "ALTER TABLE equipment ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY,"
        " ADD COLUMN label text GENERATED ALWAYS AS (lower(qr_code)) STORED UNIQUE",
        "UPDATE equipment SET location = 'of the portal'",
    ),
    "companies and users that refer to vessels": (
        "ALTER TABLE companies ADD COLUMN flagship uuid REFERENCES vessels;"
        "ALTER TABLE users ADD COLUMN aboard uuid REFERENCES vessels ON DELETE SET NULL",
        "UPDATE companies SET flagship = (SELECT min(id::text)::uuid FROM vessels);"
        "UPDATE users SET aboard = (SELECT max(id::text)::uuid FROM vessels)",
    ),
    "tables that refer to each other": (
        "ALTER TABLE vessels ADD COLUMN engine uuid REFERENCES equipment;"
        "CREATE TABLE a (id int PRIMARY KEY, z int, e uuid REFERENCES equipment ON DELETE CASCADE);"
        "CREATE TABLE z (id int PRIMARY KEY, a int REFERENCES a ON DELETE CASCADE);"
        "ALTER TABLE a ADD FOREIGN KEY (z) REFERENCES z",
        "UPDATE vessels v SET engine = (SELECT min(id::text)::uuid FROM equipment WHERE vessel_id = v.id);"
        "INSERT INTO z VALUES (1, NULL); INSERT INTO a SELECT row_number() OVER (), 1, id FROM equipment;"
        "UPDATE z SET a = 1",
    ),
    "words that many vessels share": (
        "CREATE TABLE tags (id int PRIMARY KEY, word text);"
        "CREATE TABLE tagged (equipment_id uuid REFERENCES equipment ON DELETE CASCADE,"
        " tag_id int REFERENCES tags ON DELETE CASCADE, PRIMARY KEY (equipment_id, tag_id))",
        "INSERT INTO tags VALUES (1, 'hot'); INSERT INTO tagged SELECT id, 1 FROM equipment",
    ),
}


# The same where the portal is on SQLite, as far as its SQL differs: it adds no constraint to a table.
ON_FILE = {
    "a foreign key of two columns": (
        "CREATE UNIQUE INDEX both ON equipment (vessel_id, id);"
        "CREATE TABLE readings (id INTEGER PRIMARY KEY, v INTEGER, e INTEGER,"
        " FOREIGN KEY (v, e) REFERENCES equipment (vessel_id, id) ON DELETE CASCADE)",
        "INSERT INTO readings (v, e) SELECT vessel_id, id FROM equipment",
    ),
    "columns that can't be updated": (
        "ALTER TABLE equipment ADD COLUMN label TEXT GENERATED ALWAYS AS (lower(qr_code)) VIRTUAL;"
        "CREATE UNIQUE INDEX labels ON equipment (label)",
        "UPDATE equipment SET location = 'of the portal'",
    ),
    "tables that refer to each other": (
        "ALTER TABLE vessels ADD COLUMN engine INTEGER REFERENCES equipment;"
        "CREATE TABLE a (id INTEGER PRIMARY KEY, z INTEGER REFERENCES z,"
        " e INTEGER REFERENCES equipment ON DELETE CASCADE);"
        "CREATE TABLE z (id INTEGER PRIMARY KEY, a INTEGER REFERENCES a ON DELETE CASCADE)",
        "UPDATE vessels SET engine = (SELECT min(id) FROM equipment WHERE vessel_id = vessels.id);"
        "INSERT INTO z VALUES (1, NULL); INSERT INTO a SELECT row_number() OVER (), 1, id FROM equipment;"
        "UPDATE z SET a = 1",
    ),
}


async def _run(url: str, script: str, *, plainly: bool) -> None:
    """`plainly`: as the portal does, with its integer ids."""
    if plainly:
        tamper(url, script)
    else:
        await execute(url, script)


NOT_ON_FILE = pytest.mark.only_postgresql("SQLite has no partitions")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=NOT_ON_FILE) if "partition" in name else name for name in SCHEMAS],
)
async def test_a_run_goes_back_and_returns_with_all_of_it(
    fleets: Fleets, maintenance_url: str, name: str
) -> None:
    schema, fill = SCHEMAS[name]
    if is_file(maintenance_url):
        schema, fill = ON_FILE.get(name, SCHEMAS[name])
    await _run(maintenance_url, schema, plainly=(schema, fill) in ON_FILE.values())
    config = settings(await fleets(SPEC), maintenance_url)
    empty = await state(maintenance_url)
    report = await migrate(config, ALL)
    back = await undone(config, report)
    assert apart_in_the_portal(empty, await state(maintenance_url)) == []
    await undone(config, back)
    await _run(maintenance_url, fill, plainly=(schema, fill) in ON_FILE.values())
    before = await state(maintenance_url)
    forced = await rollback(config, run=report.run_id, force=True)
    assert (forced.status, forced.failures) == ("completed", [])
    assert await fetchval(maintenance_url, "SELECT count(*) FROM equipment") == 0
    await undone(config, forced)
    assert apart(before, await state(maintenance_url)) == []


async def test_equipment_of_other_vessels_that_refers_to_what_goes_stays_and_gets_the_reference_back(
    fleets: Fleets, maintenance_url: str
) -> None:
    await execute(maintenance_url, "ALTER TABLE equipment ADD COLUMN spare uuid REFERENCES equipment")
    config: Settings = settings(await fleets(SPEC), maintenance_url)
    await migrate(config, ALL)
    vessel = await a_vessel_with_equipment(maintenance_url)
    other = await fetchval(
        maintenance_url,
        "UPDATE equipment t SET spare = e.id FROM bulkmig.identities i JOIN equipment e"
        " ON e.vessel_id = i.target_id WHERE i.source_id = $1::text::uuid AND t.id ="
        " (SELECT o.id FROM equipment o WHERE o.vessel_id <> e.vessel_id LIMIT 1) RETURNING t.id::text",
        vessel,
    )
    before = await state(maintenance_url)
    refused = await rollback(config, vessel=vessel)
    assert [asdict(row) for row in refused.refused] == [
        {"table": "equipment", "id": other, "change": "changed"}
    ]
    forced = await rollback(config, vessel=vessel, force=True)
    assert forced.status == "completed"
    assert await fetchval(maintenance_url, f"SELECT spare IS NULL FROM equipment WHERE id = '{other}'")
    await undone(config, forced)
    assert apart(before, await state(maintenance_url)) == []


COMPANY = "10000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize("moved", [False, True], ids=["", "of another company by now"])
async def test_a_user_with_details_that_only_the_portal_knows_stays_with_them(
    fleets: Fleets, maintenance_url: str, moved: bool
) -> None:
    """One row for a user, under the user's key: it isn't bulkmig's to take away."""
    await execute(
        maintenance_url,
        "CREATE TABLE badges (user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE, number text);"
        f"INSERT INTO companies (id, name, slug) VALUES ('{COMPANY}', 'own', 'own')",
    )
    config = settings(await fleets(SPEC), maintenance_url)
    report = await migrate(config, ALL)
    user = await fetchval(
        maintenance_url, "INSERT INTO badges SELECT id, '7' FROM users LIMIT 1 RETURNING user_id::text"
    )
    if moved:
        await execute(maintenance_url, f"UPDATE users SET company_id = '{COMPANY}' WHERE id = '{user}'")
    back = await rollback(config, run=report.run_id, force=moved)
    assert (back.status, back.failures) == ("completed", [])
    assert {"table": "users", "id": user, "change": "kept"} in back.notes["stayed"]
    assert (
        await fetchval(maintenance_url, "SELECT count(*) FROM badges b JOIN users u ON u.id = b.user_id") == 1
    )


async def test_users_whom_the_portal_moved_to_a_company_of_its_own_come_back_where_that_is_undone(
    fleets: Fleets, maintenance_url: str
) -> None:
    """They were given up with force, after the rollback's own checkpoint had taken them."""
    await execute(
        maintenance_url, f"INSERT INTO companies (id, name, slug) VALUES ('{COMPANY}', 'own', 'own')"
    )
    config = settings(await fleets(replace(SPEC, companies=2, scores=0)), maintenance_url)
    report = await migrate(config, ALL)
    await execute(
        maintenance_url,
        f"UPDATE users SET company_id = '{COMPANY}' WHERE id = (SELECT min(id::text)::uuid FROM users)",
    )
    assert (await rollback(config, run=report.run_id)).status == "refused"  # the vessels have gone back
    before = await state(maintenance_url)
    forced = await rollback(config, run=report.run_id, force=True)
    assert (forced.status, forced.failures) == ("completed", [])
    assert await fetchval(maintenance_url, "SELECT count(*) FROM users") == 0
    await undone(config, forced)
    assert apart(before, await state(maintenance_url)) == []


async def test_a_column_that_the_portal_has_given_up_is_named_and_what_it_held_comes_back_once_it_is_there(
    fleets: Fleets, maintenance_url: str
) -> None:
    """So it is with the portal's own columns after a lift, which leaves them behind."""
    plainly = is_file(maintenance_url)
    config = settings(await fleets(SPEC), maintenance_url)
    report = await migrate(config, ALL)
    await _run(maintenance_url, "ALTER TABLE equipment ADD COLUMN deck text", plainly=plainly)
    await _run(maintenance_url, "UPDATE equipment SET deck = 'lower'", plainly=plainly)
    before = await state(maintenance_url)
    back = await undone(config, report)
    await _run(maintenance_url, "ALTER TABLE equipment DROP COLUMN deck", plainly=plainly)
    refused = await rollback(config, run=back.run_id, force=True)
    (error,) = {one.error for one in refused.failures if "deck" in one.error}
    assert error.startswith("equipment has no column deck any more, and the checkpoint holds its values")
    await _run(maintenance_url, "ALTER TABLE equipment ADD COLUMN deck text", plainly=plainly)
    await undone(config, back)
    assert apart(before, await state(maintenance_url)) == []
