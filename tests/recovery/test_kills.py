"""The kill table: SIGKILL at every statement that writes, and at instants all over the run. Nothing is ever
half there, and the same command again ends as if nothing had happened.

`KILLED` is the table. `test_every_write_of_the_code_is_in_the_kill_table` reads the code for statements that
write and doesn't let anyone add one that is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.support import writes
from tests.support.aftermath import left_behind
from tests.support.programs import program
from tests.support.proxy import Proxy
from tests.support.workloads import Workload, Workloads

OF_PORTAL = (
    *("companies", "company_settings", "users", "user_metadata", "vessels", "vessel_details"),
    *("equipment", "equipment_metadata", "critical_parts", "part_details", "equipment_documents"),
    *("vessel_documents", "document_details", "quality_scores", "cross_references", "maintenance_logs"),
)
# What seals the audit log, at every command's end.
CHAIN = ("INSERT bulkmig.audit", "INSERT bulkmig.audit_chain", "COMMIT after INSERT bulkmig.audit_chain")

# Workload -> what its statements write (`tests/support/wire.py`). Of several statements that write the same,
# each is an abort point.
KILLED: dict[str, tuple[str, ...]] = {
    "quarantine": (
        *CHAIN,
        "CREATE SCHEMA bulkmig",
        "CREATE TABLE bulkmig.migrations",
        "CREATE TABLE bulkmig.runs",
        "CREATE TABLE bulkmig.keys",
        "ALTER TABLE bulkmig.audit",
        "CREATE TABLE bulkmig.access",
        "INSERT bulkmig.migrations",
        "CREATE TABLE bulkmig.checkpoints",
        "ALTER TABLE bulkmig.vessels",
        "CREATE TABLE bulkmig.conflicts",
        "ALTER TABLE bulkmig.audit",
        "CREATE TABLE bulkmig.keys",
        "CREATE TABLE bulkmig.queue_runs",
        "COMMIT after INSERT bulkmig.migrations",
        "INSERT bulkmig.runs",
        "UPDATE bulkmig.runs",
        "INSERT bulkmig.slugs",
        "INSERT bulkmig.qr_codes",
        "INSERT bulkmig.checkpoints",
        "COPY bulkmig.checkpoint_parts",
        "INSERT bulkmig.identities",
        "COPY companies",
        "COPY company_settings",
        "INSERT companies",
        "INSERT company_settings",
        "COPY users",
        "COPY user_metadata",
        "INSERT users",
        "INSERT user_metadata",
        "DELETE bulkmig.quarantine",
        "INSERT bulkmig.quarantine",
        "COPY bulkmig.findings",
        "COPY bulkmig.base",
        "COMMIT after UPDATE bulkmig.runs",
        "COPY vessels",
        "COPY vessel_details",
        "INSERT vessels",
        "INSERT vessel_details",
        "COPY equipment",
        "COPY equipment_metadata",
        "COPY critical_parts",
        "COPY part_details",
        "COPY equipment_documents",
        "COPY vessel_documents",
        "COPY document_details",
        "COPY quality_scores",
        "INSERT bulkmig.pending",
        "INSERT bulkmig.vessels",
        "INSERT bulkmig.seen",
        "COMMIT after INSERT bulkmig.vessels",
        "COPY cross_references",
        "DELETE bulkmig.pending",
        "COMMIT after DELETE bulkmig.pending",
    ),
    "retry": (
        *CHAIN,
        "INSERT bulkmig.runs",
        "UPDATE bulkmig.runs",
        "COMMIT after UPDATE bulkmig.runs",
        "INSERT bulkmig.checkpoints",
        "COPY bulkmig.checkpoint_parts",
        "DELETE bulkmig.quarantine",
        "DELETE bulkmig.seen",
        "INSERT bulkmig.quarantine",
        "COPY bulkmig.findings",
        "COPY equipment",
        "COPY equipment_metadata",
        "COPY critical_parts",
        "COPY part_details",
        "COPY bulkmig.base",
        "UPDATE equipment_documents",
        "DELETE vessel_documents",
        "COMMIT after DELETE bulkmig.quarantine",
        "DELETE bulkmig.pending",
        "COMMIT after DELETE bulkmig.pending",
    ),
    "verify": (
        *CHAIN,
        "INSERT bulkmig.runs",
        "INSERT bulkmig.verified",
        "UPDATE bulkmig.runs",
    ),
    "rollback": (
        *CHAIN,
        "INSERT bulkmig.runs",
        "UPDATE bulkmig.runs",
        "COPY bulkmig.checkpoint_parts",
        "INSERT bulkmig.checkpoints",
        "COPY bulkmig.base",
        "INSERT bulkmig.pending",
        "INSERT bulkmig.qr_codes",
        "DELETE bulkmig.vessels",
        "DELETE bulkmig.quarantine",
        "DELETE bulkmig.pending",
        "DELETE bulkmig.conflicts",
        "DELETE bulkmig.retained",
        "DELETE bulkmig.seen",
        "DELETE bulkmig.identities",
        "UPDATE bulkmig.base",
        "COMMIT after INSERT bulkmig.audit",
        # Of each table only what there is to do: this run's rows go, and what it took over is set back.
        *(f"INSERT {table}" for table in ("companies", "company_settings", "users", "user_metadata")),
        *(f"DELETE {table}" for table in OF_PORTAL if table != "maintenance_logs"),
        *(f"UPDATE {table}" for table in ("companies", "users", "vessels")),
    ),
    "sync": (
        *CHAIN,
        "INSERT bulkmig.runs",
        "UPDATE bulkmig.runs",
        "COMMIT after UPDATE bulkmig.runs",
        "COPY bulkmig.checkpoint_parts",
        "INSERT bulkmig.checkpoints",
        "UPDATE bulkmig.checkpoints",  # a reference of another vessel that goes along
        "COPY bulkmig.findings",
        "INSERT bulkmig.quarantine",
        "DELETE bulkmig.quarantine",
        "COPY bulkmig.base",
        "DELETE bulkmig.retained",
        "INSERT bulkmig.retained",
        "INSERT bulkmig.conflicts",
        "INSERT bulkmig.identities",
        "DELETE bulkmig.pending",
        "INSERT bulkmig.pending",
        "COMMIT after DELETE bulkmig.pending",
        "INSERT bulkmig.vessels",
        "DELETE bulkmig.vessels",
        "COMMIT after INSERT bulkmig.vessels",
        *("INSERT bulkmig.seen", "DELETE bulkmig.seen"),
        "COMMIT after COPY bulkmig.base",
        "UPDATE vessels",  # those that exchange their IMO numbers
        # Users who waited for the e-mails of those who go.
        *("COPY users", "COPY user_metadata", "DELETE bulkmig.findings"),
        # Details that are as they were are not written.
        *(
            f"INSERT {table}"
            for table in OF_PORTAL
            if table != "maintenance_logs"
            and table not in ("company_settings", "user_metadata", "vessel_details", "document_details")
        ),
        *(
            f"DELETE {table}"
            for table in OF_PORTAL
            if table not in ("maintenance_logs", "companies", "company_settings")
        ),
    ),
    "rotate": (
        *CHAIN,
        "INSERT bulkmig.keys",
        "UPDATE bulkmig.base",
        "UPDATE bulkmig.quarantine",
        "UPDATE bulkmig.conflicts",
        "UPDATE bulkmig.checkpoint_parts",
        "UPDATE bulkmig.checkpoints",
        "COMMIT after UPDATE bulkmig.checkpoints",
        "DELETE bulkmig.keys",
    ),
}
# The same for what the long form alone makes: ways back, and what people decide.
KILLED_IN_THE_LONG_FORM: dict[str, tuple[str, ...]] = {
    "undo": (
        *CHAIN,
        "INSERT bulkmig.runs",
        "UPDATE bulkmig.runs",
        "COPY bulkmig.checkpoint_parts",
        "INSERT bulkmig.checkpoints",
        "INSERT bulkmig.qr_codes",
        "INSERT bulkmig.audit",
        "COPY bulkmig.base",
        "UPDATE bulkmig.base",
        "INSERT bulkmig.identities",
        *(f"DELETE bulkmig.{table}" for table in ("vessels", "quarantine", "pending", "conflicts")),
        *(f"DELETE bulkmig.{table}" for table in ("retained", "seen", "identities")),
        "COMMIT after INSERT bulkmig.audit",
        *(f"INSERT {table}" for table in OF_PORTAL if table != "maintenance_logs"),
        *(f"DELETE {table}" for table in ("critical_parts", "part_details", "vessel_documents")),
        *(
            f"{what} {table}"
            for what in ("UPDATE", "DELETE")
            for table in ("equipment", "equipment_metadata")
        ),
        *(f"UPDATE {table}" for table in ("companies", "users", "vessels", "equipment_documents")),
        *(f"UPDATE {table}" for table in ("quality_scores", "cross_references")),
    ),
    "return": (
        *CHAIN,
        "INSERT bulkmig.runs",
        "UPDATE bulkmig.runs",
        "COPY bulkmig.checkpoint_parts",
        "INSERT bulkmig.checkpoints",
        "INSERT bulkmig.qr_codes",
        "INSERT bulkmig.audit",
        "UPDATE bulkmig.base",
        *(f"DELETE bulkmig.{table}" for table in ("vessels", "quarantine", "pending", "conflicts")),
        *(f"DELETE bulkmig.{table}" for table in ("retained", "seen", "identities")),
        "COMMIT after INSERT bulkmig.audit",
        *(f"INSERT {table}" for table in ("companies", "company_settings", "users", "user_metadata")),
        *(f"INSERT {table}" for table in ("vessels", "vessel_details", "equipment", "equipment_metadata")),
        *(f"INSERT {table}" for table in ("equipment_documents", "document_details", "vessel_documents")),
        *(f"INSERT {table}" for table in ("quality_scores", "cross_references")),
    ),
    "resolve": (
        *CHAIN,
        "INSERT bulkmig.runs",
        "UPDATE bulkmig.runs",
        "COPY bulkmig.checkpoint_parts",
        "INSERT bulkmig.checkpoints",
        "UPDATE bulkmig.conflicts",
        "DELETE bulkmig.seen",
        *(f"{what} bulkmig.retained" for what in ("DELETE", "INSERT")),
        "COPY bulkmig.base",
        "INSERT bulkmig.audit",
        "COMMIT after INSERT bulkmig.audit",
        *(f"INSERT {table}" for table in ("equipment", "users")),
        *(f"DELETE {table}" for table in ("equipment", "equipment_metadata", "users", "user_metadata")),
    ),
    "move": (
        *CHAIN,
        "INSERT bulkmig.runs",
        "UPDATE bulkmig.runs",
        "COMMIT after UPDATE bulkmig.runs",
        "COPY bulkmig.checkpoint_parts",
        "INSERT bulkmig.checkpoints",
        "COPY bulkmig.findings",
        "INSERT bulkmig.quarantine",
        "DELETE bulkmig.quarantine",
        "COPY bulkmig.base",
        "UPDATE bulkmig.conflicts",
        "DELETE bulkmig.retained",
        "INSERT bulkmig.identities",
        "INSERT bulkmig.pending",
        "DELETE bulkmig.pending",
        "COMMIT after DELETE bulkmig.pending",
        "INSERT bulkmig.vessels",
        "COMMIT after INSERT bulkmig.vessels",
        *("INSERT bulkmig.seen", "DELETE bulkmig.seen"),
        *(f"INSERT {table}" for table in ("equipment", "equipment_metadata", "critical_parts")),
    ),
    "prune": (
        *CHAIN,
        "DELETE bulkmig.checkpoints",
        "DELETE bulkmig.base",
        "INSERT bulkmig.audit",
    ),
}
# Where the code COPYs -> what that writes.
COPIES: dict[str, tuple[str, ...]] = {
    "checkpoint/parts.py:copy_part": ("COPY bulkmig.checkpoint_parts",),
    "checkpoint/parts.py:store": ("COPY bulkmig.checkpoint_parts",),
    "checkpoint/stage.py:merge": (),  # into temporary tables
    "ledger/write.py:base_parts": ("COPY bulkmig.base",),
    "ledger/write.py:findings": ("COPY bulkmig.findings",),
    "postgres/watch.py:copy_records_to_table": (),  # what the others call
    "postgres/watch.py:copy_to_table": (),
    "retry/returning.py:_insert": ("COPY equipment", "COPY critical_parts"),
    "settle.py:_load": ("COPY cross_references",),
    "shared.py:_write": ("COPY companies", "COPY company_settings", "COPY users", "COPY user_metadata"),
    "target/postgres.py:copy_in": (),  # what the others call
    "target/postgres.py:copy_rows": (),
    "vessel_load.py:_copy": (
        *("COPY vessels", "COPY vessel_details", "COPY equipment", "COPY equipment_metadata"),
        *("COPY critical_parts", "COPY part_details", "COPY equipment_documents", "COPY vessel_documents"),
        *("COPY document_details", "COPY quality_scores"),
    ),
}
# Writes amid a transaction, that go one way with those beside them: the ledger's tables between its first and
# its last, and of the portal's tables those whose rows come right before or after an entity's own.
AMID = {
    *(f"CREATE TABLE bulkmig.{table}" for table in ("runs", "keys", "access", "checkpoints", "conflicts")),
    *("ALTER TABLE bulkmig.audit", "ALTER TABLE bulkmig.vessels"),
    *(
        f"{what} {table}"
        for what in ("COPY", "INSERT")
        for table in ("company_settings", "user_metadata", "vessel_details", "equipment_metadata")
    ),
    *("COPY part_details", "COPY equipment_documents", "COPY vessel_documents", "COPY document_details"),
}
# The short form kills each other kind of write once, in the first workload that has it.
SHORT = {
    key: workload
    for workload in reversed([name for name in KILLED if name != "sync"])
    for key in KILLED[workload]
    # Of a rollback's writes of the portal's tables, which all go one way, a few.
    if (workload != "rollback" or "bulkmig." in key or key.endswith(" equipment")) and key not in AMID
}
# Of a sync: companies and users, each part of what vessels change in one commit, a vessel and users that go,
# and those who come for them.
OF_SYNC = (
    "COMMIT after DELETE bulkmig.retained",
    "UPDATE vessels",
    "INSERT equipment",
    "COMMIT after INSERT bulkmig.vessels",
    "DELETE bulkmig.vessels",
    "DELETE users",
    "COPY users",
    "DELETE bulkmig.findings",
)
TOGETHER = 7  # points of one test of the short form
CHAINS = [
    (workload, tuple(keys[n : n + TOGETHER]))
    for workload in KILLED
    for keys in [[key for key, of in SHORT.items() if of == workload]]
    for n in range(0, len(keys), TOGETHER)
] + [("sync", OF_SYNC)]
# Where the code writes in a case that no workload of the short form has -> the one of the long form.
IN_THE_LONG_FORM: dict[str, str] = {
    "checkpoint/others.py:bring_back": "return",
    "checkpoint/others.py:_only_waiting": "return",
    "checkpoint/parts.py:put_back": "undo",
    "checkpoint/restore.py:_make_room": "undo",
    "checkpoint/stage.py:_remove": "undo",
    "sync/conflicts.py": "move",
    "sync/resolve.py:_resolve": "resolve",
    "sync/resolve.py": "resolve",
    "checkpoint/retention.py": "prune",
    "checkpoint/retention.py:prune": "prune",
}
# Writes that tests of their own kill -> which.
KILLED_ELSEWHERE: dict[str, str] = {
    "operators.py": "tests/security",
    "operators.py:turn": "tests/security",
    **dict.fromkeys(
        (
            *("cluster/jobs.py", "cluster/outcome.py", "cluster/outcome.py:store", "cluster/plan.py:publish"),
            *("cluster/rate.py", "cluster/roster.py", "cluster/runs.py"),
        ),
        "tests/cluster",
    ),
}
# Where a portal has tables of its own that no workload has; tests/checkpoint has some and kills nobody. These
# statements are within a vessel's transaction, as their neighbours are.
OF_PORTALS_OWN = {
    "checkpoint/restore.py:cut",
    "checkpoint/restore.py:set_last",
    "checkpoint/others.py:bring_back",
    "checkpoint/hanging.py:discard",
}
# Where a vessel was rolled back by itself, and a sync leaves it alone or it brought companies back. Tests of
# tests/sync and tests/checkpoint have such, and kill nobody. These are within a transaction, too.
AFTER_A_VESSELS_ROLLBACK = {"checkpoint/companies.py:_came_along", "sync/record.py"}
# Where a rollback goes back past a sync that left cells of a row to the portal, as tests/sync has it: it
# fills temporary tables alone.
PAST_A_MERGE = {"checkpoint/stage.py:merge"}
# What reads like a statement and is none that bulkmig executes on a portal.
TEXT: dict[str, str] = {
    "cli/bench.py": "what bench changes in databases that it has made",
    "ledger/schema.py": "the migrations of a file, beside those of a server",
    "doctor/grants.py:_target": "it prints that",
    "doctor/indexes.py:look": "it prints that",
    "cli/verb_demo.py": "what demo changes in the source that it has made up",
}
ALL = KILLED | KILLED_IN_THE_LONG_FORM
POINTS = [(workload, key) for workload, keys in ALL.items() for key in keys]
WHEN = ("before", "after")


async def kill(work: Workload, when: str, key: str, text: str, occurrence: int) -> None:
    """Kills the command at a statement, then runs it again; everything that must hold is checked."""
    target = work.target()
    bystander = work.bystander(target)
    async with bystander.watching():
        async with Proxy(target) as proxy:
            hold = (proxy.before if when == "before" else proxy.after)(key, occurrence, text)
            async with program(work.source, proxy.url, *work.command) as started:
                await hold.reached()
                assert started.is_running
                await bystander.look()
                await started.kill()
        await bystander.look()
        assert await left_behind(work.source, target) == []
        await work.is_whole(target)
        await work.again(target)
    work.drop(target)


async def kill_all(work: Workload, points: list[tuple[str, str, str]]) -> None:
    """Kills the command at the first execution of one statement after the other, without a run in between;
    one that doesn't come any more, because it is done with, in a run of its own."""
    target = work.target()
    bystander = work.bystander(target)
    missed = []
    async with bystander.watching():
        for when, key, text in points:
            async with Proxy(target) as proxy:
                hold = (proxy.before if when == "before" else proxy.after)(key, 1, text)
                async with program(work.source, proxy.url, *work.command) as started:
                    if await hold.reached_or(started.ended()):
                        await bystander.look()
                        await started.kill()
                    else:
                        missed.append((when, key, text))
            assert await left_behind(work.source, target) == []
            await work.is_whole(target)
        await work.again(target)
    work.drop(target)
    for when, key, text in missed:
        await kill(work, when, key, text, 1)


