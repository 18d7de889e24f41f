"""`bulkmig rollback` and `bulkmig checkpoints` as scripts and people meet them."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from bulkmig import Selection, UsageError, migrate, rollback
from bulkmig.checkpoint import changes, retention
from bulkmig.generate import FleetSpec
from bulkmig.ledger.audit import Who
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import TARGET, session
from bulkmig.security.seal import Keyring, Seal
from bulkmig.sqlite import address as files
from bulkmig.sync.run import sync
from tests.checkpoint.support import (
    EQUIPMENT_OF,
    a_vessel_with_equipment,
    execute,
    fetchval,
    flip,
    migrated,
    rows,
    settings,
    state,
    undone,
)
from tests.support.dumps import apart
from tests.support.fleets import Fleets
from tests.support.programs import said

SPEC = FleetSpec(seed=8, vessels=3, equipment=8, companies=2)
ALL = Selection(all=True)
LISTED = {"id", "run_id", "vessel_id", "created_at", "bytes", "rows", "encrypted", "restorable"}
BY = Who("officer@example.org", "bridge")
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


async def bulkmig(target: str, *words: str, **environment: str) -> Ended:
    ended = await said(*words, environment={"MAINTENANCE_DB_URL": target, "COLUMNS": "200", **environment})
    return Ended(ended.returncode, ended.stdout, ended.stderr)


async def test_rollback_prints_the_document_and_tells_people_how_to_take_it_back(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, _, report = await migrated(fleets, SPEC, maintenance_url)
    complete = await state(maintenance_url)
    ended = await bulkmig(maintenance_url, "rollback", "--run", report.run_id, "--json", "--yes", "--quiet")
    document = ended.document
    assert (ended.status, ended.err) == (0, "")
    assert (document["command"], document["status"], document["drift"]) == ("rollback", "completed", 0)
    assert document["vessels"] == {"selected": 3, "done": 3, "skipped": 0, "failed": 0, "remaining": 0}
    assert document["rows"]["equipment"]["deleted"] == report.inserted["equipment"] > 0
    assert document["rows"]["companies"]["deleted"] == 2
    assert await fetchval(maintenance_url, "SELECT count(*) FROM companies") == 0
    ended = await bulkmig(maintenance_url, "rollback", "--run", document["run_id"])
    assert ended.status == 0
    assert "completed" in ended.out
    assert "bulkmig rollback --run" in ended.out
    assert apart(complete, await state(maintenance_url)) == []


async def test_a_rollback_that_is_refused_lists_what_others_changed(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, config, _ = await migrated(fleets, SPEC, maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    id_ = uuid = await fetchval(
        maintenance_url,
        f"UPDATE equipment SET name = name || '!' WHERE id = (SELECT e.id {EQUIPMENT_OF} LIMIT 1)"
        " RETURNING id::text",
        vessel,
    )
    before = await state(maintenance_url)
    refused = await bulkmig(maintenance_url, "rollback", "--vessel", vessel, "--json")
    assert refused.status == 1
    assert refused.document["status"] == "refused"
    if files.is_file(maintenance_url):  # where people know rows by their numbers
        id_ = str(await fetchval(maintenance_url, "SELECT id FROM bulkmig.ids WHERE uuid = $1", uuid))
    assert refused.document["drift"] == [{"table": "equipment", "id": id_, "change": "changed"}]
    (failure,) = refused.document["failures"]
    assert (failure["vessel_id"], failure["phase"]) == (vessel, "rollback")
    shown = await bulkmig(maintenance_url, "rollback", "--vessel", vessel)
    assert shown.status == 1
    assert id_ in shown.out
    assert "--force" in shown.out
    assert apart(before, await state(maintenance_url)) == []
    forced = await rollback(config, vessel=vessel, force=True)
    assert (forced.exit_status, forced.status) == (0, "completed")
    assert forced.document()["discarded"] == [{"table": "equipment", "id": uuid, "change": "changed"}]


async def test_people_read_that_a_run_was_refused_in_part_only_where_something_went_back(
    fleets: Fleets, maintenance_url: str
) -> None:
    _, _, report = await migrated(fleets, SPEC, maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    changed = f"UPDATE equipment SET name = 'of the crew' WHERE id IN (SELECT e.id {EQUIPMENT_OF})"
    await execute(maintenance_url, changed, vessel)
    alone = await bulkmig(maintenance_url, "rollback", "--vessel", vessel)
    assert (alone.status, "refused: nothing was changed" in alone.out) == (1, True)
    most = await bulkmig(maintenance_url, "rollback", "--run", report.run_id)
    assert (most.status, "refused in part: the rest went back" in most.out) == (1, True)
    assert await fetchval(maintenance_url, "SELECT count(*) FROM vessels") == 1
    again = await bulkmig(maintenance_url, "rollback", "--run", report.run_id)
    assert (again.status, "refused: nothing was changed" in again.out) == (1, True)


WRONG: list[dict[str, str]] = [
    {},
    {"run": "ffff", "vessel": "ffff"},
    {"checkpoint": "ffffffff"},
    {"checkpoint": "%"},
    {"run": "%"},
    {"run": "ffffffff"},
    {"vessel": "no id"},
    {"vessel": "00000000-0000-4000-8000-000000000000"},
]


async def test_what_there_is_not_can_t_be_rolled_back(fleets: Fleets, maintenance_url: str) -> None:
    _, config, _ = await migrated(fleets, SPEC, maintenance_url)
    before = await state(maintenance_url)
    for which in WRONG:
        with pytest.raises(UsageError) as caught:
            await rollback(config, **which)  # type: ignore[arg-type]
        assert caught.value.hint
    ended = await bulkmig(maintenance_url, "rollback", "ffffffff", "--json")
    assert (ended.status, ended.document["error"]) == (2, "there is no checkpoint ffffffff")
    assert apart(before, await state(maintenance_url)) == []


async def test_a_reference_that_moved_waits_on_the_vessel_that_it_belongs_to_and_is_counted(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, maintenance_url)
    await execute(origin.url, "DELETE FROM cross_references")
    first, end, new = origin.approved
    reference = await fetchval(
        origin.url,
        "INSERT INTO cross_references (id, vessel_id, source_equipment_id, target_equipment_id,"
        " reference_type) SELECT gen_random_uuid(), $1::text::uuid, a.id, b.id, 'near' FROM equipment a,"
        " equipment b WHERE a.vessel_id = $1::text::uuid AND b.vessel_id = $2::text::uuid LIMIT 1"
        " RETURNING id::text",
        first,
        end,
    )
    await migrate(config, ALL)
    await execute(origin.url, "UPDATE cross_references SET vessel_id = $1::text::uuid", new)
    assert (await sync(config, ALL)).failures == []
    back = (await undone(config, vessel=end)).document()
    waits = "SELECT source_id || ' ' || vessel_id FROM bulkmig.pending"
    assert await rows(maintenance_url, waits) == [f"{reference} {new}"]
    assert (back["pending"]["cross_references"], back["rows"]["cross_references"]["deleted"]) == (1, 1)
    again = (await undone(config, checkpoint=back["checkpoints"][0])).document()
    assert (again["pending"]["cross_references"], again["rows"]["cross_references"]["inserted"]) == (0, 1)


async def test_checkpoints_are_listed_and_shown(fleets: Fleets, maintenance_url: str) -> None:
    origin, config, report = await migrated(fleets, SPEC, maintenance_url)
    ended = await bulkmig(maintenance_url, "checkpoints", "list", "--json", "--yes", "--quiet")
    found = ended.document["checkpoints"]
    assert (ended.status, ended.err) == (0, "")
    assert {one["vessel_id"] for one in found} == {None, *origin.approved}
    for one in found:
        assert one.keys() >= LISTED
        assert (one["run_id"], one["encrypted"], one["restorable"]) == (report.run_id, False, True)
    vessel = await a_vessel_with_equipment(maintenance_url)
    back = await undone(config, vessel=vessel)
    only = await bulkmig(maintenance_url, "checkpoints", "list", "--json", "--vessel", vessel)
    old, own = only.document["checkpoints"]
    assert (old["rows"], own["run_id"]) == (0, back.run_id)
    assert own["rows"] > 8
    assert own["bytes"] > 0
    shown = await bulkmig(maintenance_url, "checkpoints", "show", own["id"][:8], "--json")
    assert shown.status == 0
    assert {name: shown.document[name] for name in LISTED} == {name: own[name] for name in LISTED}
    assert shown.document["tables"]["vessels"] == 1
    assert sum(shown.document["tables"].values()) <= own["rows"]
    for words in (("list", "--vessel", vessel), ("show", own["id"])):
        text = await bulkmig(maintenance_url, "checkpoints", *words)
        assert (text.status, text.err) == (0, "")
        assert own["id"] in text.out
        assert f"{own['rows']:,}" in text.out


async def listed(target: str, key: str = "") -> set[str]:
    """The checkpoints that `checkpoints list` calls restorable."""
    keys = Keyring([Seal(base64.b64decode(key))] if key else [])
    where = replace(files.parse(target), keys=keys) if files.is_file(target) else parse(target, keys=keys)
    async with session(where, TARGET, role="target") as connection:
        return await changes.whole(connection)


async def test_a_checkpoint_without_its_key_and_a_damaged_one_are_not_restorable(
    fleets: Fleets, maintenance_url: str, tmp_path: Path
) -> None:
    key, other = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    file = tmp_path / "key"
    file.write_text(key)
    _, config, _ = await migrated(fleets, SPEC, maintenance_url, key_file=str(file))
    vessel = await a_vessel_with_equipment(maintenance_url)
    back = await undone(config, vessel=vessel)
    own = back.notes["checkpoints"][0]
    assert own in await listed(maintenance_url, key)
    assert own not in await listed(maintenance_url)
    ended = await bulkmig(maintenance_url, "checkpoints", "list", "--json", BULKMIG_KEY=other)
    assert {(one["encrypted"], one["restorable"]) for one in ended.document["checkpoints"]} >= {(True, False)}
    assert own in {one["id"] for one in ended.document["checkpoints"] if not one["restorable"]}
    for word, there in (("key", key), ("other", other)):
        shown = await bulkmig(maintenance_url, "checkpoints", "list", BULKMIG_KEY=there)
        assert ("can't be restored" in shown.out) == (word == "other"), shown.out
    wrong = await bulkmig(maintenance_url, "checkpoints", "show", own, "--json", BULKMIG_KEY=other)
    assert (wrong.status, wrong.document["restorable"]) == (1, False)
    assert "key" in wrong.document["problem"]
    await flip(maintenance_url, f"WHERE part = 0 AND checkpoint_id = '{own}'", at=40)
    assert own not in await listed(maintenance_url, key)
    damaged = await bulkmig(maintenance_url, "checkpoints", "show", own, BULKMIG_KEY=key)
    assert damaged.status == 1
    assert "is not what was stored" in damaged.out


async def prune(target: str, *, keep: int, days: float) -> tuple[str, ...]:
    connection = await asyncpg.connect(target)
    try:
        return (await retention.prune(connection, BY, keep=keep, days=days)).checkpoints
    finally:
        await connection.close()


async def test_prune_goes_by_number_and_age_and_says_what_went(fleets: Fleets, maintenance_url: str) -> None:
    origin, config, _ = await migrated(fleets, SPEC, maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    for _ in range(2):
        await undone(config, vessel=vessel)
        await migrate(config, ALL)
    before = await listed(maintenance_url)
    assert await prune(maintenance_url, keep=1, days=1) == ()
    ended = await bulkmig(maintenance_url, "checkpoints", "prune", "--keep", "1", "--days", "0", "--json")
    gone = ended.document["pruned"]
    assert (ended.status, len(gone)) == (0, 4)
    after = await listed(maintenance_url)
    assert after == before - set(gone)
    left = await rows(
        maintenance_url, "SELECT vessel_id FROM bulkmig.checkpoints WHERE vessel_id IS NOT NULL"
    )
    assert len(left) == len(origin.approved)
    text = await bulkmig(maintenance_url, "checkpoints", "prune", "--yes")
    assert (text.status, text.out.strip()) == (0, "0 checkpoints deleted")
    with pytest.raises(UsageError, match=f"there is no checkpoint {gone[0]}"):
        await rollback(config, checkpoint=gone[0])
    audited = "SELECT summary FROM bulkmig.audit WHERE action = 'pruned'"
    assert await fetchval(maintenance_url, audited) == "4 checkpoints"


@pytest.mark.parametrize("keep", [1, 2])
async def test_whatever_stays_after_prune_is_restored_as_before(
    fleets: Fleets, maintenance_url: str, keep: int
) -> None:
    """A chain of changes, rollbacks and rollbacks of these, cut from its beginning; then back, one by one."""
    _, config, report = await migrated(fleets, SPEC, maintenance_url)
    vessel = await a_vessel_with_equipment(maintenance_url)
    own = (
        "SELECT id::text FROM bulkmig.checkpoints WHERE vessel_id = $1::text::uuid ORDER BY seq DESC LIMIT 1"
    )
    # Each checkpoint holds what was there before the change that it was taken for.
    held = {}
    before = await state(maintenance_url)
    for _ in range(2):
        first = await fetchval(maintenance_url, own, vessel)
        await undone(config, checkpoint=first)
        held[await fetchval(maintenance_url, own, vessel)] = before
        without = await state(maintenance_url)
        await undone(config, checkpoint=await fetchval(maintenance_url, own, vessel))
        held[await fetchval(maintenance_url, own, vessel)] = without
        assert apart(before, await state(maintenance_url)) == []
    gone = await prune(maintenance_url, keep=keep, days=0)
    there = await listed(maintenance_url)
    left = await rows(maintenance_url, "SELECT id::text FROM bulkmig.checkpoints")
    assert there == set(left)
    kept = [id_ for id_ in held if id_ in there]
    assert len(kept) >= keep
    assert not set(gone) & there
    for id_ in kept[::-1]:
        await undone(config, checkpoint=id_)
        assert apart(held[id_], await state(maintenance_url)) == []
    assert report.done == 3


WHOLE_AUDIT = "SELECT concat_ws(' ', id, run_id, action, operator, summary) FROM bulkmig.audit ORDER BY id"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE bulkmig.audit SET summary = ''",
        "DELETE FROM bulkmig.audit",
        pytest.param(
            "TRUNCATE bulkmig.audit", marks=pytest.mark.only_postgresql("SQLite has no such statement")
        ),
    ],
)
async def test_the_audit_log_is_only_ever_added_to(
    fleets: Fleets, maintenance_url: str, statement: str
) -> None:
    await migrated(fleets, SPEC, maintenance_url)
    before = await rows(maintenance_url, WHOLE_AUDIT)
    assert before
    with pytest.raises(asyncpg.RaiseError, match="only ever added to"):
        await execute(maintenance_url, statement)
    assert await rows(maintenance_url, WHOLE_AUDIT) == before


@pytest.mark.only_postgresql("SQLite doesn't tell what one transaction wrote (decision 0015)")
async def test_every_change_of_a_vessel_has_its_audit_entry_in_the_same_transaction(
    fleets: Fleets, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    config = settings(origin, maintenance_url, operator="officer@example.org")
    await migrate(config, Selection(vessels=tuple(origin.approved[:2])))
    await migrate(config, ALL)  # which lets rows of the first two in as well
    vessel = await a_vessel_with_equipment(maintenance_url)
    await undone(config, vessel=vessel)
    await execute(maintenance_url, "UPDATE vessels SET name = name || '!'")
    other = next(id_ for id_ in origin.approved if id_ != vessel)
    assert (await rollback(config, vessel=other)).was_refused
    silent = (
        "SELECT c.vessel_id::text FROM bulkmig.checkpoints c WHERE vessel_id IS NOT NULL AND NOT EXISTS"
        " (SELECT FROM bulkmig.audit a WHERE a.vessel_id = c.vessel_id AND a.run_id = c.run_id"
        " AND a.xmin = c.xmin)"
    )
    assert await rows(maintenance_url, silent) == []
    told = await rows(
        maintenance_url, "SELECT DISTINCT action FROM bulkmig.audit WHERE vessel_id IS NOT NULL"
    )
    assert {"migrated", "rolled back", "refused"} <= set(told)
    by = await rows(maintenance_url, "SELECT DISTINCT operator FROM bulkmig.audit")
    assert by == ["officer@example.org"]


async def rolled_back(fleets: Fleets, target: str, equipment: int, parts: int = 0) -> list[int]:
    """Migrates a vessel of this size, rolls it back and takes that back: each command's peak memory."""
    size = FleetSpec(seed=2, vessels=1, equipment=equipment, exact=True, parts=parts, documents=parts)
    origin = await fleets(size)
    config = settings(origin, target)
    run_id = (await migrate(config, ALL)).run_id
    count = "SELECT count(*) FROM equipment"
    peaks = []
    for left in (0, equipment):
        ended = await bulkmig(target, "rollback", "--run", run_id, "--json")
        assert ended.status == 0, ended.err
        assert await fetchval(target, count) == left
        run_id, peak = ended.document["run_id"], ended.document["peak_memory_bytes"]
        peaks.append(peak)
    return peaks


async def test_the_memory_of_a_rollback_does_not_grow_with_the_vessel(fleets: Fleets, databases: Any) -> None:
    small, _ = await rolled_back(fleets, databases("maintenance"), 10)
    large = await rolled_back(fleets, databases("maintenance"), 3000)
    assert max(large) < small + 100 * MEBIBYTE


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_vessel_of_300_000_equipment_goes_back_inside_the_memory_bound(
    fleets: Fleets, maintenance_url: str
) -> None:
    bound = settings(await fleets(SPEC), maintenance_url).memory
    assert max(await rolled_back(fleets, maintenance_url, 300_000, 1)) <= bound + 200 * MEBIBYTE
