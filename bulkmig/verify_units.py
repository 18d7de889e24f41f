"""Verification of many vessels: workers, companies and users, and what an interrupted one had behind it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import anyio
import asyncpg
import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.ids import prefix
from bulkmig._core.unit import Decisions, Unit
from bulkmig.config import Settings
from bulkmig.decide.fleet import Fleet
from bulkmig.ends import Ends
from bulkmig.events import Listener, VesselReached, VesselVerified
from bulkmig.pipeline import Tally, run
from bulkmig.postgres.session import Connection
from bulkmig.postgres.transient import transient
from bulkmig.processes import Job, Share, spread
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.source.queries import uuid_array
from bulkmig.sqlite.examine import broken
from bulkmig.sqlite.session import on_file
from bulkmig.units import cut
from bulkmig.verify import Verifier
from bulkmig.weigh import Deviation, Unseen, Verified, Weigher
from bulkmig.workers import Lane, Queue, Site, run_units

COMPANIES = "companies and users"  # among the vessels that a verification has behind it


async def verify_fleet(
    site: Site,
    settings: Settings,
    ends: Ends,
    fleet: Fleet,
    vessels: Sequence[Vessel],
    report: Report,
    *,
    same_snapshot: bool,
    listen: Listener,
    behind: set[str],
) -> None:
    """Adds to the report what comparing these vessels, their companies and users finds. `behind`: what an
    earlier call that broke off has compared already, and what this one does. Raises SnapshotGone where the
    others need a new snapshot."""
    started = time.perf_counter()
    unseen = newer_than(ends.holder, await _snapshots(ends.target))
    if COMPANIES not in behind:
        await _verify_shared(ends, fleet, report, unseen, same_snapshot=same_snapshot)
        behind.add(COMPANIES)
    vessels = [vessel for vessel in vessels if vessel.id not in behind]
    renew = False
    if settings.processes > 1:
        run_id = report.run_id if report.command == "verify" else ""
        job = Job("verify", settings, ends.snapshot, run_id, same_snapshot=same_snapshot)

        def collect(share: Share) -> None:
            nonlocal renew
            share.report.phases.clear()
            if report.command != "verify":
                share.report.done = 0  # done already: it was migrated
            report.merge(share.report)
            behind.update(share.behind)
            renew |= share.renew

        await spread(job, vessels, collect, listen)
    else:
        renew = await verify_vessels(
            site,
            settings,
            ends,
            fleet,
            vessels,
            report,
            same_snapshot=same_snapshot,
            listen=listen,
            behind=behind,
        )
    await _whole(ends.target, report)
    report.phases["verify"] += time.perf_counter() - started
    if renew:
        raise SnapshotGone("the source's snapshot is gone", "run `bulkmig verify` again")


async def _whole(target: Connection, report: Report) -> None:
    """The checks that a SQLite file has of its own: its pages and indexes, and every reference in it. One
    that the portal's own rows break is a warning."""
    file = on_file(target)
    if file is None:
        return
    damage, lost = await broken(file)
    mine = await file.work(lambda: file.ids.from_source((table, number) for table, number, *_ in lost))
    ours = [one for one in lost if one[:2] in mine]
    listed = [Deviation("sqlite", "", "", "ok", text) for text in damage]
    listed += [
        Deviation(table, str(number), column, f"a row of {parent}", "no row")
        for table, number, column, parent in ours
    ]
    report.verified.add(
        Verified(
            checks=2,
            failed=bool(damage) + bool(ours),
            warnings=int(bool(lost) and not ours),
            differences=listed,
            difference_count=len(listed),
        )
    )


