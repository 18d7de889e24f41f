"""Every permission and every command, as docs/security.md has them; what is denied is noted."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest

from bulkmig import (
    Selection,
    Settings,
    UsageError,
    audit_log,
    certificate,
    migrate,
    operators,
    resolve,
    retry,
    rollback,
    sync,
)
from bulkmig import conflicts as listed
from bulkmig.cli.verb_checkpoints import pruned
from bulkmig.generate import FleetSpec
from bulkmig.ledger.access import PERMISSIONS, Denied
from bulkmig.operators import Scope, grant, revoke, turn
from bulkmig.rotation import rotate
from tests.checkpoint.support import execute, fetchval, settings, state
from tests.security.test_certificate import keys as make_keys
from tests.support.dumps import apart
from tests.support.fleets import Fleets
from tests.test_docs import COMMANDS

SPEC = FleetSpec(seed=33, vessels=2, companies=2, equipment=4, nasty=0.0, least=0)
ALL = Selection(all=True)
PAGE = Path(__file__).parents[2] / "docs" / "security.md"
TABLE = dict(re.findall(r"^\| `bulkmig ([a-z ]+)` \| `?(\w+)`? \|$", PAGE.read_text(), re.MULTILINE))
BOSS, HAND = "boss@example.org", "Hand@example.org"
Command = Callable[[Settings], Awaitable[Any]]


async def _last_run(config: Settings) -> str:
    query = "SELECT id::text FROM bulkmig.runs WHERE command = 'migrate' ORDER BY started_at LIMIT 1"
    found: str = await fetchval(config.target, query)
    return found


async def _roll_back(config: Settings) -> Any:
    return await rollback(config, run=await _last_run(config), force=True)


async def _resolve(config: Settings) -> Any:
    found = await listed(msgspec.structs.replace(config, operator=BOSS), "open")
    return await resolve(config, [one["id"] for one in found][:1], take="source")


async def _certify(config: Settings) -> Any:
    with TemporaryDirectory() as directory:
        private, _ = make_keys(Path(directory), "key")
        return await certificate.make(config, await _last_run(config), private)


DOES: dict[str, Command] = {
    "migrate": lambda config: migrate(config, ALL),
    "quarantine retry": retry,
    "sync": lambda config: sync(config, ALL),
    "rollback": _roll_back,
    "conflicts resolve": _resolve,
    "checkpoints prune": lambda config: pruned(config, 3, 0),
    "keys rotate": rotate,
    "audit export": lambda config: audit_log.export(config, "csv"),
    "certificate make": _certify,
    "operators grant": lambda config: grant(config, "x@example.org", ["sync"], Scope()),
    "operators revoke": lambda config: revoke(config, "x@example.org", ["sync"], Scope()),
    "operators on": lambda config: turn(config, on=True),
    "operators off": lambda config: turn(config, on=False),
}


def test_the_page_has_every_command_and_every_permission() -> None:
    assert TABLE.keys() == COMMANDS.keys()
    assert set(TABLE.values()) == {*PERMISSIONS, "none"}
    # `lift` begins with a portal in a file: it asks there.
    assert {name for name, permission in TABLE.items() if permission != "none"} == {*DOES, "lift"}


async def test_each_command_takes_its_permission_and_no_other(
    fleets: Fleets, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKMIG_KEY", "09" * 32)
    origin = await fleets(SPEC, fresh=True)
    boss = settings(origin, maintenance_url, operator=BOSS, conflict="manual")
    hand = msgspec.structs.replace(boss, operator=HAND)
    await migrate(boss, ALL)
    await execute(origin.url, "UPDATE equipment SET name = 's', updated_at = '2031-01-01'")
    await execute(maintenance_url, "UPDATE equipment SET name = 'p', updated_at = '2030-01-01'")
    await sync(boss, ALL)
    await grant(boss, BOSS, list(PERMISSIONS), Scope())
    await turn(boss, on=True)
    before = await state(maintenance_url)
    for noted, (name, does) in enumerate(DOES.items(), 1):
        others = [permission for permission in PERMISSIONS if permission != TABLE[name]]
        await grant(boss, HAND, others, Scope())
        with pytest.raises(Denied, match=f"{HAND} has no permission {TABLE[name]}"):
            await does(hand)
        denied = await audit_log.entries(boss, action="denied")
        assert (len(denied), denied[-1]["operator"]) == (noted, HAND)
        await revoke(boss, HAND, others, Scope())
        assert apart(before, await state(maintenance_url)) == []
    assert await audit_log.entries(boss, action="denied") == denied
    for name, does in DOES.items():
        if name in ("rollback", "operators off"):
            continue
        await grant(boss, HAND, [TABLE[name]], Scope())
        await does(hand)
        await revoke(boss, HAND, [TABLE[name]], Scope())
    await grant(boss, HAND, ["rollback", "administer"], Scope())
    assert (await _roll_back(hand)).failures == []
    await turn(hand, on=False)
    await revoke(boss, HAND, ["rollback", "administer"], Scope())
    await migrate(hand, ALL)  # nobody asks any more
    assert (await audit_log.verify(boss)).problems == []


async def test_a_permission_for_a_vessel_or_a_company_is_for_nothing_else(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    boss = settings(origin, maintenance_url, operator=BOSS)
    hand = msgspec.structs.replace(boss, operator=HAND)
    await migrate(boss, Selection(vessels=(origin.approved[0],)))
    await grant(boss, BOSS, ["administer"], Scope())
    await turn(boss, on=True)
    mine, other = ({row["id"]: row for row in origin.rows.vessels}[id_] for id_ in origin.approved[:2])
    assert mine["company_id"] != other["company_id"]
    await grant(boss, HAND, ["migrate_vessel", "sync"], operators.scope(vessel=mine["id"]))
    await grant(boss, HAND, ["rollback"], operators.scope(company=mine["company_id"]))
    assert (await migrate(hand, Selection(vessels=(str(mine["id"]),)))).skipped == 1
    assert (await sync(hand, Selection(vessels=(str(mine["id"]),)))).status == "completed"
    assert (await rollback(hand, vessel=str(mine["id"]))).status == "completed"
    attempts: tuple[Callable[[], Awaitable[Any]], ...] = (
        lambda: migrate(hand, Selection(vessels=(str(other["id"]),))),
        lambda: migrate(hand, ALL),
        lambda: sync(hand, ALL),
        lambda: retry(hand),
    )
    for attempt in attempts:
        with pytest.raises(Denied):
            await attempt()
    with pytest.raises(Denied, match="administer"):
        await listed(msgspec.structs.replace(hand, reveal=True))
    assert await listed(msgspec.structs.replace(boss, reveal=True)) == []


async def test_nobody_locks_himself_out(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(SPEC)
    boss = settings(origin, maintenance_url, operator=BOSS)
    await migrate(boss, Selection(vessels=(origin.approved[0],)))
    with pytest.raises(UsageError, match="could not administer"):
        await turn(boss, on=True)
    await grant(boss, BOSS.upper(), ["administer"], Scope())
    await turn(boss, on=True)
    with pytest.raises(UsageError, match="nobody could administer"):
        await revoke(boss, BOSS, ["administer"], Scope())
    for wrong in (["everything"], [""]):
        with pytest.raises(UsageError):
            await grant(boss, HAND, wrong, Scope())
    with pytest.raises(UsageError):
        operators.scope(vessel="' OR true --")
    with pytest.raises(UsageError):
        await grant(boss, HAND, ["administer"], operators.scope(vessel=origin.approved[0]))
