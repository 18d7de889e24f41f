"""The portal's tables on their way: each is copied, and later what PostgreSQL holds compared with that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import anyio
import asyncpg
import polars as pl
from anyio import to_thread
from anyio.streams.memory import MemoryObjectSendStream

from bulkmig._core.frames import to_csv
from bulkmig._core.unit import Catalogue
from bulkmig.entities import ENTITIES
from bulkmig.lift import compare
from bulkmig.lift.compare import Sent, key_of
from bulkmig.lift.fit import Fit, Unfit
from bulkmig.lift.refused import Table, astray, numbers
from bulkmig.pipeline import first_error
from bulkmig.postgres.session import Connection
from bulkmig.report import Report
from bulkmig.sqlite.contract import contract
from bulkmig.sqlite.session import Session
from bulkmig.sqlite.tables import PortalTable

_REFUSED = ("22", "23", "P0")  # SQLSTATEs of what a type, a constraint or a trigger doesn't take


class Tables:
    """`unique`: table -> its unique keys. What is copied and what differs is added to the report."""

    def __init__(
        self,
        file: Session,
        target: Connection,
        report: Report,
        unique: Mapping[str, tuple[tuple[str, ...], ...]],
    ) -> None:
        self.file, self.target, self.report, self.unique = file, target, report, unique
        self._sent: defaultdict[str, list[Sent]] = defaultdict(list)

    async def copy(self, table: PortalTable, fit: Fit) -> None:
        """Copies a table; the next rows are read while the server takes the ones before."""
        out, into = anyio.create_memory_object_stream[bytes](1)
        try:
            async with into, anyio.create_task_group() as group:
                group.start_soon(self._read, table, fit, out)
                await self.target.copy_to_table(
                    table.name, source=into, columns=_columns(table), format="csv"
                )
        except BaseExceptionGroup as errors:
            cause = first_error(errors)
            if isinstance(cause, asyncpg.PostgresError) and (cause.sqlstate or "")[:2] in _REFUSED:
                sent = Table(self.file, table, _columns(table), self.unique[table.name], fit.catalogue)
                raise await sent.refused(cause) from None
            raise cause from cause.__cause__
        ((held,),) = await self.file.pragma(f'SELECT count(*) FROM main."{table.name}"')
        if lost := held - self.report.inserted[table.name]:
            raise astray(table.name, lost)

    async def _read(self, table: PortalTable, fit: Fit, out: MemoryObjectSendStream[bytes]) -> None:
        key, (exact, spelled) = key_of(table), _spelled(table, fit.catalogue)

        def made(frame: pl.DataFrame) -> tuple[bytes, Sent]:
            fitting = fit.table(table.name, frame, key[0])
            data = to_csv(fitting)
            return data, compare.sent(frame.select(key), to_csv(fitting.select(exact)) if spelled else data)

        async with out:
            async for frame in self.file.frames(table, _columns(table), ", ".join(key)):
                try:
                    data, sent = await to_thread.run_sync(made, frame)
                except Unfit as error:  # the portal knows its rows by their numbers
                    (number,) = await numbers(self.file, [error.row])
                    raise Unfit(error.cell, number, error.kind) from None
                self.report.inserted[table.name] += frame.height
                self._sent[table.name].append(sent)
                await out.send(data)

    async def compare(self, table: PortalTable, fit: Fit) -> None:
        """Compares a table with what was sent: as a whole, and cell by cell where that differs."""
        columns, key, (exact, spelled) = _columns(table), key_of(table), _spelled(table, fit.catalogue)
        order = ", ".join(key)
        personal = frozenset(
            name for e in ENTITIES for t in e.tables if t.name == table.name
            for name, cell in t.cells.items() if cell.personal
        )  # fmt: skip
        for sent in self._sent[table.name]:
            found = await compare.as_sent(self.target, table.name, key, exact, sent)
            if spelled and found is not None:
                async for frame in self.file.frames(table, [*key, *spelled], order, sent.between(key)):
                    due = fit.table(table.name, frame, key[0], quiet=True)
                    if not await compare.same_json(self.target, table.name, key[0], due):
                        found = None
            if found is not None:
                self.report.verified.add(found)
                continue
            async for frame in self.file.frames(table, columns, order, sent.between(key)):
                due = fit.table(table.name, frame, key[0], quiet=True)
                self.report.verified.add(await compare.table(self.target, table.name, key, due, personal))
        count = await self.target.fetchval(f"SELECT count(*) FROM {table.name}")
        if count != self.report.inserted[table.name]:
            self.report.verified.difference_count += 1


def _columns(table: PortalTable) -> list[str]:
    known = [column for of, column in contract() if of == table.name]
    return [column.name for column in table.columns if column.name in known]


def _spelled(table: PortalTable, catalogue: Catalogue) -> tuple[list[str], list[str]]:
    """The columns whose values PostgreSQL gives back as they were sent, and those that it spells anew."""
    columns = _columns(table)
    anew = [column for column in columns if catalogue[table.name][column].type == "jsonb"]
    return [column for column in columns if column not in anew], anew
