"""Workers that wait for a run are nobody's dead; those that couldn't do its work are refused."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from msgspec.structs import replace

from bulkmig import Report, Selection, Settings, migrate, sync
from bulkmig._core.stop import Stop
from bulkmig.cluster import desk, roster, runs
from bulkmig.cluster.roster import Named
from bulkmig.cluster.worker import work
from bulkmig.errors import PreflightError
from bulkmig.generate import FleetSpec
from bulkmig.ledger import schema
from bulkmig.postgres import dsn
from bulkmig.postgres.session import TARGET, session
from tests.checkpoint.support import execute, fetchval, settings
from tests.support.aftermath import until
from tests.support.fleets import Fleets
from tests.support.servers import Databases

SPEC = FleetSpec(seed=44, vessels=2, companies=1, equipment=4, nasty=0.0, least=0)
ALL = Selection(all=True)
AGED = "UPDATE bulkmig.queue_workers SET seen_at = seen_at - interval '45 minutes'"
LIMIT = 30.0


async def test_a_worker_without_a_run_shows_that_it_lives(
    onboarding_url: str, maintenance_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "IDLE_BEAT", 0.0)
    stop = Stop()
    async with (
        anyio.create_task_group() as group,
        session(dsn.parse(maintenance_url), TARGET, role="target") as target,
    ):

        async def waiting() -> None:
            await work(Settings(source=onboarding_url, target=maintenance_url), stop=stop)

        async def states() -> list[str]:
            return [one["state"] for one in (await roster.queue(target))["workers"]]

        async def on() -> bool:
            return await states() == ["on"]

        group.start_soon(waiting)
        try:
            assert await until(on, LIMIT)
            await target.execute(AGED)
            assert await until(on, LIMIT)
        finally:
            stop.request()


async def test_only_who_works_on_a_run_can_be_silent_in_it(maintenance_url: str) -> None:
    """Nobody ends the sessions of a worker that has had nothing to do for longer than a heartbeat."""
    async with session(dsn.parse(maintenance_url), TARGET, role="target") as target:
        await schema.upgrade(target)
        run_id, one, other = str(uuid4()), Named(uuid4()), Named(uuid4())
        await target.execute(
            "INSERT INTO bulkmig.queue_runs (run_id, command, selection, state, version, rules, source,"
            " position, snapshot, seen, heartbeat)"
            " VALUES ($1::text::uuid, '', '', 'open', '', '', '', '0/0', '', '', 2)",
            run_id,
        )

        async def silent() -> list[str]:
            await target.execute(AGED)
            found = await runs.taking(target, run_id, other.id)
            assert found is not None
            return found.silent

        await roster.enrol(target, one)
        await roster.enrol(target, other)
        assert await silent() == []
        await roster.seen(target, one, run_id)
        assert await silent() == [one.tag]
        await roster.seen(target, one, None)
        assert await silent() == []


async def refused(submitter: Settings, worker: Settings, why: str, command: str) -> Report:
    """A run of which this worker is refused; then the submitter's own like does the work."""
    reports: list[Report] = []
    run = {"migrate": migrate, "sync": sync}[command]

    async def submit() -> None:
        reports.append(await run(replace(submitter, queue=True), ALL))

    async with anyio.create_task_group() as group:
        group.start_soon(submit)
        with pytest.raises(PreflightError, match=why):
            await work(worker, once=True)
        await work(submitter, once=True)
    return reports[0]


async def test_a_worker_that_lacks_a_key_of_the_ledger_is_refused(
    fleets: Fleets, maintenance_url: str, tmp_path: Path
) -> None:
    origin = await fleets.changing(SPEC)
    for name, keys in {"old": "01", "new": "02", "both": "02 01"}.items():
        (tmp_path / name).write_text("\n".join(32 * key for key in keys.split()))
    config = settings(origin, maintenance_url, key_file=str(tmp_path / "both"))
    await migrate(replace(config, key_file=str(tmp_path / "old")), ALL)
    await execute(origin.url, "UPDATE equipment SET notes = 'changed', updated_at = now()")
    report = await refused(config, replace(config, key_file=str(tmp_path / "new")), "holds values", "sync")
    assert (report.done, report.failed) == (len(origin.approved), 0)


async def test_a_worker_without_a_key_is_refused_where_its_configuration_asks_for_encryption(
    onboarding_url: str, maintenance_url: str
) -> None:
    config = Settings(source=onboarding_url, target=maintenance_url, require_encryption=True)
    with pytest.raises(PreflightError, match="asks for encryption"):
        await work(config, once=True)
    assert await fetchval(maintenance_url, "SELECT to_regnamespace('bulkmig') IS NULL")


async def test_a_worker_that_may_not_load_as_the_run_does_is_refused(
    fleets: Fleets, databases: Databases, maintenance_url: str
) -> None:
    origin = await fleets(SPEC)
    role = f"loads_by_row_{uuid4().hex[:8]}"
    await execute(
        maintenance_url,
        f"CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};"
        f"CREATE SCHEMA bulkmig AUTHORIZATION {role}; ALTER DEFAULT PRIVILEGES IN SCHEMA bulkmig"
        f" GRANT ALL ON TABLES TO {role}; ALTER DEFAULT PRIVILEGES IN SCHEMA bulkmig"
        f" GRANT ALL ON SEQUENCES TO {role}",
    )
    try:
        config = settings(origin, maintenance_url, fk_check="set")
        other = maintenance_url.replace("postgres@", f"{role}@")
        report = await refused(config, replace(config, target=other), "may not turn off triggers", "migrate")
        assert (report.done, report.failed) == (len(origin.approved), 0)
    finally:
        await execute(maintenance_url, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
