"""`bulkmig conflicts resolve`: a person decides what a manual strategy left open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID, uuid4

import anyio
import asyncpg
from asyncpg import Record

from bulkmig import shown
from bulkmig._core.declare import Entity
from bulkmig._core.unit import Catalogue
from bulkmig._version import __version__
from bulkmig.checkpoint.take import Checkpoints
from bulkmig.config import Settings
from bulkmig.entities import entity
from bulkmig.errors import UsageError, VesselError
from bulkmig.ledger import access, audit, base, runs
from bulkmig.ledger.locks import lock_key
from bulkmig.ledger.write import NIL
from bulkmig.postgres.errors import describe
from bulkmig.postgres.session import Connection, transaction
from bulkmig.preflight import target_only
from bulkmig.report import Failure, Report
from bulkmig.security import keys
from bulkmig.sync import conflicts
from bulkmig.sync.apply import apply
from bulkmig.sync.decide import Conflict
from bulkmig.sync.parts import Plan
from bulkmig.sync.row import Row, cells_of, equal, field_names, make, placing
from bulkmig.sync.shared import spare
from bulkmig.sync.standing import standing
from bulkmig.sync.step import Applied, Means, Step
from bulkmig.sync.strategies import STRATEGIES
from bulkmig.sync.unwritable import refuse
from bulkmig.target.postgres import catalogue

COMMAND = "conflicts resolve"
Side = Literal["source", "target", "merge"]
_WINS = {"source": "source_wins", "target": "target_wins", "merge": "merge"}
_OPEN = """
SELECT id::text, vessel_id::text AS vessel_id, entity, source_id::text, target_id::text, kind, fields
  FROM bulkmig.conflicts WHERE status = 'open' AND id::text = ANY ($1::text[]) ORDER BY id FOR UPDATE
"""
# Decided in the same way already: what an interrupted command left to its repetition.
_DECIDED = """
SELECT id::text FROM bulkmig.conflicts
 WHERE status = 'resolved' AND strategy = $2 AND id::text = ANY ($1::text[])
"""
_RESOLVED = """
UPDATE bulkmig.conflicts
   SET status = 'resolved', resolved_at = clock_timestamp(), run_id = $2::text::uuid, strategy = $3,
       fields = $4
 WHERE id = $1::text::uuid
"""


async def listed(
    settings: Settings, status: Literal["open", "resolved"] | None = None
) -> list[dict[str, Any]]:
    """The conflicts of the ledger, as cli.md's document lists them. Raises UsageError for another status."""
    if status not in (None, "open", "resolved"):
        raise UsageError(f"{status!r} is no status of a conflict", "open, resolved or None, which is both")
    async with target_only(settings, unsealed=True) as target:
        listed = await conflicts.listed(target, status=status, reveal=settings.reveal)
        return await shown.in_conflicts(target, listed)


async def resolve(
    settings: Settings,
    ids: Sequence[str],
    *,
    take: Side | None = None,
    fields: Mapping[str, Literal["source", "target"]] | None = None,
) -> Report:
    """Decides open conflicts: every field as `take` says, single ones as `fields` does. What was decided in
    the same way before is skipped, so that the command can be repeated. Raises UsageError for what is no open
    conflict, no field of it or no side."""
    _check_sides(take, fields or {})
    keys.required(settings)
    ids = _canonical(ids)
    report = Report(COMMAND, str(uuid4()), selected=len(ids), memory_bound=settings.memory)
    async with target_only(settings, unsealed=True, writing=True) as target:
        types = await catalogue(target, writing=True)
        own = Checkpoints(report.run_id)
        who = audit.who(settings.operator)
        rows, report.skipped = await _open_ones(target, ids, take, fields or {})
        where = await access.places(target, {row["vessel_id"] for row in rows})
        await access.check(target, settings.operator, "resolve_conflicts", COMMAND, where)
        await runs.begin(
            target,
            report.run_id,
            report.command,
            operator=settings.operator,
            selection=" ".join(ids),
            version=__version__,
        )
        by_vessel: defaultdict[str | None, list[str]] = defaultdict(list)
        for row in rows:
            by_vessel[row["vessel_id"]].append(row["id"])
        try:
            for vessel, of_vessel in by_vessel.items():
                try:
                    done = await _resolve(target, own, types, vessel, of_vessel, take, fields or {}, who)
                except VesselError as error:
                    said = await shown.in_text(target, str(error))
                    report.failures.append(Failure(vessel or "", "", None, error.phase, said))
                    continue
                except asyncpg.IntegrityConstraintViolationError as error:
                    # The portal has changed it since it was looked at, or has a rule of its own.
                    report.failures.append(Failure(vessel or "", "", None, "load", describe(error)))
                    continue
                done.count_into(report)
                report.conflicts.update({_WINS[take or "merge"]: len(of_vessel)})
                report.done += len(of_vessel)
        except BaseException as error:
            stopped = isinstance(error, anyio.get_cancelled_exc_class())
            report.status = "stopped" if stopped else "failed"
            raise
        finally:
            report.finish()
            with anyio.move_on_after(10, shield=True):
                report.conflicts["open"] = await runs.open_conflicts(target)
                await runs.end(target, report.run_id, report.status, report.document())
    return report