async def verify_vessels(
    site: Site,
    settings: Settings,
    ends: Ends,
    fleet: Fleet,
    vessels: Sequence[Vessel],
    report: Report,
    *,
    same_snapshot: bool,
    listen: Listener,
    behind: set[str],
) -> bool:
    """Adds to the report what comparing these vessels finds, in this process, and to `behind` their ids.
    Returns whether those that are missing need a new snapshot."""
    unseen = newer_than(ends.holder, await _snapshots(ends.target))

    async def one(lane: Lane, members: list[Vessel]) -> None:
        async def attempt(number: int) -> tuple[Verified, Tally]:
            for vessel in members:
                listen(VesselReached(vessel.id, vessel.name, "verify"))
            try:
                result, tally = await compare(lane, members)
                if report.command == "verify" and report.run_id:
                    await remember(await lane.target(), report.run_id, members, result)
                return result, tally
            except Exception:
                await lane.close()
                raise

        what = f"the verification of {members[0].id}" + (" and others" if len(members) > 1 else "")
        result, tally = await lane.site.patience.work(what, attempt)
        if settings.rollback_on_error and same_snapshot:
            differing = by_vessel(members, fleet.decisions, result)
            if differing is None:
                queue.split(members)
                return
            report.differing |= differing
        report.verified.add(result)
        behind.update(vessel.id for vessel in members)
        for vessel in members:
            listen(VesselVerified(vessel.id, vessel.name, result.difference_count))
        if report.command == "verify":
            report.done += len(members)
            for phase, seconds in tally.seconds.items():
                report.phases[phase] += seconds

    async def compare(lane: Lane, members: list[Vessel]) -> tuple[Verified, Tally]:
        unit = Unit(fleet.decisions, tuple(vessel.id for vessel in members))
        for vessel in members:
            if vessel.company_id in fleet.decisions.companies_out:
                unit.whole[vessel.id] = fleet.decisions.companies_out[vessel.company_id]
        target = await lane.target()
        weigher = Weigher(target, unit.vessels, same_snapshot, unseen, settings.reveal)
        verifier = Verifier(target, unit, weigher)
        tally = await run(await lane.line(), unit, verifier)
        result = verifier.result
        if verifier.surplus:
            again = Unit(fleet.decisions, unit.vessels)
            second = Verifier(target, again, weigher, collect=verifier.surplus)
            await run(await lane.line(), again, second)
            result.add(second.result)
        return result, tally

    queue = Queue(cut(vessels, site.batch_bytes))
    if vessels:
        await run_units(site, queue, settings.parallel_vessels, one)
    report.peak_in_flight = max(report.peak_in_flight, site.memory.peak)
    return queue.renew


def by_vessel(
    members: Sequence[Vessel], decisions: Decisions, result: Verified
) -> dict[str, Deviation] | None:
    """Each vessel that differs, with its first difference; None where the list doesn't tell."""
    if len(members) == 1:
        return {members[0].id: result.differences[0]} if result.differences else {}
    if len(result.differences) < result.difference_count:
        return None
    # A row's id begins like its vessel's; a vessel that was taken over has an id of the portal's.
    target_ids = dict(decisions.identity("vessel").iter_rows())
    known = {prefix(vessel.id): vessel.id for vessel in members}
    known |= {target_ids[vessel.id]: vessel.id for vessel in members if vessel.id in target_ids}
    length = len(prefix(members[0].id))
    found: dict[str, Deviation] = {}
    for one in result.differences:
        vessel = known.get(one.id) or known.get(one.id[:length])
        if vessel is None:
            return None
        found.setdefault(vessel, one)
    return found


_ROLLED_BACK = "SELECT EXISTS (SELECT 1 FROM bulkmig.runs WHERE command = 'rollback')"


async def _verify_shared(
    ends: Ends, fleet: Fleet, report: Report, unseen: Unseen, *, same_snapshot: bool
) -> None:
    # A run leaves those that were there to sync: what changed of them in the source since is no difference.
    due = _or_due(unseen, fleet, ends.target)
    for there in (False, True):
        weigher = Weigher(ends.target, (), same_snapshot and not there, due)
        verifier = Verifier(ends.target, Unit(fleet.decisions, ()), weigher)
        for outcome in fleet.shared:
            present = pl.col("source_id").is_in(list(fleet.present.get(outcome.entity.name, ())))
            await verifier.compare(outcome.entity, outcome.image.filter(present if there else ~present))
        report.verified.add(verifier.result)


