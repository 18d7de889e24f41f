"""The audit log tells of everything, and whatever is done to it is found."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest

from bulkmig import Selection, Settings, UsageError, audit_log, migrate, rollback, sync, verify
from bulkmig.generate import FleetSpec
from bulkmig.ledger import audit, chain
from bulkmig.ledger.prove import Proof
from bulkmig.preflight import target_only
from tests.checkpoint.support import execute, fetchval, settings
from tests.support.fleets import Fleets
from tests.support.programs import run as run_program

SPEC = FleetSpec(seed=32, vessels=2, companies=1, equipment=4, nasty=0.0, least=0)
ALL = Selection(all=True)
TABLES = ("audit", "audit_chain", "audit_head")
KEY = "07" * 32


class Log:
    """A target's log, which can be tampered with, and put back as it was."""

    def __init__(self, config: Settings, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self.config, self.connection = config, connection

    async def keep(self) -> None:
        """Remembers it as it is."""
        await self.connection.execute("SET session_replication_role = replica")
        for table in TABLES:
            await self.connection.execute(f"CREATE TEMPORARY TABLE kept_{table} AS TABLE bulkmig.{table}")

    async def put_back(self) -> None:
        for table in TABLES:
            await self.connection.execute(
                f"DELETE FROM bulkmig.{table};"
                f"INSERT INTO bulkmig.{table} OVERRIDING SYSTEM VALUE SELECT * FROM kept_{table}"
            )

    async def ids(self) -> list[int]:
        return [row[0] for row in await self.connection.fetch("SELECT id FROM bulkmig.audit ORDER BY id")]

    async def has_key(self) -> bool:
        return bool(await self.connection.fetchval("SELECT count(*) FROM bulkmig.keys"))

    async def tampered(self, *statements: str, head: str = "") -> Proof:
        """What the proof says after these statements; then they are undone."""
        for statement in statements:
            assert not (await self.connection.execute(statement)).endswith(" 0"), statement
        try:
            return await audit_log.verify(self.config, head)
        finally:
            await self.put_back()


@pytest.fixture(params=["", KEY], ids=["no key", "key"])
async def log(
    request: pytest.FixtureRequest, fleets: Fleets, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Log]:
    """The log of a migration, its rollback and another one."""
    monkeypatch.setenv("BULKMIG_KEY", request.param)
    config = settings(await fleets(SPEC), maintenance_url, operator="officer@example.org")
    first = await migrate(config, ALL)
    assert (await rollback(config, run=first.run_id)).status == "completed"
    await migrate(config, ALL)
    connection = await asyncpg.connect(maintenance_url)
    made = Log(config, connection)
    await made.keep()
    yield made
    await connection.close()


CHANGES = (
    "summary = summary || ' '",
    "summary = 'x' || substr(summary, 2)",
    "at = at + interval '1 microsecond'",
    "action = upper(action)",
    "operator = operator || '.'",
    "host = ''",
    "run_id = gen_random_uuid()",
    "vessel_id = gen_random_uuid()",
)
COPY = (
    "INSERT INTO bulkmig.audit (at, run_id, vessel_id, action, operator, host, summary, mac)"
    " SELECT at, run_id, vessel_id, action, operator, host, summary, mac FROM bulkmig.audit WHERE id = {}"
)
SWAP = (
    "UPDATE bulkmig.audit a SET (at, run_id, vessel_id, action, operator, host, summary, mac) ="
    " (SELECT at, run_id, vessel_id, action, operator, host, summary, mac FROM bulkmig.audit b"
    "   WHERE b.id = CASE a.id WHEN {0} THEN {1} ELSE {0} END) WHERE a.id IN ({0}, {1})"
)
FORGED = (
    "INSERT INTO bulkmig.audit (run_id, action, operator, host, summary)"
    " VALUES ({}, 'completed', 'officer@example.org', 'bridge', 'all well')"
)


async def test_an_undisturbed_log_is_whole_and_tells_who_did_what(log: Log) -> None:
    proof = await audit_log.verify(log.config)
    assert proof.problems == []
    assert (proof.unsealed, proof.entries) == (0, len(await log.ids()))
    assert proof.signed == (proof.entries if await log.has_key() else 0)
    found = await audit_log.entries(log.config)
    assert {e["operator"] for e in found} == {"officer@example.org"}
    assert {"started", "completed", "migrated", "rolled back"} <= {e["action"] for e in found}
    assert sorted(e["seq"] for e in found) == list(range(1, proof.entries + 1))


async def test_whatever_is_done_to_one_entry_is_found_and_named(log: Log) -> None:
    rng = Random(5)
    ids = await log.ids()
    for change in CHANGES:
        id_ = rng.choice(ids)
        proof = await log.tampered(f"UPDATE bulkmig.audit SET {change} WHERE id = {id_}")
        assert ("changed", id_) in {(p.kind, p.entry) for p in proof.problems}, change
    for id_ in (ids[0], ids[-1], rng.choice(ids)):
        proof = await log.tampered(f"DELETE FROM bulkmig.audit WHERE id = {id_}")
        assert ("removed", id_) in {(p.kind, p.entry) for p in proof.problems}
    for _ in range(4):
        one, other = rng.sample(ids, 2)
        proof = await log.tampered(SWAP.format(one, other))
        assert {("changed", one), ("changed", other)} <= {(p.kind, p.entry) for p in proof.problems}
    run = await log.connection.fetchval("SELECT id::text FROM bulkmig.runs LIMIT 1")
    for forged in (FORGED.format("NULL"), FORGED.format(f"'{run}'"), COPY.format(rng.choice(ids))):
        proof = await log.tampered(forged)
        assert [p.kind for p in proof.problems if p.entry == max(p.entry or 0, ids[-1] + 1)], forged
    assert (await audit_log.verify(log.config)).problems == []


async def test_whatever_is_done_to_the_chain_is_found(log: Log) -> None:
    last = (await log.ids())[-1]
    for statement in (
        "UPDATE bulkmig.audit_chain SET digest = hash WHERE seq = 3",
        "UPDATE bulkmig.audit_chain SET hash = digest WHERE seq = 3",
        "UPDATE bulkmig.audit_chain SET audit_id = 0 WHERE seq = 3",
        "DELETE FROM bulkmig.audit_chain WHERE seq = 3",
        "DELETE FROM bulkmig.audit_chain",
        "UPDATE bulkmig.audit_head SET entries = entries - 1",
        "UPDATE bulkmig.audit_head SET hash = decode(repeat('11', 32), 'hex')",
    ):
        assert (await log.tampered(statement)).problems, statement
    # The last entry goes with its link, and the head is set back: the ledger's other tables tell of it.
    cut = (
        f"DELETE FROM bulkmig.audit WHERE id = {last}",
        f"DELETE FROM bulkmig.audit_chain WHERE audit_id = {last}",
        "UPDATE bulkmig.audit_head SET entries = c.seq, hash = c.hash FROM bulkmig.audit_chain c"
        " WHERE c.seq = (SELECT max(seq) FROM bulkmig.audit_chain)",
    )
    assert {p.kind for p in (await log.tampered(*cut)).problems} >= {"untold"}
    noted = str((await audit_log.verify(log.config)).head)
    assert "head" in {p.kind for p in (await log.tampered(*cut, head=noted)).problems}
    assert (await audit_log.verify(log.config, noted)).problems == []


async def test_with_a_key_a_chain_that_somebody_else_made_anew_is_found(
    fleets: Fleets, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKMIG_KEY", KEY)
    config = settings(await fleets(SPEC), maintenance_url)
    await migrate(config, ALL)
    await execute(
        maintenance_url,
        "SET session_replication_role = replica; UPDATE bulkmig.audit SET summary = 'nothing' WHERE id = 2;"
        "DELETE FROM bulkmig.audit_chain; UPDATE bulkmig.audit_head SET entries = 0, mac = NULL,"
        " hash = decode(repeat('00', 32), 'hex')",
    )
    monkeypatch.setenv("BULKMIG_KEY", "")
    async with target_only(config) as target:
        runs = [row[0] for row in await target.fetch("SELECT id::text FROM bulkmig.runs")]
        await chain.seal(target, *runs)
    assert (await audit_log.verify(config)).problems == []  # without the key it looks well
    monkeypatch.setenv("BULKMIG_KEY", KEY)
    kinds = {p.kind for p in (await audit_log.verify(config)).problems}
    assert {"inserted", "unsigned"} <= kinds


async def test_entries_of_a_killed_run_are_sealed_by_the_next_one(
    fleets: Fleets, maintenance_url: str
) -> None:
    config = settings(await fleets(SPEC), maintenance_url)
    await migrate(config, ALL)
    await execute(
        maintenance_url,
        "INSERT INTO bulkmig.runs (id, command, status, operator, host, version, selection)"
        " VALUES ('00000000-0000-4000-8000-000000000001', 'migrate', 'running', 'me', 'h', '0', '');"
        "INSERT INTO bulkmig.audit (run_id, action, operator, host, summary)"
        " VALUES ('00000000-0000-4000-8000-000000000001', 'started', 'me', 'h', '')",
    )
    proof = await audit_log.verify(config)
    assert (proof.unsealed, proof.problems) == (1, [])
    await verify(config, ALL)
    proof = await audit_log.verify(config)
    assert (proof.unsealed, proof.problems) == (0, [])


async def test_a_failing_and_a_syncing_run_are_told(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, maintenance_url)
    await migrate(config, ALL)
    await execute(origin.url, "UPDATE vessels SET name = name || '!', updated_at = now()")
    assert (await sync(config, ALL)).status == "completed"
    told = [(e["action"], e["summary"]) for e in await audit_log.entries(config)]
    assert ("started", "sync --all") in told
    assert any(action == "completed" and summary.startswith("sync:") for action, summary in told)


async def test_the_command_line_lists_proves_and_exports(
    fleets: Fleets, maintenance_url: str, tmp_path: Path
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url, operator='=HYPERLINK("x")')
    await migrate(config, ALL)

    async def bulkmig(*words: str) -> Any:
        return await run_program(origin.url, maintenance_url, *words)

    head = str((await audit_log.verify(config)).head)
    file = tmp_path / "log.csv"
    assert (await bulkmig("audit", "export", "--format", "csv", "--file", str(file))).status == 0
    assert file.stat().st_mode & 0o077 == 0
    cells = list(csv.DictReader(io.StringIO(file.read_text())))
    assert {cell["operator"] for cell in cells} == {'\'=HYPERLINK("x")'}
    proved = await bulkmig("audit", "verify", "--head", head)
    assert (proved.status, proved.document["problems"]) == (0, [])
    (noted,) = await audit_log.entries(config, action="exported")
    assert noted["summary"] == f"{len(cells)} entries as csv"
    await execute(
        maintenance_url,
        "SET session_replication_role = replica; UPDATE bulkmig.audit SET host = '?' WHERE id = 1",
    )
    found = await bulkmig("audit", "verify")
    assert found.status == 1
    assert [p["kind"] for p in found.document["problems"]] == ["changed"]
    with pytest.raises(UsageError):
        await audit_log.verify(config, "nonsense")


async def test_what_is_noted_outside_of_a_run_is_sealed_at_once(fleets: Fleets, maintenance_url: str) -> None:
    config = settings(await fleets(SPEC), maintenance_url)
    await migrate(config, ALL)
    async with target_only(config) as target:
        await audit.alone(target, audit.who("me"), "denied", "sync")
    proof = await audit_log.verify(config)
    assert (proof.problems, proof.unsealed) == ([], 0)
    assert (
        await fetchval(maintenance_url, "SELECT action FROM bulkmig.audit ORDER BY id DESC LIMIT 1")
        == "denied"
    )