def later(count: int) -> int:
    """An occurrence in the midst of the others."""
    return max(1, 2 * count // 3)


@pytest.mark.parametrize(
    "name", [*KILLED, *(pytest.param(name, marks=pytest.mark.long) for name in KILLED_IN_THE_LONG_FORM)]
)
async def test_the_kill_table_has_what_a_run_writes_and_nothing_else(workloads: Workloads, name: str) -> None:
    """Every writing statement that an undisturbed run executes is an abort point, and every point is one."""
    work = await workloads(name)
    assert work.ended.status == 0
    assert {statement.key for statement in work.statements if statement.key} == set(ALL[name])


async def test_every_write_of_the_code_is_in_the_kill_table(workloads: Workloads) -> None:
    """A static scan for statements that write finds none that no run of the kill table executes."""
    missed = await not_executed(workloads, KILLED)
    elsewhere = IN_THE_LONG_FORM.keys() | KILLED_ELSEWHERE.keys() | TEXT.keys() | OF_PORTALS_OWN
    assert {write.place for write in missed} == elsewhere | AFTER_A_VESSELS_ROLLBACK | PAST_A_MERGE
    assert writes.copies() == COPIES.keys()
    keys = {key for name in KILLED for key in KILLED[name]}
    assert {key for copied in COPIES.values() for key in copied} <= keys


@pytest.mark.long
@pytest.mark.timeout(900)  # it makes every workload
async def test_the_long_form_executes_what_the_short_one_does_not(workloads: Workloads) -> None:
    """Nothing is left over that no run executes."""
    missed = await not_executed(workloads, ALL)
    elsewhere = KILLED_ELSEWHERE.keys() | TEXT.keys() | OF_PORTALS_OWN
    assert {write.place for write in missed} == elsewhere | PAST_A_MERGE


async def not_executed(workloads: Workloads, names: Iterable[str]) -> list[writes.Write]:
    """The statements in the code that write and that none of these workloads executes."""
    executed = {s.text for name in names for s in (await workloads(name)).statements}
    found = writes.statements()
    assert len(found) > 20
    return [write for write in found if not any(write.is_in(text) for text in executed)]


@pytest.mark.parametrize(("name", "keys"), CHAINS, ids=[f"{name} {n}" for n, (name, _) in enumerate(CHAINS)])
async def test_killed_at_one_write_after_the_other_the_same_command_again_ends_undisturbed(
    workloads: Workloads, name: str, keys: tuple[str, ...]
) -> None:
    """A few abort points, each in the run that goes on after the one before, before or after the statement in
    turn; at the end the command runs undisturbed."""
    work = await workloads(name)
    order = {of: n for n, of in enumerate(dict.fromkeys((s.key, s.text) for s in work.statements))}
    points = sorted((order[key, text], key, text) for key in keys for text in work.points(key))
    await kill_all(work, [(WHEN[n % 2], key, text) for n, (_, key, text) in enumerate(points)])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "key"), POINTS)
async def test_killed_before_and_after_each_write_the_same_command_again_ends_undisturbed(
    workloads: Workloads, name: str, key: str
) -> None:
    """Every abort point, before and after the statement, at its first execution, a later one and the last."""
    work = await workloads(name)
    for text, count in work.points(key).items():
        for occurrence in sorted({1, later(count), count}):
            for when in WHEN:
                await kill(work, when, key, text, occurrence)
