"""`bulkmig lift`: a whole portal, its own rows and bulkmig's ledger included, into an empty one on
PostgreSQL.

both ends ▶ rows, table by table ▶ references ▶ ledger ▶ compare every cell ▶ commit

All of it is one transaction of the target, so a lift that was killed is just started again. The SQLite file
is only read; whoever would write it waits until the lift has ended.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from uuid import uuid4

import asyncpg
import orjson
import polars as pl
from msgspec import structs

from bulkmig._core.findings import FINDING
from bulkmig._core.stop import Stop
from bulkmig._core.unit import Catalogue
from bulkmig._version import __version__
from bulkmig.config import Settings
from bulkmig.entities import ENTITIES
from bulkmig.errors import PreflightError, UsageError
from bulkmig.ledger import access, audit, chain, schema, write
from bulkmig.ledger import keys as ledger_keys
from bulkmig.lift import aside, ledger
from bulkmig.lift.fit import Fit
from bulkmig.lift.refused import check
from bulkmig.lift.tables import Tables
from bulkmig.postgres.catalogue import read_catalogue
from bulkmig.postgres.session import DURABLE, Connection, session, transaction
from bulkmig.preflight import address
from bulkmig.report import Report
from bulkmig.security import keys
from bulkmig.sqlite.address import FileAddress, is_file, parse
from bulkmig.sqlite.contract import contract
from bulkmig.sqlite.session import Session, on_file
from bulkmig.sqlite.tables import names_of, quoted
from bulkmig.target import graph as target_graph
from bulkmig.target.graph import Graph
from bulkmig.target.postgres import catalogue

_RUN = """
INSERT INTO bulkmig.runs (id, command, status, operator, host, version, selection, finished_at, report)
VALUES ($1::text::uuid, $2, $3, $4, $5, $6, $7, clock_timestamp(), $8)
"""
_LOSSY = {
    "text.unstorable_character": "a character that PostgreSQL can't store became U+FFFD",
    "json.unstorable_character": "an escape that no target can store became U+FFFD",
    "value.truncated": "cut to what PostgreSQL's column holds",
    "value.out_of_range": "beyond what PostgreSQL's column holds: NULL instead",
}


async def lift(settings: Settings, file_url: str, server_url: str, *, stop: Stop | None = None) -> Report:
    """Moves the portal at `sqlite:///…` into the empty one at `postgresql://…`. Raises UsageError,
    PreflightError, and BulkmigError where a value fits no column: then nothing was written."""
    if not is_file(file_url) or is_file(server_url):
        raise UsageError("lift moves from SQLite to PostgreSQL", "bulkmig lift sqlite:///… postgresql://…")
    ring = keys.from_settings(settings)
    where = replace(parse(file_url), keys=ring)
    if not os.access(where.path, os.W_OK):
        where = replace(where, scratch=True)
    to = address(structs.replace(settings, target=server_url), "target")
    report = Report("lift", str(uuid4()))
    with (stop or Stop()).scope() as scope:
        async with (
            session(where, DURABLE, role="source") as held,
            session(to, DURABLE, role="target") as target,
        ):
            file = on_file(held)
            assert file is not None
            try:
                await access.check(held, settings.operator, "administer", "lift")
                await _Lift(settings, file, target, report, where).run(held)
            except _Differs:
                report.error = "PostgreSQL holds something else than it was sent; nothing was committed"
                report.hint = "a trigger of the target may change what is written"
    if scope.cancelled_caught:
        report.status = "stopped"
    report.finish()
    return report


class _Lift:
    def __init__(
        self, settings: Settings, file: Session, target: Connection, report: Report, where: FileAddress
    ) -> None:
        self.settings, self.file, self.target = settings, file, target
        self.report, self.where = report, where
        self.who = audit.who(settings.operator)

    async def run(self, held: Connection) -> None:
        """Everything, in one transaction."""
        report = self.report
        fit = Fit(await _both(held, self.target))
        if await schema.version(held) > 0:
            await ledger_keys.check(held)
        await schema.upgrade(self.target)
        graph = await target_graph.read(self.target)
        tables = [self.file.tables[name] for name in _order(graph)]
        unique = {table.name: graph.tables[table.name].unique for table in tables}
        moved = Tables(self.file, self.target, report, unique)
        begin = "BEGIN READ ONLY" if self.where.scratch else "BEGIN"
        async with transaction(held, begin, commit=False):
            await self.file.refresh()
            async with transaction(self.target):
                await _empty(self.target, [table.name for table in tables])
                await check(self.file, tables)
                names = [table.name for table in tables]
                references = None
                if self.settings.fk_check == "set":
                    await self.target.execute("SET LOCAL session_replication_role = replica")
                else:
                    references = await aside.take(self.target, names)
                started = time.perf_counter()
                for table in tables:
                    await moved.copy(table, fit)
                if references is not None:
                    await references.back()
                # A transaction within, which marks its rows otherwise than the portal's: what has the mark of
                # its base counts as untouched since (`weigh.py`), and the portal did touch some.
                await self.target.execute("SAVEPOINT ledger")
                await ledger.move(self.file, self.target, fit)
                await self.target.execute("RELEASE SAVEPOINT ledger")
                report.phases["load"] = time.perf_counter() - started
                await self._record(fit)
                started = time.perf_counter()
                for table in tables:
                    await moved.compare(table, Fit(fit.catalogue))
                if self.settings.fk_check == "set":
                    await self.target.execute("SET LOCAL session_replication_role = DEFAULT")
                    await _prove(self.target, graph, {table.name for table in tables})
                report.phases["verify"] = time.perf_counter() - started
                if report.verified.difference_count:
                    raise _Differs
                await self._note_left_behind()
                await self._end()

    async def _record(self, fit: Fit) -> None:
        names = {table.name: entity.name for entity in ENTITIES for table in entity.tables}
        for table, found in fit.found.items():
            for code, column, ids in found:
                sources = await self.file.work(partial(self.file.ids.sources, ids))
                rows = [
                    (
                        "warning",
                        code,
                        None,
                        names.get(table, table),
                        sources.get(key, key),
                        column,
                        _LOSSY[code],
                    )
                    for key in ids
                ]
                findings = pl.DataFrame(rows, schema=FINDING, orient="row")
                self.report.count_findings(findings)
                self.report.lossiness[code] += len(ids)
                await write.findings(self.target, self.report.run_id, [findings])

    async def _note_left_behind(self) -> None:
        """What the contract doesn't know stays where it is; whoever lifts has to hear of it."""
        known = contract()
        left: dict[str, int] = {}
        for name in await self.file.work(partial(names_of, self.file.connection)):
            table = self.file.tables.get(name)
            columns = [] if table is None else table.columns
            rest = [column for column in columns if (name, column.name) not in known]
            for said, where in (
                [(f"{name}.{column.name}", f"{column.quoted} IS NOT NULL") for column in rest]
                if len(rest) < len(columns)
                else [(name, "1")]
            ):
                query = f"SELECT count(*) FROM main.{quoted(name)} WHERE {where}"
                ((rows,),) = await self.file.pragma(query)
                if rows:
                    left[said] = rows
        self.report.notes["left_behind"] = left

    async def _end(self) -> None:
        """Records the lift as a run of the new ledger, in the same transaction, which `ledger.runs` would
        end."""
        run_id, rows = self.report.run_id, self.report.inserted.total()
        self.report.finish()
        await self.target.execute(
            _RUN,
            run_id,
            self.report.command,
            self.report.status,
            self.who.operator,
            self.who.host,
            __version__,
            self.where.shown,
            orjson.dumps(self.report.document()).decode(),
        )
        await ledger_keys.register(self.target)
        for action, said in (
            ("started", f"{self.report.command} {self.where.shown}"),
            (self.report.status, f"{self.report.command}: {rows} rows"),
        ):
            await audit.entry(self.target, self.who, action, said, run_id=run_id)
        await chain.seal(self.target, run_id)


