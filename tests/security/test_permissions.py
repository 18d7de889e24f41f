"""Every permission and every command, as docs/security.md has them; what is denied is noted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from bulkmig import (
    Selection,
    Settings,
    UsageError,
    audit_log,
    certificate,
    migrate,
    operators,
    plan,
    remigrate,
    resolve,
    retry,
    rollback,
    sync,
    verify,
)
from bulkmig import conflicts as listed
from bulkmig._core.stop import Stop
from bulkmig.cli.verb_checkpoints import pruned
from bulkmig.cluster.worker import work
from bulkmig.generate import FleetSpec
from bulkmig.ledger.access import PERMISSIONS, Denied
from bulkmig.lift.run import lift
from bulkmig.operators import Scope, grant, revoke, turn
from bulkmig.rotation import rotate
from tests.checkpoint.support import execute, fetchval, settings, state
from tests.security.heard import Heard
from tests.security.test_certificate import keys as make_keys
from tests.support.dumps import apart, dump
from tests.support.files import portal, stored
from tests.support.fleets import Fleets, Origin
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
    found = await listed(replace(config, operator=BOSS), "open")
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
    hand = replace(boss, operator=HAND)
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


async def ledger(url: str) -> dict[str, bytes]:
    """Everything that a denied command may not touch: both schemas but for the audit log."""
    found = await dump(url)
    return {name: rows for name, rows in found.items() if not name.startswith("bulkmig.audit")}


# What else a command may be asked for, and the permission that this takes.
OTHERWISE: dict[str, tuple[str, Command]] = {
    "migrate --dry-run": ("migrate_vessel", lambda config: migrate(replace(config, dry_run=True), ALL)),
    "sync --dry-run": ("sync", lambda config: sync(replace(config, dry_run=True), ALL)),
    "migrate --remigrate": ("migrate_vessel", lambda config: remigrate(config, ALL)),
    "migrate --queue": ("migrate_vessel", lambda config: migrate(replace(config, queue=True), ALL)),
    "sync --queue": ("sync", lambda config: sync(replace(config, queue=True), ALL)),
    "verify --reveal": ("administer", lambda config: verify(replace(config, reveal=True), ALL)),
    "plan --reveal": ("administer", lambda config: plan(replace(config, reveal=True), ALL)),
    "conflicts list --reveal": ("administer", lambda config: listed(replace(config, reveal=True))),
}
# A run of somebody else whose submitter is gone; whoever comes with another command closes it.
ABANDONED = """
INSERT INTO bulkmig.queue_runs (run_id, command, selection, state, version, rules, source, position, snapshot,
  seen, heartbeat) VALUES (gen_random_uuid(), 'migrate', '--imo 1', 'open', '0', '', '', '0/0', '', '', 30);
