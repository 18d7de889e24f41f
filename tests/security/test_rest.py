"""What the ledger keeps of rows is encrypted where there is a key, and every command reads it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from bulkmig import (
    BulkmigError,
    PreflightError,
    Selection,
    Settings,
    UsageError,
    audit_log,
    migrate,
    resolve,
    retry,
    rollback,
    sync,
    verify,
)
from bulkmig import conflicts as listed
from bulkmig._core.stop import Stop
from bulkmig.cli.verb_checkpoints import pruned
from bulkmig.errors import Stopped
from bulkmig.generate import FleetSpec
from bulkmig.ledger import read
from bulkmig.operators import Scope, grant, turn
from bulkmig.preflight import target_only
from bulkmig.rotation import rotate
from bulkmig.security import keys
from tests.checkpoint.support import execute, fetchval, settings, state
from tests.support.dumps import apart
from tests.support.fleets import Fleets
from tests.support.servers import Databases

SPEC = FleetSpec(seed=31, vessels=2, companies=1, equipment=8, nasty=0.3, least=0)
ALL = Selection(all=True)
RENAME = "UPDATE equipment SET name = left(name, 200) || '{}'"
Make = Callable[..., str]
History = Callable[[str], Awaitable[Settings]]


@pytest.fixture
def key_file(tmp_path: Path) -> Make:
    """Makes a file with these keys (numbers tell them apart)."""

    def make(*numbers: int) -> str:
        path = tmp_path / f"keys-{'-'.join(map(str, numbers))}"
        path.write_text("# keys\n" + "\n".join(f"{n:02x}" * 32 for n in numbers))
        return str(path)

    return make


def under(config: Settings, key_file: str) -> Settings:
    return msgspec.structs.replace(config, key_file=key_file)


async def stored(target: str) -> dict[str, list[Any]]:
    """What the ledger holds of rows' values, as it is stored."""
    connection = await asyncpg.connect(target)
    try:
        return {
            name: [row[0] for row in await connection.fetch(query)]
            for name, query in {
                "base": "SELECT payload FROM bulkmig.base",
                "parts": "SELECT payload FROM bulkmig.checkpoint_parts",
                "quarantine": "SELECT row FROM bulkmig.quarantine",
                "conflicts": "SELECT fields FROM bulkmig.conflicts",
            }.items()
        }
    finally:
        await connection.close()


def clear(value: Any, number: int) -> bool:
    """Whether a stored value isn't encrypted with the key of this number."""
    import base64

    value = base64.b64decode(value[7:]) if isinstance(value, str) and value.startswith("sealed:") else value
    seal = keys._seal(f"{number:02x}" * 32)
    return not isinstance(value, bytes) or value[:9] != b"\x01" + seal.id


async def made(fleets: Fleets, target: str, key: str) -> Settings:
    """A fleet that was migrated, changed on both sides, synced and partly rolled back: with conflicts and
    quarantined rows, also in checkpoints."""
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, target, key_file=key, conflict="manual")
    assert (await migrate(config, ALL)).verified.difference_count == 0
    await execute(
        origin.url, "UPDATE equipment SET name = left(name, 200) || ' s', updated_at = '2031-01-01'"
    )
    await execute(target, f"{RENAME.format(' p')}, updated_at = '2030-01-01'")
    await execute(origin.url, "UPDATE users SET phone = '+47 000', updated_at = '2031-01-01'")
    assert (await sync(config, ALL)).failures == []
    some = [one["id"] for one in await listed(config, "open")]
    assert some
    assert (await resolve(config, some[:2], take="source")).status == "completed"
    return config


@pytest.fixture(scope="module")
def made_once() -> dict[str, Settings]:
    """By the name of the file of keys."""
    return {}


@pytest.fixture
def a_history(
    fleets: Fleets, made_once: dict[str, Settings], lasting: Databases, databases: Databases
) -> History:
    """A copy of what `made` makes with this file of keys, or with none."""

    async def copied(key_file: str) -> Settings:
        name = Path(key_file).name
        if name not in made_once:
            made_once[name] = await made(fleets, lasting("maintenance"), key_file)
        first = made_once[name]
        ends = {"source": databases.copy(first.source), "target": databases.copy(first.target)}
        return msgspec.structs.replace(first, key_file=key_file, **ends)

    return copied


async def everything_works(config: Settings) -> None:
    """Each command that reads what is encrypted."""
    assert (await verify(config, ALL)).verified.difference_count == 0
    assert all(one["fields"] for one in await listed(config))
    async with target_only(config, unsealed=True) as target:
        assert all(entry["row"] for entry in await read.quarantine_list(target))
    assert (await retry(config)).failures == []
    assert (await sync(config, ALL)).failures == []


async def test_nothing_of_a_row_lies_in_the_clear_and_every_command_reads_it(
    a_history: History, key_file: Make
) -> None:
    config = await a_history(key_file(1))
    found = await stored(config.target)
    assert all(found.values()), {name: len(values) for name, values in found.items()}
    assert {name for name, values in found.items() if any(clear(v, 1) for v in values)} == set()
    await everything_works(config)
    vessel = await fetchval(config.target, "SELECT vessel_id::text FROM bulkmig.vessels ORDER BY 1 LIMIT 1")
    back = await rollback(config, vessel=vessel, force=True)
    assert (back.status, back.failures) == ("completed", [])