class _Differs(Exception):
    """PostgreSQL holds something else than it was sent."""


def _order(graph: Graph) -> list[str]:
    """The contract's tables, parents before children."""
    wanted = {table for table, _ in contract()}
    order = [t.name for scope in (graph.companies, graph.vessels) for t in scope.tables if t.name in wanted]
    return [*order, *sorted(wanted - set(order))]


async def _both(file: Connection, target: Connection) -> Catalogue:
    """Checks both ends; returns what PostgreSQL's columns hold."""
    await catalogue(file, writing=False)
    await catalogue(target, writing=True)
    wanted = sorted({table for table, _ in contract()})
    found, refused = await read_catalogue(target, wanted, privileges=["INSERT"])
    missing = [f"{t}.{c}" for t, c in contract() if c not in found.get(t, ()) or (t, c) in refused]
    if missing:
        raise PreflightError(
            f"the PostgreSQL portal lacks, or lets nobody write, {', '.join(missing)}",
            "create the contract's tables and GRANT INSERT on them",
        )
    return found


async def _empty(target: Connection, tables: Sequence[str]) -> None:
    await target.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
    held = [name for name in tables if await target.fetchval(f"SELECT EXISTS (SELECT FROM {name})")]
    used = await target.fetchval("SELECT EXISTS (SELECT FROM bulkmig.audit)")
    if held or used:
        raise PreflightError(
            f"the PostgreSQL portal is not empty: {', '.join(held) or 'its ledger has entries'}",
            "lift needs a fresh portal; if an earlier lift has ended, bulkmig status lists it",
        )


async def _prove(target: Connection, graph: Graph, tables: set[str]) -> None:
    for fk in graph.vessels.foreign_keys:
        if fk.child in tables:
            lost = await target.fetchval(
                f"SELECT EXISTS (SELECT FROM {fk.child} c WHERE c.{fk.column} IS NOT NULL AND NOT EXISTS"
                f" (SELECT FROM {fk.parent} p WHERE p.{fk.parent_column} = c.{fk.column}))"
            )
            if lost:
                raise asyncpg.ForeignKeyViolationError(f"{fk.child}.{fk.column} names no row of {fk.parent}")