def _or_due(unseen: Unseen, fleet: Fleet, target: Connection) -> Unseen:
    """Companies and users that bulkmig wrote and a rollback has taken back come with the next run, like rows
    that are new in the source. So do those that it would take over and, by the ledger, has not."""

    async def due(entity: Entity, source_ids: list[str], vessel: str | None, /) -> set[str]:
        of = entity.name
        former = fleet.former.get(of, frozenset())
        known = former | fleet.present.get(of, frozenset())
        adoptable = {source_id for name, source_id in fleet.decisions.adopted if name == of}
        found = set(former - fleet.deleted[of]) | (adoptable - known)
        found.intersection_update(source_ids)
        if found and not await target.fetchval(_ROLLED_BACK):
            found = set()
        return found | await unseen(entity, source_ids, vessel)

    return due


async def _snapshots(target: Connection) -> dict[str | None, str]:
    """What was seen of the source when each vessel was read, and under None by the first run."""
    rows = await target.fetch(
        "SELECT v.vessel_id::text, coalesce(v.source_snapshot, r.source_snapshot) FROM bulkmig.vessels v"
        " JOIN bulkmig.runs r ON r.id = v.run_id"
        " WHERE coalesce(v.source_snapshot, r.source_snapshot) IS NOT NULL"
    )
    first = await target.fetchval(
        "SELECT source_snapshot FROM bulkmig.runs WHERE source_snapshot IS NOT NULL"
        " ORDER BY started_at LIMIT 1"
    )
    return {**{row[0]: row[1] for row in rows}, None: first}


def newer_than(source: Connection, snapshots: Mapping[str | None, str]) -> Unseen:
    """Asks the source for rows whose last change a vessel's snapshot doesn't see, their own or their
    parent's."""

    session = anyio.Lock()  # one session serves all workers

    async def unseen(entity: Entity, source_ids: list[str], vessel: str | None, /) -> set[str]:
        snapshot = snapshots.get(vessel) or snapshots.get(None)
        if snapshot is None:
            return set()
        # A row changes its vessel with the one through which it belongs to it.
        changed, parent = "t.xmin::text::bigint", ""
        if entity.through is not None:
            table, column = entity.through
            changed += ", p.xmin::text::bigint"
            parent = f" JOIN {table} p ON p.id = t.{column}"
        # xmin has 32 bits; the epoch comes from the current transaction, one less for ids ahead of it.
        query = (
            f"SELECT DISTINCT id::text FROM (SELECT t.id, unnest(ARRAY[{changed}]) AS x,"
            " pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS now"
            f" FROM {entity.source} t{parent} WHERE t.id = ANY ({uuid_array(source_ids)})) t"
            " WHERE NOT pg_visible_in_snapshot((CASE WHEN x > now & 4294967295"
            " THEN ((now >> 32) - 1) << 32 | x ELSE (now >> 32) << 32 | x END)::text::xid8,"
            " $1::text::pg_snapshot)"
        )
        async with session:
            try:
                rows = await source.fetch(query, snapshot)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not transient(error):
                    raise
                raise SnapshotGone("the session that holds the source's snapshot is lost") from None
        return {row["id"] for row in rows}

    return unseen


async def remember(target: Connection, run_id: str, vessels: Sequence[Vessel], result: Verified) -> None:
    """Records that these vessels are behind this verification, so that it can be resumed."""
    await target.executemany(
        "INSERT INTO bulkmig.verified (run_id, vessel_id, result) VALUES ($1::text::uuid, $2::text::uuid, $3)"
        " ON CONFLICT DO NOTHING",
        [(run_id, vessel.id, str(result.difference_count)) for vessel in vessels],
    )