@pytest.mark.parametrize("wrong", [(), (2,)])
async def test_without_the_key_nothing_is_read_and_nothing_touched(
    a_history: History, key_file: Make, wrong: tuple[int, ...]
) -> None:
    config = await a_history(key_file(1))
    other = under(config, key_file(*wrong) if wrong else "")
    before = await state(config.target)
    some = [one["id"] for one in await listed(config, "open")][:1]
    run = await fetchval(config.target, "SELECT run_id::text FROM bulkmig.checkpoints ORDER BY seq LIMIT 1")
    log = await fetchval(config.target, "SELECT count(*) FROM bulkmig.audit")

    async def quarantined() -> None:
        async with target_only(other, unsealed=True) as target:
            await read.quarantine_list(target)

    for attempt in (
        lambda: verify(other, ALL),
        lambda: sync(other, ALL),
        lambda: migrate(other, ALL),
        lambda: retry(other),
        lambda: listed(other),
        lambda: resolve(other, some, take="source"),
        lambda: rotate(other),
        lambda: rollback(other, run=run, force=True),
        lambda: pruned(other, 1, 0.0),
        lambda: grant(other, "mate", ["sync"], Scope()),
        lambda: turn(other, on=False),
        lambda: audit_log.export(other, "json"),
        quarantined,
    ):
        with pytest.raises(PreflightError, match="encrypted with the key"):
            await attempt()
    assert apart(before, await state(config.target)) == []
    assert await fetchval(config.target, "SELECT count(*) FROM bulkmig.audit") == log


async def test_a_value_in_another_s_place_is_an_error_and_never_an_answer(
    a_history: History, key_file: Make
) -> None:
    config = await a_history(key_file(1))
    await execute(
        config.target,
        "UPDATE bulkmig.base b SET payload = o.payload FROM bulkmig.base o"
        " WHERE o.entity = b.entity AND b.entity = 'equipment' AND o.vessel_id <> b.vessel_id",
    )
    await execute(
        config.target,
        "UPDATE bulkmig.quarantine b SET row = o.row FROM bulkmig.quarantine o"
        " WHERE o.source_id <> b.source_id",
    )
    before = await state(config.target)
    with pytest.raises(BulkmigError, match="not where it was stored"):
        async with target_only(config) as target:
            await read.quarantine_list(target)
    await execute(
        config.source, "UPDATE equipment SET name = left(name, 200) || '!', updated_at = '2032-01-01'"
    )
    done = await sync(config, ALL)
    assert done.exit_status == 1
    assert "not where it was stored" in (done.error or done.failures[0].error)
    now = await state(config.target)
    assert [name for name in apart(before, now) if not name.startswith("bulkmig.")] == []


class StopsAfter(Stop):
    """Asks for an end at the n-th look."""

    def __init__(self, looks: int) -> None:
        self.left = looks
        super().__init__()

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0

    @requested.setter
    def requested(self, _: bool) -> None:
        """Nobody else asks."""


async def test_a_rotation_that_is_ended_anywhere_goes_on_and_then_the_old_key_is_not_needed(
    a_history: History, key_file: Make
) -> None:
    config = await a_history(key_file(1))
    both = under(config, key_file(2, 1))
    looks = 0
    while True:
        try:
            await rotate(both, StopsAfter(looks))
            break
        except Stopped:
            looks += 3
            await everything_works_so_far(both)
    assert looks > 10
    found = await stored(config.target)
    assert {name for name, values in found.items() if any(clear(v, 2) for v in values)} == set()
    alone = under(config, key_file(2))
    await everything_works(alone)
    runs = await fetchval(config.target, "SELECT id::text FROM bulkmig.runs ORDER BY started_at LIMIT 1")
    back = await rollback(alone, run=runs, force=True)
    assert (back.status, back.failures) == ("completed", [])
    assert (await rollback(alone, run=back.run_id, force=True)).failures == []
    await everything_works(alone)
    with pytest.raises(PreflightError):
        await verify(config, ALL)


async def everything_works_so_far(config: Settings) -> None:
    async with target_only(config, unsealed=True) as target:
        await read.quarantine_list(target)
    assert all(one["fields"] for one in await listed(config))


async def test_what_was_in_the_clear_is_encrypted_by_a_rotation(a_history: History, key_file: Make) -> None:
    config = await a_history("")
    assert not any(value[:1] == b"\x01" for value in (await stored(config.target))["base"])
    with pytest.raises(UsageError, match="no key"):
        await rotate(config)
    with_key = under(config, key_file(3))
    await rotate(with_key)
    found = await stored(config.target)
    assert {name for name, values in found.items() if any(clear(v, 3) for v in values)} == set()
    await everything_works(with_key)


async def test_where_encryption_is_asked_for_a_command_without_a_key_doesn_t_start(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url, require_encryption=True)
    with pytest.raises(PreflightError, match="asks for encryption"):
        await migrate(config, ALL)
    assert await fetchval(maintenance_url, "SELECT to_regnamespace('bulkmig') IS NULL")


def test_keys_come_from_file_command_and_environment(
    key_file: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ids(**others: Any) -> list[bytes]:
        return keys.from_settings(Settings(**others)).ids

    monkeypatch.delenv("BULKMIG_KEY", raising=False)
    assert ids() == []
    one, two = ids(key_file=key_file(1, 2))
    assert one != two
    assert ids(key_command=f"cat {key_file(2, 1)}") == [two, one]
    monkeypatch.setenv("BULKMIG_KEY", "02" * 32)
    assert ids() == [two]
    assert ids(key_file=key_file(1)) == [one]
    for bad in ("short", "00" * 31, "é" * 32):
        monkeypatch.setenv("BULKMIG_KEY", bad)
        with pytest.raises(UsageError):
            ids()
    empty = tmp_path / "empty"
    empty.write_text("# none\n")
    for wrong in (str(empty), str(tmp_path), "/nowhere/key", "nul\0", "/dev/zero"):
        with pytest.raises(UsageError):
            ids(key_file=wrong)
    assert os.environ["BULKMIG_KEY"]