async def _open_ones(
    target: Connection,
    ids: Sequence[str],
    take: Side | None,
    fields: Mapping[str, Literal["source", "target"]],
) -> tuple[list[Record], int]:
    """The conflicts that are to be decided, and how many were decided in the same way before."""
    rows = await target.fetch(_OPEN.replace(" FOR UPDATE", ""), ids)
    wins = _WINS[take] if take and not fields else "manual"
    decided = {row["id"] for row in await target.fetch(_DECIDED, ids, wins)}
    if missing := set(ids) - {row["id"] for row in rows} - decided:
        raise _not_open(sorted(missing))
    for row in rows:
        _check_fields(entity(row["entity"]), row["kind"], fields)
    return rows, len(decided)


def _check_sides(take: str | None, fields: Mapping[str, str]) -> None:
    if take is None and not fields:
        raise UsageError("nothing is decided", "say --take source, target or merge, or --field NAME=source")
    wrong = ({take} - {None, *_WINS}) | (set(fields.values()) - {"source", "target"})
    if wrong:
        raise UsageError(f"{wrong.pop()!r} is no side", "source or target; for whole rows also merge")


def _canonical(ids: Sequence[str]) -> list[str]:
    try:
        return list(dict.fromkeys(str(UUID(id_)) for id_ in ids))
    except ValueError:
        raise _not_open(dict.fromkeys(ids)) from None


def _not_open(ids: Iterable[str]) -> UsageError:
    return UsageError(f"not open: {', '.join(ids)}", "see `bulkmig conflicts list`")


async def _resolve(
    target: Connection,
    own: Checkpoints,
    types: Catalogue,
    vessel: str | None,
    ids: Sequence[str],
    take: Side | None,
    fields: Mapping[str, Literal["source", "target"]],
    who: audit.Who,
) -> Applied:
    """One vessel's conflicts, or those of companies and users, in one transaction."""
    async with transaction(target):
        await target.execute("SELECT pg_advisory_xact_lock($1)", lock_key(vessel or NIL))
        made, sources = Plan(), {}
        strategy = _WINS[take] if take and not fields else "manual"
        decided: list[tuple[str, str, str, str]] = []
        for row in await target.fetch(_OPEN, ids):
            sources[row["target_id"]] = row["source_id"]
            said = await _decide(target, types, made, dict(row), take, fields)
            decided.append((row["id"], own.run_id, strategy, said))
        done = await _carry_out(target, own, types, vessel, made, sources)
        await target.executemany(_RESOLVED, decided)  # after the checkpoint, which has them open
        # What the source did meanwhile was left aside: the next sync looks at the vessel anew.
        await target.execute("DELETE FROM bulkmig.seen WHERE vessel_id = $1::text::uuid", vessel)
        summary = f"{len(ids)} conflicts"
        await audit.entry(target, who, "resolved", summary, run_id=own.run_id, vessel_id=vessel)
    return done


def _check_fields(of: Entity, kind: str, fields: Mapping[str, Literal["source", "target"]]) -> None:
    unknown = sorted(set(fields) - set(field_names(of).values()))
    if unknown:
        raise UsageError(f"{of.name} has no field {', '.join(unknown)}", "see `bulkmig conflicts show`")
    if fields and kind != "both_changed":
        raise UsageError("a row that is deleted on one side has no fields to choose", "say --take")


