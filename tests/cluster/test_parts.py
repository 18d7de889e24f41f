"""What workers rest on: the hand-over of decisions, the queue's tables, limits, the rule about snapshots."""

from __future__ import annotations

import time
from uuid import uuid4

import anyio
import asyncpg
import polars as pl
import pytest
from msgspec.structs import asdict

from bulkmig import Settings, __version__
from bulkmig._core import program as this
from bulkmig._core.unit import Decisions, TargetColumn
from bulkmig.cluster import outcome, plan, view
from bulkmig.cluster.jobs import Jobs
from bulkmig.cluster.library import Library
from bulkmig.cluster.plan import Manner, Plan
from bulkmig.cluster.rate import Rate, draw
from bulkmig.cluster.submit import PLENTY, units_of
from bulkmig.config import check
from bulkmig.errors import PreflightError, UsageError
from bulkmig.ledger import schema
from bulkmig.postgres import dsn
from bulkmig.postgres.again import Patience
from bulkmig.postgres.session import SOURCE, TARGET, connect
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.source.onboarding import SnapshotGone, hold
from bulkmig.vessel_load import Loaded, throttle
from tests.support.programs import run


def vessel(number: int, equipment: int = 0) -> Vessel:
    return Vessel(f"00000000-0000-0000-0000-{number:012}", f"vessel {number}", None, str(uuid4()), equipment)


def decided() -> Decisions:
    column = {"vessels": {"name": TargetColumn("varchar", False, 255)}}
    frame = pl.DataFrame({"source_id": ["a", "b"], "target_id": ["c", "d"]})
    return Decisions(
        on_error="fail",
        catalogue=column,
        source_types=column,
        identities={"company": frame, "user": frame.clear()},
        slugs={"a": "slug"},
        emails={"u": "user.email_taken"},
        adopted={("company", "a")},
        imo_taken={"v"},
        qr_codes={"e": "EQ-1"},
        foreign_qr=frozenset({"X"}),
        companies_out={"b": "company.refused"},
        kept_ids={"equipment": {"e": "f"}},
        vessels_due=frozenset({"v"}),
        current_year=2026,
    )


def test_decisions_arrive_as_they_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field, frames and sets included; what follows from the catalogues is computed anew."""
    monkeypatch.setattr(plan, "checks", lambda *_: [])
    made = Plan(Manner("o@example.org", True, "", allow_deletions=True), decided(), {"b": "refused"})
    found = plan.unpack(*plan.pack(made))
    assert (found.manner, found.refused) == (made.manner, made.refused)
    for name, value in asdict(made.decisions).items():
        got = getattr(found.decisions, name)
        if name == "identities":
            assert {k: f.rows() for k, f in got.items()} == {k: f.rows() for k, f in value.items()}
        elif name != "checks":
            assert got == value, name


@pytest.mark.parametrize("place", [0, -1, 40])
def test_a_changed_plan_is_refused(place: int) -> None:
    """One byte is enough."""
    payload, digest = plan.pack(Plan(Manner("", False, ""), decided(), {}))
    changed = bytearray(payload)
    changed[place] ^= 1
    with pytest.raises(PreflightError, match="not what it stored"):
        plan.unpack(bytes(changed), digest)


def test_small_vessels_share_a_job_only_where_there_are_plenty() -> None:
    """So that the last jobs of a small fleet don't all lie with one worker."""
    few = units_of([vessel(n, 10) for n in range(PLENTY)], 8 << 20)
    assert {len(unit) for unit in few} == {1}
    many = units_of([vessel(n, 10) for n in range(40 * PLENTY)], 8 << 20)
    assert PLENTY <= len(many) < 2 * PLENTY
    assert max(map(len, many)) == 40


@pytest.mark.parametrize(
    "wrong", [{"target": "sqlite:///portal.db"}, {"dry_run": True}], ids=["sqlite", "dry run"]
)
def test_the_queue_is_wrong_usage_where_it_can_not_be(wrong: dict[str, object]) -> None:
    """A SQLite target has no queue, and a dry run writes nothing."""
    with pytest.raises(UsageError, match="--queue"):
        check(Settings(queue=True, **wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "program"), [("0.0.0", this.digest()), (__version__, "other")], ids=["version", "rules"]
)
def test_workers_of_another_program_are_refused(version: str, program: str) -> None:
    """Also where only its rules differ."""
    with pytest.raises(PreflightError, match=f"is of bulkmig {version}"):
        this.check(version, program)
    this.check(__version__, this.digest())


async def test_a_queue_with_a_sqlite_target_ends_with_status_2(onboarding_url: str) -> None:
    """Nothing is touched."""
    for command in ("migrate", "sync"):
        ended = await run(onboarding_url, "sqlite:////tmp/nowhere/portal.db", command, "--all", "--queue")
        assert ended.status == 2, ended.said
    ended = await run(onboarding_url, "sqlite:////tmp/nowhere/portal.db", "worker")
    assert ended.status == 2, ended.said


@pytest.mark.all_versions
async def test_the_ledger_has_the_tables_that_the_library_expects(maintenance_url: str) -> None:
    """All that its upgrade would do to what the ledger's file made is nothing."""
    connection = await connect(dsn.parse(maintenance_url), TARGET, role="target")
    try:
        await schema.upgrade(connection)
        assert (await Library(connection, "").queries.plan_upgrade()).statements == ()
    finally:
        await connection.close()


