"""Compares what PostgreSQL holds with what the SQLite portal has, cell by cell, before the commit: rows by
the digest of the CSV that was sent; `jsonb`, which has its own spelling, by PostgreSQL; and where either
differs, value by value."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from bulkmig._core.frames import from_csv
from bulkmig.postgres.session import Connection
from bulkmig.source.onboarding import read_all
from bulkmig.sqlite.tables import PortalTable
from bulkmig.verified import MAX_LISTED, Deviation, Verified

_TYPES = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
"""
# Two spellings of one value are the same to the type itself.
_SAME = """
SELECT n FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (a, b, n)
 WHERE a::{type} IS NOT DISTINCT FROM b::{type}
"""


Key = tuple[str, ...]  # the columns whose values tell a table's rows apart


def key_of(table: PortalTable) -> Key:
    """A table's key; the first column of it names a row in findings."""
    return tuple(column.name for column in table.key)


class Sent(NamedTuple):
    """Rows in order of their keys as they were sent: the first and the last key, and their CSV's digest."""

    low: Key
    high: Key
    digest: bytes

    def between(self, key: Key) -> str:
        """The condition for a row to be one of these."""
        low, high = (", ".join(f"'{id_}'" for id_ in ids) for ids in (self.low, self.high))
        row = ", ".join(key)
        return f"({row}) >= ({low}) AND ({row}) <= ({high})"


def sent(keys: pl.DataFrame, data: bytes) -> Sent:
    """What is kept of rows with these keys."""
    return Sent(keys.row(0), keys.row(-1), hashlib.sha256(data).digest())


async def as_sent(
    target: Connection, name: str, key: Key, columns: Sequence[str], rows: Sent
) -> Verified | None:
    """What is to be said of rows that PostgreSQL gives back byte by byte as they were sent; None where it
    doesn't: then its spelling may differ, or a value."""
    digest = hashlib.sha256()

    async def add(data: bytes) -> None:
        digest.update(data)

    query = f"SELECT {', '.join(columns)} FROM {name} WHERE {rows.between(key)} ORDER BY {', '.join(key)}"
    status: str = await target.copy_from_query(query, output=add, format="csv", force_quote=True)
    if digest.digest() != rows.digest:
        return None
    result = Verified(checks=1)
    result.rows[name] = int(status.rpartition(" ")[2])
    return result


async def same_json(target: Connection, name: str, key: str, expected: pl.DataFrame) -> bool:
    """Whether rows of the target have these values of `jsonb`. `expected`: the key, then these columns."""
    for column in expected.columns[1:]:
        differs: bool = await target.fetchval(
            f"SELECT EXISTS (SELECT FROM unnest($1::text[], $2::text[]) AS u (key, value) JOIN {name} t"
            f" ON t.{key} = u.key::uuid WHERE t.{column} IS DISTINCT FROM u.value::jsonb)",
            expected[key].to_list(),
            expected[column].to_list(),
        )
        if differs:
            return False
    return True


async def table(
    target: Connection, name: str, key: Key, expected: pl.DataFrame, personal: frozenset[str]
) -> Verified:
    """Compares rows, which are in order of their key, with those of the target between the first and the
    last of them."""
    result = Verified(checks=1)
    query = (
        f"SELECT {', '.join(expected.columns)} FROM {name}"
        f" WHERE {sent(expected.select(key), b'').between(key)} ORDER BY {', '.join(key)}"
    )
    actual = from_csv(await read_all(target, query), expected.columns)
    result.rows[name] = actual.height
    if not expected.select(key).equals(actual.select(key)):
        missing = _names(expected.join(actual, on=key, how="anti"), key)
        extra = _names(actual.join(expected, on=key, how="anti"), key)
        _add(result, [Deviation(name, id_, "", "a row", "no row") for id_ in missing])
        _add(result, [Deviation(name, id_, "", "no row", "a row") for id_ in extra])
        expected = expected.join(actual, on=key, how="semi")
        actual = actual.join(expected, on=key, how="semi")
    types = {row[0]: row[1] for row in await target.fetch(_TYPES, name)}
    for column in (column for column in expected.columns if column not in key):
        differ = expected[column].ne_missing(actual[column])
        if differ.any():
            _add(result, await _cells(target, name, column, types[column], personal, (
                _names(expected.filter(differ), key),
                expected[column].filter(differ).to_list(),
                actual[column].filter(differ).to_list(),
            )))  # fmt: skip
    result.failed = int(result.difference_count > 0)
    return result


async def _cells(
    target: Connection,
    table: str,
    column: str,
    type_: str,
    personal: frozenset[str],
    rows: tuple[Sequence[str], Sequence[str | None], Sequence[str | None]],
) -> list[Deviation]:
    ids, wanted, held = rows
    same = {row[0] - 1 for row in await target.fetch(_SAME.format(type=type_), list(wanted), list(held))}
    hide = column in personal
    return [
        Deviation(table, id_, column, "(masked)" if hide else want, "(masked)" if hide else have)
        for n, (id_, want, have) in enumerate(zip(ids, wanted, held, strict=True))
        if n not in same
    ]


def _names(rows: pl.DataFrame, key: Key) -> list[str]:
    """What the rows are called."""
    return ["/".join(ids) for ids in rows.select(key).iter_rows()]


def _add(result: Verified, found: list[Deviation]) -> None:
    result.difference_count += len(found)
    result.differences = [*result.differences, *found][:MAX_LISTED]