async def _decide(
    target: Connection,
    types: Catalogue,
    made: Plan,
    found: dict[str, Any],
    take: Side | None,
    fields: Mapping[str, Literal["source", "target"]],
) -> str:
    """Plans what becomes of a conflict's row; returns its fields as they are recorded with that."""
    of, source_id, id_ = entity(found["entity"]), found["source_id"], found["target_id"]
    part = made.parts[of.name]
    written = await base.among(target, [found["vessel_id"] or NIL], of.name, [source_id])
    known = make(of, written.row(0, named=True)) if written is not None and written.height else None
    was = (await standing(target, of, [id_], [known] if known is not None else [])).get(id_)
    said = conflicts.unseal(target, found["id"], found["vessel_id"], found["fields"])
    source = _source(of, found["kind"], said, known)
    result = _result(of, types, known, source, was, take, fields)
    part.was[id_] = was
    if known is not None:
        part.known[id_] = known
    if result is None and was is not None:
        part.delete[id_] = source_id
    elif result is not None and not equal(of, result, was):
        part.write[id_] = result
    if source is None:
        part.forget.add(source_id)
        if result is not None:
            part.retained[source_id] = (id_, "conflict")
    else:
        part.base[source_id] = source
        if id_ not in part.write:
            part.untouched.add(id_)
        if not equal(of, result, source) and result is not None:
            part.stands[source_id] = result
    decided = Conflict(found["kind"], known or source or was or _NOTHING, source, was, result, "", False)
    return conflicts.seal(target, found["id"], found["vessel_id"], conflicts.fields(of, decided))


_NOTHING = Row(frozenset(), {})


def _source(of: Entity, kind: str, said: dict[str, dict[str, str | None]], known: Row | None) -> Row | None:
    """The source's row as it was when the conflict was found: the base, with the fields that differ."""
    if kind == "deleted_in_source" or known is None:
        return None
    names = {field: cell for cell, field in field_names(of).items()}
    cells = {**known.cells, **{names[field]: sides["source"] for field, sides in said.items()}}
    tables = frozenset(
        table.name
        for table in of.tables
        if table.when is None or any(cells.get(f"{table.name}.{name}") is not None for name in table.cells)
    )
    return Row(tables, {cell: cells.get(cell) for cell, (t, _) in cells_of(of).items() if t.name in tables})


def _result(
    of: Entity,
    types: Catalogue,
    known: Row | None,
    source: Row | None,
    was: Row | None,
    take: Side | None,
    fields: Mapping[str, Literal["source", "target"]],
) -> Row | None:
    if source is None or was is None or known is None:
        if fields:
            raise UsageError("a row that is deleted on one side has no fields to choose", "say --take")
        return was if take == "target" else source
    kinds = {cell: types[t.name][cell.partition(".")[2]].type for cell, (t, _) in cells_of(of).items()}
    strategy = STRATEGIES[_WINS[take or "merge"]]
    result = strategy.both(of, kinds, known, source, was) or source
    names = {field: cell for cell, field in field_names(of).items()}
    chosen = {names[field]: (source if side == "source" else was) for field, side in fields.items()}
    whole = chosen.get(placing(of) or "", result)  # who says what it belongs to says in which tables it is
    cells = {**whole.cells, **result.cells, **{cell: side[cell] for cell, side in chosen.items()}}
    inside = {cell: cells.get(cell) for cell, (t, _) in cells_of(of).items() if t.name in whole.tables}
    return Row(whole.tables, inside)


async def _carry_out(
    target: Connection,
    own: Checkpoints,
    types: Catalogue,
    vessel: str | None,
    made: Plan,
    sources: dict[str, str],
) -> Applied:
    graph = await own.read_graph(target)
    target_id = NIL
    if vessel is None:
        roots = {
            row[cell]
            for name, cell in (("company", "companies.id"), ("user", "users.company_id"))
            for rows in (made.parts[name].write, made.parts[name].was)
            for row in rows.values()
            if row is not None
        }
        checkpoint = await own.of_companies(target, sorted(id_ for id_ in roots if id_))
        await spare(target, graph, made)
    else:
        target_id = await target.fetchval(
            "SELECT target_id::text FROM bulkmig.identities WHERE entity = 'vessel'"
            " AND source_id = $1::text::uuid",
            vessel,
        )
        checkpoint = await own.of_vessel(target, vessel, target_id)
    means = Means(target, types, graph, own.run_id, vessel or NIL, target_id, checkpoint)
    await refuse(means, made, sources)
    step = Step(means, made)
    await apply([step])
    return step.done