INSERT INTO bulkmig.queue_results (run_id, job_id, payload) SELECT run_id, 1, '' FROM bulkmig.queue_runs;
"""


async def asked(origin: Origin, target: str) -> tuple[Settings, Settings]:
    """One vessel migrated, and permissions asked for since: who may administer, and who may nothing."""
    boss = settings(origin, target, operator=BOSS)
    await migrate(boss, Selection(vessels=(origin.approved[0],)))
    await grant(boss, BOSS, ["administer"], Scope())
    await turn(boss, on=True)
    return boss, replace(boss, operator=HAND)


async def test_whatever_a_denied_command_is_asked_for_it_touches_nothing(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    boss, hand = await asked(origin, maintenance_url)
    await execute(maintenance_url, ABANDONED)
    for name, (permission, does) in OTHERWISE.items():
        others = [one for one in PERMISSIONS if one != permission]
        await grant(boss, HAND, others, Scope())
        before = await ledger(maintenance_url)
        with pytest.raises(Denied, match=f"has no permission {permission}"):
            await does(hand)
        assert apart(before, await ledger(maintenance_url)) == [], name
        await revoke(boss, HAND, others, Scope())
    assert len(await audit_log.entries(boss, action="denied")) == len(OTHERWISE)


def test_what_takes_no_permission_is_denied_to_nobody(
    fleets: Fleets, maintenance_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    private, public = make_keys(tmp_path, "key")
    certified, page = tmp_path / "certificate", tmp_path / "page.html"

    async def prepare() -> tuple[Settings, str, str]:
        boss = settings(await fleets(SPEC), maintenance_url, operator=BOSS)
        first = await migrate(boss, ALL)
        await grant(boss, BOSS, list(PERMISSIONS), Scope())
        await turn(boss, on=True)
        certified.write_bytes(await certificate.make(boss, first.run_id, private))
        checkpoint = "SELECT id::text FROM bulkmig.checkpoints LIMIT 1"
        return boss, first.run_id, await fetchval(maintenance_url, checkpoint)

    boss, run_id, checkpoint = asyncio.run(prepare())
    heard = Heard(capfd, boss.source, boss.target)
    words = {
        "plan": ("--all",), "validate": ("--all",), "verify": ("--all",), "config": ("--show",),
        "report": (run_id, "--html", str(page)), "checkpoints show": (checkpoint,),
        "certificate check": (str(certified), "--public-key", str(public)),
    }  # fmt: skip
    # Servers and what has servers of its own ask nobody either; what is shown alone needs a row.
    apart_from = {"dashboard", "worker", "demo", "bench", "conflicts show", "quarantine show"}
    for name in (name for name, permission in TABLE.items() if permission == "none"):
        if name not in apart_from:
            status, said = heard(*name.split(), *words.get(name, ()), "--operator", HAND)
            assert status == 0, (name, said)
    stop = Stop()
    stop.drain()
    assert asyncio.run(work(replace(boss, operator=HAND), stop=stop)).status == "completed"
    assert asyncio.run(audit_log.entries(boss, action="denied")) == []


async def test_a_lift_is_denied_by_the_portal_that_it_begins_with(
    fleets: Fleets, maintenance_url: str, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    url = portal(tmp_path / "portal.db")
    boss = settings(origin, url, operator=BOSS)
    hand = replace(boss, operator=HAND)
    await migrate(boss, ALL)
    await grant(boss, BOSS, ["administer"], Scope())
    await grant(boss, HAND, ["migrate_vessel", "sync", "rollback", "resolve_conflicts"], Scope())
    await turn(boss, on=True)
    before, rows = await dump(maintenance_url), stored(url)
    with pytest.raises(Denied, match="administer"):
        await lift(hand, url, maintenance_url)
    assert (apart(before, await dump(maintenance_url)), stored(url)) == ([], rows)
    assert [one["summary"] for one in await audit_log.entries(boss, action="denied")] == [
        "lift: no permission administer"
    ]
    assert (await lift(boss, url, maintenance_url)).status == "completed"
    with pytest.raises(Denied):  # what was granted has moved along
        await rotate(replace(hand, target=maintenance_url, key_file=str(key_file(tmp_path))))


def key_file(directory: Path) -> Path:
    path = directory / "ledger.keys"
    path.write_text("0e" * 32)
    return path


async def test_a_permission_for_a_vessel_or_a_company_is_for_nothing_else(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    boss, hand = await asked(origin, maintenance_url)
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
        await listed(replace(hand, reveal=True))
    assert await listed(replace(boss, reveal=True)) == []


async def test_a_vessel_does_not_change_along_with_another_without_a_permission_for_it(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets.changing(SPEC)
    boss = settings(origin, maintenance_url, operator=BOSS)
    hand = replace(boss, operator=HAND)
    await migrate(boss, ALL)
    mine, other = origin.approved[:2]
    await grant(boss, BOSS, ["administer"], Scope())
    await grant(boss, HAND, ["sync"], operators.scope(vessel=mine))
    await turn(boss, on=True)
    await execute(
        origin.url,
        f"UPDATE equipment SET vessel_id = '{mine}', location_id = NULL, updated_at = now()"
        f" WHERE vessel_id = '{other}'",
    )
    lies = (
        "SELECT string_agg(e.id || e.vessel_id::text, ',' ORDER BY e.id) FROM equipment e"
        " JOIN equipment_metadata m ON m.equipment_id = e.id"
    )
    before = await fetchval(maintenance_url, lies)
    ours = Selection(vessels=(mine,))
    for config in (replace(hand, dry_run=True), hand):
        report = await sync(config, ours)
        assert (report.done, report.selected, [one.vessel_id for one in report.failures]) == (0, 1, [mine])
        assert f"vessel {other}, for which the operator has no permission sync" in report.failures[0].error
        assert await fetchval(maintenance_url, lies) == before
    denied = await audit_log.entries(boss, action="denied")
    assert {one["summary"] for one in denied} == {f"sync {mine}: no permission sync for vessel {other}"}
    await grant(boss, HAND, ["sync"], operators.scope(vessel=other))
    report = await sync(hand, ours)
    assert (report.status, report.done, report.failures) == ("completed", 2, [])
    assert await fetchval(maintenance_url, lies) != before


async def test_whoever_turns_access_control_on_waits_for_a_change_of_who_administers(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    boss = settings(origin, maintenance_url, operator=BOSS)
    await migrate(boss, Selection(vessels=(origin.approved[0],)))
    await grant(boss, BOSS, ["administer"], Scope())
    connection = await asyncpg.connect(maintenance_url)
    try:
        async with connection.transaction():  # as `revoke` does
            await connection.execute(operators._ALONE)
            await connection.execute("DELETE FROM bulkmig.permissions")
            turning = asyncio.create_task(turn(boss, on=True))
            waits = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'bulkmig.access'::regclass"
            )
            while not (turning.done() or await fetchval(maintenance_url, waits)):
                pass
    finally:
        await connection.close()
    with pytest.raises(UsageError, match="could not administer"):
        await turning


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
