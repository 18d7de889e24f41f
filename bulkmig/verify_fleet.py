"""Verification of a fleet: its vessels, in this process or several, and what belongs to no vessel."""

from __future__ import annotations

import time
from collections.abc import Sequence

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig._core.unit import Unit
from bulkmig.decide.fleet import Fleet
from bulkmig.entities import entity
from bulkmig.ledger import base
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.processes import Job, Share, spread
from bulkmig.report import Report
from bulkmig.selection import Vessel
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.sqlite.examine import broken
from bulkmig.sqlite.session import on_file
from bulkmig.unseen import unseen
from bulkmig.verified import Deviation, Verified
from bulkmig.verify import Verifier
from bulkmig.verify_units import Comparison, verify_vessels
from bulkmig.weigh import Unseen, Weigher

COMPANIES = "companies and users"  # among the vessels that a verification has behind it
_ROLLED_BACK = "SELECT EXISTS (SELECT 1 FROM bulkmig.runs WHERE command = 'rollback')"


async def verify_fleet(comparison: Comparison, vessels: Sequence[Vessel]) -> None:
    """Compares these vessels, their companies and users. Raises SnapshotGone where those that are missing
    need a new snapshot."""
    started = time.perf_counter()
    report, behind = comparison.report, comparison.behind
    if COMPANIES not in behind:
        await _verify_shared(comparison)
        behind.add(COMPANIES)
    vessels = [vessel for vessel in vessels if vessel.id not in behind]
    if comparison.settings.processes > 1:
        renew = await _spread(comparison, vessels)
    else:
        renew = await verify_vessels(comparison, vessels)
    await _whole(comparison.ends.target, report)
    report.phases["verify"] += time.perf_counter() - started
    if renew:
        raise SnapshotGone("the source's snapshot is gone", "run `bulkmig verify` again")


async def _spread(comparison: Comparison, vessels: Sequence[Vessel]) -> bool:
    """Compares vessels in several processes; as verify_vessels."""
    report, renew = comparison.report, False
    run_id = report.run_id if report.command == "verify" else ""
    job = Job(
        "verify",
        comparison.settings,
        comparison.ends.snapshot,
        run_id,
        same_snapshot=comparison.same_snapshot,
        imo_taken=frozenset(comparison.fleet.decisions.imo_taken),
    )

    def collect(share: Share) -> None:
        nonlocal renew
        share.report.phases.clear()
        if report.command != "verify":
            share.report.done = 0  # done already: it was migrated
        report.merge(share.report)
        comparison.behind.update(share.behind)
        renew |= share.renew

    await spread(job, vessels, collect, comparison.listen)
    return renew


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


async def _verify_shared(comparison: Comparison) -> None:
    # A run leaves those that were there to sync: what changed of them in the source since is no difference.
    ends, fleet = comparison.ends, comparison.fleet
    due = _or_due(await unseen(ends.holder, ends.target), fleet, ends.target)
    for there in (False, True):
        weigher = Weigher(ends.target, (), comparison.same_snapshot and not there, due)
        verifier = Verifier(ends.target, Unit(fleet.decisions, ()), weigher)
        for outcome in fleet.shared:
            present = pl.col("source_id").is_in(list(fleet.present.get(outcome.entity.name, ())))
            await verifier.compare(outcome.entity, outcome.image.filter(present if there else ~present))
        comparison.report.verified.add(verifier.result)
    if gone := await _gone(ends.target, fleet):
        weigher = Weigher(ends.target, (), same_snapshot=False, unseen=due)
        comparison.report.verified.add(await weigher.gone(entity("user"), gone))


async def _gone(target: Connection, fleet: Fleet) -> list[str]:
    """Target ids of users of these companies whom the source has no more."""
    gone = fleet.present.get("user", frozenset()) - fleet.deleted["user"] - fleet.there["user"]
    written = await base.among(target, [NIL], "user", gone) if gone else None
    if written is None:
        return []
    companies = fleet.shared[0].image["@id"]
    return written.filter(pl.col("users.company_id").is_in(companies.implode()))["users.id"].to_list()


def _or_due(newer: Unseen, fleet: Fleet, target: Connection) -> Unseen:
    """Companies and users that bulkmig wrote and a rollback has taken back come with the next run, like rows
    that are new in the source. So do those that it would take over and, by the ledger, has not, and companies
    that it never wrote, with their users: a vessel has moved to them since."""
    written = list(fleet.former.get("company", frozenset()) | fleet.present.get("company", frozenset()))
    strangers = {
        outcome.entity.name: set(outcome.raw.filter(~pl.col(outcome.entity.owner).is_in(written))["id"])
        for outcome in fleet.shared
    }

    async def due(kind: Entity, source_ids: list[str], vessel: str | None, /) -> set[str]:
        of = kind.name
        former = fleet.former.get(of, frozenset())
        known = former | fleet.present.get(of, frozenset())
        adoptable = {source_id for name, source_id in fleet.decisions.adopted if name == of}
        found = set(former - fleet.deleted[of]) | (adoptable - known)
        found.intersection_update(source_ids)
        if found and not await target.fetchval(_ROLLED_BACK):
            found = set()
        found |= strangers[of].intersection(source_ids)
        return found | await newer(kind, source_ids, vessel)

    return due