async def test_jobs_are_taken_largest_first_and_by_one_worker_each(maintenance_url: str) -> None:
    """A job that was given back comes again; one of a silent worker goes to the next."""
    connection = await connect(dsn.parse(maintenance_url), TARGET, role="target")
    try:
        await schema.upgrade(connection)
        jobs, me, other = Jobs(connection, str(uuid4())), uuid4(), uuid4()
        await jobs.submit("migrate", [[vessel(1, 5)], [vessel(2, 500)], [vessel(3, 50)]])
        first = await jobs.take(me, at_once=2, heartbeat=60)
        second = await jobs.take(other, at_once=2, heartbeat=60)
        assert first is not None
        assert second is not None
        assert [first.vessels[0].equipment, second.vessels[0].equipment] == [500, 50]
        assert await jobs.take(other, at_once=2, heartbeat=60) is None  # the limit
        assert await jobs.beat(other, [first.id, second.id]) == {second.id}
        await jobs.give_back(first)
        again = await jobs.take(other, at_once=2, heartbeat=60)
        assert again is not None
        assert again.id == first.id
        await connection.execute("UPDATE bulkmig.pgqueuer SET heartbeat = now() - interval '9 s'")
        stale = await jobs.take(me, at_once=2, heartbeat=5)
        assert stale is not None
        assert stale.id == first.id
        await jobs.done(stale)
        assert (await jobs.standing()).queued == 1
        await jobs.clear()
        assert await connection.fetchval("SELECT count(*) FROM bulkmig.pgqueuer_log") == 0
    finally:
        await connection.close()


async def test_an_outcome_comes_back_as_it_was_stored(maintenance_url: str) -> None:
    """The first one of a job counts; what was heard is not heard again, but by a new submitter."""
    connection = await connect(dsn.parse(maintenance_url), TARGET, role="target")
    try:
        await schema.upgrade(connection)
        run_id, tally = str(uuid4()), Report("worker")
        tally.stats["total_equipment"] += 7
        tally.phases["load"] += 0.5
        result = Loaded(vessel(1), "migrated", pending=2, seconds=1.5)
        result.inserted["equipment"] += 7
        result.findings["warning", "vessel.imo_missing"] += 1
        result.elsewhere.append(pl.DataFrame({"code": ["x"]}))
        await outcome.store(connection, run_id, 5, outcome.pack("1:2:", [result], tally))
        await outcome.store(connection, run_id, 5, outcome.pack("other", [], tally))
        ((job, found),) = await outcome.unheard(connection, run_id)
        assert (job, found.seen) == (5, "1:2:")
        (back,) = found.results()
        assert [frame.rows() for frame in back.elsewhere] == [[("x",)]]
        back.elsewhere = result.elsewhere
        assert back == result
        report = Report("migrate")
        found.add_to(report)
        assert (report.stats, report.phases["load"]) == (tally.stats, 0.5)
        await outcome.heard(connection, run_id, [5])
        assert await outcome.unheard(connection, run_id) == []
        assert await outcome.recall(connection, run_id) == {5}
        assert len(await outcome.unheard(connection, run_id)) == 1
    finally:
        await connection.close()


async def test_workers_draw_on_one_rate(maintenance_url: str) -> None:
    """However many ask, what they get together is what one may have."""
    connection = await connect(dsn.parse(maintenance_url), TARGET, role="target")
    try:
        await schema.upgrade(connection)
        run_id = str(uuid4())
        await connection.execute(
            "INSERT INTO bulkmig.queue_rates VALUES ($1::text::uuid, clock_timestamp())", run_id
        )
        lock = anyio.Lock()

        async def drawing(seconds: float) -> float:
            async with lock:
                return await draw(connection, run_id, seconds)

        started = time.perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(throttle, Rate(drawing, 1000, None), 250)
        # The last of them may begin when the three before it are paid for.
        assert time.perf_counter() - started >= 0.7
    finally:
        await connection.close()


async def test_a_snapshot_is_joined_or_a_later_one_of_the_same_source_taken(
    onboarding_url: str, maintenance_url: str
) -> None:
    """One that has the name and sees something else is not the run's; another source is refused, and so is a
    replica that is behind."""
    address, patience = dsn.parse(onboarding_url), Patience(attempts=1, outage=0.0)
    holder = await connect(address, SOURCE, role="source")
    try:
        name, _ = await hold(holder)
        seen = await holder.fetchval("SELECT pg_current_snapshot()::text")
        at = await view.place(holder)
        joined = await view.shared(address, patience, name, seen)
        assert (joined.snapshot, joined.holder) == (name, None)
        with pytest.raises(SnapshotGone, match="another server"):
            await view.shared(address, patience, name, "1:1:")
        writer = await asyncpg.connect(onboarding_url)
        await writer.execute("CREATE TABLE later (n int)")
        await writer.close()
        await holder.close()
        with pytest.raises(SnapshotGone):
            await view.shared(address, patience, name, seen)
        later = await view.own(address, patience, at, wait=0.0)
        assert later.seen != seen
        assert later.holder is not None
        assert await later.holder.fetchval("SELECT to_regclass('later') IS NOT NULL")
        await later.close()
        with pytest.raises(PreflightError, match="not the one"):
            await view.own(dsn.parse(maintenance_url), patience, at, wait=0.0)
        with pytest.raises(PreflightError, match="behind"):
            await view.own(address, patience, view.Place(at.source, "FFFF/0"), wait=0.0)
    finally:
        await holder.close()
