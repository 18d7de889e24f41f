"""What tests of checkpoints share: a target's state, and changes made by hand."""

from __future__ import annotations

import hashlib
from typing import Any

import asyncpg

from bulkmig import Report, Settings, rollback
from bulkmig.generate import FleetSpec
from tests.support.dumps import apart, dump
from tests.support.fleets import Fleets, Origin

# Equipment of a vessel ($1, its source id), as `e`.
EQUIPMENT_OF = (
    "FROM equipment e JOIN bulkmig.identities i ON i.target_id = e.vessel_id"
    " WHERE i.source_id = $1::text::uuid"
)

# What of the ledger goes back with the rows. Assigned ids, slugs and codes stay, and so does what happened.
# The base of companies is written anew where only some of them go back.
LEDGER = {
    "vessels": "SELECT vessel_id, state, run_id, phase, rows FROM bulkmig.vessels",
    "quarantine": "SELECT * FROM bulkmig.quarantine",
    "pending": "SELECT entity, source_id, vessel_id FROM bulkmig.pending",
    "base": "SELECT id, vessel_id, entity, run_id, payload FROM bulkmig.base"
    " WHERE holds AND vessel_id <> '00000000-0000-0000-0000-000000000000'",
    "conflicts": "SELECT * FROM bulkmig.conflicts",
    "retained": "SELECT * FROM bulkmig.retained",
    "seen": "SELECT * FROM bulkmig.seen",
    "adopted": "SELECT entity, source_id, target_id FROM bulkmig.identities WHERE adopted",
}


def settings(origin: Origin, target: str, **others: Any) -> Settings:
    return Settings(source=origin.url, target=target, on_error="quarantine", continue_on_error=True, **others)


async def migrated(
    fleets: Fleets, spec: FleetSpec, target: str, *, fresh: bool = False, **others: Any
) -> tuple[Origin, Settings, Report]:
    """A fleet, all of it migrated; `fresh`: the test may change it."""
    origin = await (fleets.changing(spec) if fresh else fleets(spec))
    config = settings(origin, target, **others)
    return origin, config, await fleets.migrate(origin, config)


async def state(url: str) -> dict[str, bytes]:
    """The portal's tables and what of the ledger goes back with them."""
    found = await dump(url, schema="public")
    connection = await asyncpg.connect(url)
    try:
        if await connection.fetchval("SELECT to_regclass('bulkmig.vessels')"):
            for name, query in LEDGER.items():
                rows = await connection.fetch(query)
                found[f"bulkmig.{name}"] = "\n".join(sorted(repr(tuple(row)) for row in rows)).encode()
    finally:
        await connection.close()
    return found


async def execute(url: str, query: str, *values: object) -> str:
    connection = await asyncpg.connect(url)
    try:
        return await connection.execute(query, *values)
    finally:
        await connection.close()


async def fetchval(url: str, query: str, *values: object) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *values)
    finally:
        await connection.close()


async def flip(url: str, where: str, *, at: int, forged: bool = False) -> None:
    """Changes a byte of parts of checkpoints; `forged`: their digests with them."""
    parts = await table(
        url, f"SELECT checkpoint_id::text, part, payload FROM bulkmig.checkpoint_parts {where}"
    )
    for checkpoint, part, payload in parts:
        changed = bytes(b ^ 1 if place == at else b for place, b in enumerate(payload))
        digest = hashlib.sha256(changed).digest()
        await execute(
            url,
            f"UPDATE bulkmig.checkpoint_parts SET payload = $1{', digest = $4' if forged else ''}"
            " WHERE checkpoint_id = $2::text::uuid AND part = $3",
            *([changed, checkpoint, part, digest] if forged else [changed, checkpoint, part]),
        )


async def undone(
    config: Settings, report: Report | None = None, *, vessel: str = "", checkpoint: str = ""
) -> Report:
    """Rolls back, and sees that it was done."""
    run = report.run_id if report is not None else ""
    done = await rollback(config, run=run, vessel=vessel, checkpoint=checkpoint)
    assert (done.status, done.failures, done.refused) == ("completed", [], []), done.failures
    return done


async def refused(config: Settings, **which: Any) -> Report:
    """Rolls back, and sees that it was refused and that nothing changed."""
    before = await state(config.target)
    report = await rollback(config, **which)
    assert (report.exit_status, report.done) == (1, 0)
    assert apart(before, await state(config.target)) == []
    return report


async def a_vessel_with_equipment(target: str) -> str:
    """The source id of a vessel that is in the target with some equipment."""
    found: str = await fetchval(
        target,
        "SELECT i.source_id::text FROM equipment e JOIN bulkmig.identities i ON i.target_id = e.vessel_id"
        " GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1",
    )
    return found


async def table(url: str, query: str, *values: object) -> list[Any]:
    """All rows."""
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(query, *values))
    finally:
        await connection.close()


async def rows(url: str, query: str, *values: object) -> list[Any]:
    """The first column."""
    return [row[0] for row in await table(url, query, *values)]
