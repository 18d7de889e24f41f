"""What of a SQLite portal PostgreSQL refuses, in words that the portal's people can do something with: which
row it is, by its number, and never a value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

import asyncpg
import polars as pl
from msgspec import Struct

from bulkmig._core.frames import last_lines
from bulkmig._core.unit import Catalogue
from bulkmig.errors import BulkmigError
from bulkmig.lift.compare import key_of
from bulkmig.lift.fit import Fit
from bulkmig.postgres.errors import copy_line, describe
from bulkmig.sqlite.numbering import astray as lost_rows
from bulkmig.sqlite.session import Session
from bulkmig.sqlite.tables import PortalTable

_HINT = "correct it in the SQLite portal, or the constraint in PostgreSQL, then lift again"


async def check(file: Session, tables: Sequence[PortalTable]) -> None:
    """Raises BulkmigError where rows refer to rows that aren't there: PostgreSQL would refuse one of them."""
    for table in tables:
        for column in table.columns:
            if column.parent:
                rows = lost_rows(table, column, file.tables[column.parent])
                ((lost,),) = await file.pragma(f"SELECT count(*) {rows}")
                if lost:
                    raise astray(table.name, lost)


def astray(table: str, rows: int) -> BulkmigError:
    """Of so many rows that refer to rows that aren't there."""
    return BulkmigError(
        f"rows of {table} refer to rows that aren't there: {rows}",
        "correct them in the SQLite portal (PRAGMA foreign_key_check names them), then lift again",
    )


def as_a_whole(table: str, error: asyncpg.PostgresError) -> BulkmigError:
    """Of rows that were refused together."""
    return BulkmigError(f"PostgreSQL refuses rows of {table}: {describe(error)}", _HINT)


async def numbers(file: Session, uuids: Sequence[str]) -> list[str]:
    """What the portal calls rows."""
    known = dict(await file.work(partial(file.ids.known, uuids)))
    return [str(known.get(uuid, uuid)) for uuid in uuids]


class Table(Struct, frozen=True):
    """A table of which COPY took no row. `unique`: its keys in PostgreSQL besides the primary one."""

    file: Session
    of: PortalTable
    columns: Sequence[str]
    unique: Sequence[Sequence[str]]
    catalogue: Catalogue

    async def refused(self, error: asyncpg.PostgresError) -> BulkmigError:
        """What to say of it."""
        name = self.of.name
        _, line = copy_line(error) or ("", 0)
        if not line:
            return as_a_whole(name, error)
        (key, *_), before, at = key_of(self.of), 0, {}
        async for frame in self._rows():
            ends = last_lines(frame) + before
            if before < line <= ends[-1]:
                at = frame.row(int((ends < line).sum()), named=True)
            before = ends[-1]
        for unique in self.unique if isinstance(error, asyncpg.UniqueViolationError) else ():
            same = pl.all_horizontal(pl.col(column) == at[column] for column in unique)
            both: list[str] = []
            async for frame in self._rows():
                both += frame.filter(same)[key].to_list()
            if len(both) > 1:
                rows = " and ".join(await numbers(self.file, both[:2]))
                return BulkmigError(
                    f"{name}.{'+'.join(unique)} of rows {rows} would be the same in PostgreSQL, where it has"
                    " to be unique",
                    "give one of them another value in the SQLite portal, then lift again",
                )
        (row,) = await numbers(self.file, [at[key]])
        return BulkmigError(f"PostgreSQL refuses row {row} of {name}: {describe(error)}", _HINT)

    async def _rows(self) -> AsyncIterator[pl.DataFrame]:
        """The rows in the order in which they were sent, as PostgreSQL can hold them."""
        key, fit = key_of(self.of), Fit(self.catalogue)
        async for frame in self.file.frames(self.of, self.columns, ", ".join(key)):
            yield fit.table(self.of.name, frame, key[0], quiet=True)
