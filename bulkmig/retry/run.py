"""`bulkmig quarantine retry`: looks again at quarantined rows and loads those that are in order now.

Vessels that were quarantined whole or failed are migrated as ever. In vessels that are in the target only
rows that were quarantined are added (and documents go back to equipment that left quarantine); whatever
else changed in the source is for `sync`.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import asyncpg
import msgspec

from bulkmig._core.stop import Stop
from bulkmig._core.stored import document
from bulkmig.config import Settings, check
from bulkmig.ends import Ends
from bulkmig.errors import UsageError
from bulkmig.events import Listener, RunStarted, silent
from bulkmig.fleet.companies import write_companies
from bulkmig.fleet.ending import to_its_end
from bulkmig.fleet.run import Run
from bulkmig.fleet.vessels import load_vessels
from bulkmig.fleet.waiting import finish_waiting
from bulkmig.ledger import access
from bulkmig.ledger.read import values
from bulkmig.migrate_units import add, new_unit
from bulkmig.pipeline import Tally, run
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import CommitUnknown, transaction
from bulkmig.preflight import both, ready
from bulkmig.report import Report
from bulkmig.retry.returning import Returning
from bulkmig.selection import Selection, Vessel, resolve
from bulkmig.source.onboarding import SnapshotGone
from bulkmig.target import state as target_state
from bulkmig.vessel_load import Loaded
from bulkmig.workers import Lane, Queue, Work, run_units

_ENTRIES = """
SELECT entity, source_id::text, vessel_id::text, run_id::text, row FROM bulkmig.quarantine
 WHERE cardinality($1::text[]) = 0 OR vessel_id::text = ANY ($1::text[])
"""


async def retry(
    settings: Settings,
    vessels: Sequence[str] = (),
    *,
    listen: Listener = silent,
    stop: Stop | None = None,
) -> Report:
    """Looks again at the quarantined rows of these vessels, or of all. Raises as `migrate` does."""
    vessels = [_uuid(vessel) for vessel in vessels]
    # Rows that are quarantined already fail no vessel.
    settings = msgspec.structs.replace(
        check(settings), on_error="quarantine", continue_on_error=True, dry_run=False
    )
    report = Report("quarantine retry", str(uuid4()), memory_bound=settings.memory)
    async with both(settings, writing=True, listen=listen) as ends:
        selected, companies = await _concerned(ends, vessels)
        await access.check(
            ends.target,
            settings.operator,
            "migrate_vessel",
            f"quarantine retry {' '.join(vessels) or '--all'}",
            [(vessel.id, vessel.company_id) for vessel in selected] if vessels else None,
        )
        await ready(ends, settings)
        state = await target_state.read(ends.target)
        migrated = [v for v in selected if v.id in state.marks and state.marks[v.id].state == "migrated"]
        others = [v for v in selected if v not in migrated and v.id in state.marks]
        report.selected = len(migrated) + len(others)
        listen(RunStarted(report.command, report.run_id, len(selected), 0))
        steps = Run(settings, ends, state, report, listen, stop or Stop())
        await steps.begin(" ".join(vessels) or "--all")
        async with to_its_end(steps):
            await write_companies(steps, migrated + others, everything=not vessels, companies=companies)
            await load_vessels(steps, others)
            queue = Queue([[vessel] for vessel in migrated])
            await run_units(steps.site, queue, settings.loaders, _work(steps, queue, report))
            if queue.renew:
                raise SnapshotGone("the source's snapshot is lost", "run the same command again")
            await finish_waiting(steps)
    return report


def _uuid(vessel: str) -> str:
    try:
        return str(UUID(vessel))
    except ValueError:
        raise UsageError(f"{vessel!r} is no vessel id (UUID)", "see `bulkmig quarantine list`") from None


async def _concerned(ends: Ends, vessels: Sequence[str]) -> tuple[list[Vessel], set[str]]:
    """The vessels with quarantined rows that the source still has, and the companies of quarantined users.
    Raises UsageError where one that was named is neither in quarantine nor in the source."""
    entries = await ends.target.fetch(_ENTRIES, list(vessels)) if ends.ledger else ()
    wanted = {row["vessel_id"] for row in entries if row["vessel_id"]}
    unlisted = sorted(set(vessels) - wanted)
    there = await ends.holder.fetch(
        "SELECT id::text FROM vessels WHERE id::text = ANY ($1::text[])", unlisted
    )
    if missing := sorted(set(unlisted) - {row[0] for row in there}):
        raise UsageError(f"the source has no vessel {', '.join(missing)}", "see `bulkmig quarantine list`")
    companies = {
        str(document(values(ends.target, row), "a quarantined row").get("company_id"))
        for row in entries
        if row["entity"] == "user"
    }
    companies |= {row["source_id"] for row in entries if row["entity"] == "company"}
    parts = [row["source_id"] for row in entries if row["entity"] == "critical_part" and not row["vessel_id"]]
    found = await ends.holder.fetch(
        "SELECT id::text FROM vessels WHERE id::text = ANY ($1::text[]) UNION"
        " SELECT e.vessel_id::text FROM critical_parts p JOIN equipment e ON e.id = p.equipment_id"
        " WHERE p.id = ANY ($2::text[]::uuid[])",
        list(wanted),
        parts,
    )
    ids = tuple(row[0] for row in found)
    if not ids:
        return [], companies
    return await resolve(ends.holder, Selection(vessels=ids, allow_unapproved=True)), companies


def _work(steps: Run, queue: Queue, report: Report) -> Work:
    async def one(lane: Lane, vessels: list[Vessel]) -> None:
        async def attempt(number: int) -> tuple[Loaded, Tally]:
            unit = new_unit(steps.fleet.decisions, vessels, {})
            try:
                again = Returning(await lane.target(), unit, vessels[0], steps.options())
                async with transaction(again.connection):
                    await again.begin()
                    tally = await run(await lane.line(), unit, again)
                return again.result, tally
            except Exception:
                await lane.close()
                raise

        try:
            result, tally = await lane.site.patience.work(f"vessel {vessels[0].id}", attempt)
            add(report, tally)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, CommitUnknown) as error:
            result = Loaded(vessels[0], "failed", error=describe(error))
        steps.counted.finished([result], queue)

    return one
