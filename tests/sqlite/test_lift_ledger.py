"""What the ledger holds of values is lifted as a direct migration would have recorded it, and goes on so."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_settings

from bulkmig import BulkmigError, Settings, conflicts, migrate, resolve, rollback, sync, verify
from bulkmig.cli.verb_checkpoints import pruned
from bulkmig.generate import FleetSpec
from bulkmig.lift.run import lift
from tests.checkpoint.support import execute, rows, undone
from tests.sqlite.test_lift import ALL, on_file, settings
from tests.support.files import portal
from tests.support.fleets import Fleets
from tests.support.servers import Databases

SPEC = FleetSpec(vessels=1, equipment=3, parts=2, documents=1, nasty=0, seed=5)
LONG = "p" * 150  # PostgreSQL's part numbers have 100 characters at most


async def with_open_conflicts(
    fleets: Fleets, path: Path, at: str = "2030-01-01T00:00:00.000000Z"
) -> Settings:
    """A portal on SQLite in which people changed every part that the source gave a long number."""
    origin = await fleets(SPEC, fresh=True)
    config = replace_settings(settings(origin.url, portal(path)), conflict="manual")
    await migrate(config, ALL)
    on_file(config.target, f"UPDATE critical_parts SET part_number = 'crew', updated_at = '{at}'")
    await execute(origin.url, f"UPDATE critical_parts SET part_number = '{LONG}', updated_at = now()")
    report = await sync(config, ALL)
    assert report.conflicts["open"] > 0
    return config


async def decided_for_the_source(config: Settings) -> None:
    """Resolves what is open, and sees that all of it is as a direct migration would have it."""
    listed = await conflicts(config, "open")
    assert {one["fields"]["part_number"]["source"] for one in listed} == {LONG[:100]}
    report = await resolve(config, [one["id"] for one in listed], take="source")
    assert (report.status, report.failures) == ("completed", [])
    numbers = "SELECT p.part_number, d.original_part_number FROM critical_parts p JOIN part_details d"
    found = await rows(config.target, f"SELECT DISTINCT u::text FROM ({numbers} ON d.part_id = p.id) u")
    assert found == [f"({LONG[:100]},{LONG})"]
    checked = (await verify(config, ALL)).verified
    assert (checked.difference_count, checked.drift) == (0, 0)


async def test_a_conflict_that_was_open_is_decided_for_the_source_as_postgresql_holds_it(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    config = await with_open_conflicts(fleets, tmp_path / "portal.db")
    target = databases("maintenance")
    await lift(Settings(), config.target, target)
    await decided_for_the_source(replace_settings(config, target=target))


async def test_a_conflict_that_a_rollback_opens_again_is_decided_for_the_source_as_postgresql_holds_it(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    config = await with_open_conflicts(fleets, tmp_path / "portal.db")
    done = await resolve(config, [one["id"] for one in await conflicts(config, "open")], take="target")
    target = databases("maintenance")
    await lift(Settings(), config.target, target)
    config = replace_settings(config, target=target)
    await undone(config, done)
    await decided_for_the_source(config)


async def test_what_stood_in_the_portal_once_and_no_column_holds_is_in_the_way_of_nothing_but_its_checkpoint(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    config = await with_open_conflicts(fleets, tmp_path / "portal.db", "yesterday")
    on_file(config.target, "UPDATE critical_parts SET updated_at = '2030-01-01T00:00:00.000000Z'")
    target = databases("maintenance")
    with pytest.raises(BulkmigError, match=r"updated_at of row \d+, as checkpoint \S{36} has") as raised:
        await lift(Settings(), config.target, target)
    assert "checkpoints prune" in raised.value.hint
    await execute(config.source, "UPDATE equipment SET manufacturer = 'Another', updated_at = now()")
    await sync(config, ALL)
    await pruned(config, 1, 0)
    await lift(Settings(), config.target, target)
    config = replace_settings(config, target=target)
    shown = {one["fields"]["updated_at"]["target"] for one in await conflicts(config, "open")}
    assert shown == {"yesterday"}
    await decided_for_the_source(config)


async def test_a_company_that_stayed_in_a_rollback_can_go_back_though_its_name_is_cut(
    fleets: Fleets, databases: Databases, tmp_path: Path
) -> None:
    origin = await fleets(SPEC, fresh=True)
    await execute(origin.url, "ALTER TABLE companies ALTER name TYPE text")
    await execute(origin.url, "UPDATE companies SET name = repeat('n', 300)")
    config = settings(origin.url, portal(tmp_path / "portal.db"))
    done = await migrate(config, ALL)
    on_file(
        config.target,
        "INSERT INTO users (company_id, email, role) SELECT min(id), 'own@portal', 'admin' FROM companies",
    )
    assert (await rollback(config, run=done.run_id)).notes["stayed"]
    target = databases("maintenance")
    await lift(Settings(), config.target, target)
    (checkpoint,) = await rows(
        target, "SELECT id::text FROM bulkmig.checkpoints WHERE vessel_id IS NULL AND restored IS NULL"
    )
    await undone(replace_settings(config, target=target), checkpoint=checkpoint)


@pytest.mark.parametrize("before", [False, True])
async def test_a_checkpoint_whose_values_are_cut_can_be_restored_whenever_the_key_came(
    fleets: Fleets, databases: Databases, tmp_path: Path, before: bool
) -> None:
    key = tmp_path / "key"
    key.write_text(base64.b64encode(bytes(range(32))).decode())
    key.chmod(0o600)
    origin = await fleets(replace(SPEC, seed=6), fresh=True)
    await execute(origin.url, f"UPDATE critical_parts SET part_number = '{LONG}'")
    config = settings(origin.url, portal(tmp_path / "portal.db"))
    with_key = replace_settings(config, key_file=str(key))
    first = with_key if before else config
    await migrate(first, ALL)
    await execute(origin.url, "UPDATE critical_parts SET name = 'Renamed', updated_at = now()")
    done = await sync(first, ALL)
    target = databases("maintenance")
    await lift(Settings(key_file=str(key)), config.target, target)
    await undone(replace_settings(with_key, target=target), done)
    names = "SELECT DISTINCT part_number FROM critical_parts WHERE description <> 'Renamed'"
    assert await rows(target, names) == [LONG[:100]]
