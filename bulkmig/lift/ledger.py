"""The ledger on its way: table by table as it is, since its ids are PostgreSQL's already; what was written
and what checkpoints hold, with the values that PostgreSQL's columns can hold."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, cast

import orjson
import polars as pl
from anyio import to_thread

from bulkmig._core.frames import from_csv, to_csv
from bulkmig._core.stored import compress
from bulkmig.checkpoint.parts import Owner, Part, opened, sealed
from bulkmig.encode import base, read_base, read_bases
from bulkmig.entities import ENTITIES, entity
from bulkmig.ledger.base import place as base_place
from bulkmig.ledger.base import small_enough
from bulkmig.lift import conflicts
from bulkmig.lift.fit import Fit, Unfit
from bulkmig.lift.refused import numbers
from bulkmig.postgres.session import Connection
from bulkmig.security.seal import NO_KEYS
from bulkmig.sqlite.examine import ledger as ledger_of
from bulkmig.sqlite.session import Session
from bulkmig.target.postgres import copy_in

_ENTITIES = frozenset(e.name for e in ENTITIES)
_NOT = frozenset({"ids", "locks", "migrations"})
# What a new ledger has a row of: a chain without entries, and access control that is off.
_BEGINS_WITH = frozenset({"audit_head", "access"})
_CONFLICTS = "bulkmig.conflicts"  # as checkpoints name the table
_OF_ROWS = ("rows", "standing", "stayed")  # kinds of parts of the base with values
_AT_ONCE = 64  # rows; parts of the base have some megabytes at most
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type FROM pg_attribute a
 WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_COUNTERS = (("base", "id"), ("checkpoints", "seq"), ("audit", "id"))


async def move(file: Session, target: Connection, fit: Fit) -> None:
    """Copies every table. The keys of what is encrypted are those of the sessions."""
    for name, columns, key in await ledger_of(file):
        if name in _NOT:
            continue
        types = {row["attname"]: row["type"] for row in await target.fetch(_COLUMNS, f"bulkmig.{name}")}
        both = [column for column in columns if column in types]
        order = f" ORDER BY {', '.join(key)}" if key else ""
        listed = ", ".join(f'"{column}"' for column in both)
        async for rows in _batches(file, f"SELECT {listed} FROM main.bulkmig_{name}{order}"):
            given = [dict(zip(both, row, strict=True)) for row in rows]
            if name in _BEGINS_WITH:
                await target.execute(f"DELETE FROM bulkmig.{name}")
            elif name == "base":
                await to_thread.run_sync(_bases, file, given, fit)
            elif name == "conflicts":
                await to_thread.run_sync(conflicts.fitted, file, given, fit)
            elif name == "checkpoint_parts":
                await _parts(file, given, fit)
            frame = pl.DataFrame(
                {
                    column: pl.Series([_text(row[column], types[column]) for row in given], dtype=pl.String)
                    for column in both
                }
            )
            await copy_in(target, f"bulkmig.{name}", both, to_csv(frame))
    for name, column in _COUNTERS:
        await target.execute(
            f"SELECT setval(pg_get_serial_sequence('bulkmig.{name}', '{column}'), max({column}))"
            f" FROM bulkmig.{name} HAVING max({column}) IS NOT NULL"
        )


async def _batches(file: Session, query: str) -> AsyncIterator[list[tuple[Any, ...]]]:
    cursor = await file.cursor(query)
    while rows := await cursor(_AT_ONCE):
        yield rows


def _bases(file: Session, rows: Sequence[dict[str, Any]], fit: Fit) -> None:
    """Parts of the base, as a direct migration would have written them."""
    parts: defaultdict[str, list[tuple[dict[str, Any], bytes]]] = defaultdict(list)
    stood = fit.whatever_stood()
    for row in rows:
        if row["kind"] in _OF_ROWS and row["entity"] in _ENTITIES:
            parts[row["entity"]].append((row, file.keys.open(row["payload"], _place(row))))
    for of, written in parts.items():
        for together in small_enough(written):
            # Nearly always PostgreSQL can hold all of it, which one look at many parts says.
            frame, _ = read_bases([payload for _, payload in together])
            if any(fit.doubtful(table, cells) for table, cells in _tables(of, frame)):
                for row, payload in together:
                    fits = stood if row["kind"] == "standing" else fit
                    row["payload"] = file.keys.close(rewritten(of, payload, fits), _place(row))


def _place(row: Mapping[str, Any]) -> bytes:
    return base_place(*(row[name] for name in ("vessel_id", "run_id", "entity", "kind", "checkpoint_id")))


def _tables(of: str, frame: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each table's cells in an image of an entity."""
    for table in entity(of).tables:
        cells = {f"{table.name}.{name}": name for name in table.cells}
        yield table.name, frame.select(list(cells)).rename(cells)


def rewritten(of: str, payload: bytes, fit: Fit) -> bytes:
    """A part of an entity's base as a direct migration would have written it."""
    frame = read_base(payload)
    made = frame
    for table in entity(of).tables:
        cells = {f"{table.name}.{name}": name for name in table.cells}
        flag = f"?{table.name}"
        rows = frame.select(list(cells)).rename(cells)
        inside = rows.filter(frame[flag]) if flag in frame.columns else rows
        fitted = fit.table(table.name, inside, table.own_key, quiet=True)
        if fitted.equals(inside):
            continue
        if flag in frame.columns:
            at = frame.with_row_index("~n").filter(pl.col(flag))["~n"]
            full = frame.with_row_index("~n").select("~n")
            fitted = full.join(fitted.with_columns(at), on="~n", how="left", maintain_order="left").drop("~n")
        made = made.with_columns(fitted[name].alias(cell) for cell, name in cells.items())
    return payload if made is frame else base(entity(of), made)


async def _parts(file: Session, rows: Sequence[dict[str, Any]], fit: Fit) -> None:
    for row in rows:
        if row["role"] == "ledger" and row["table_name"] != _CONFLICTS:
            continue
        columns = orjson.loads(row["columns"])
        ((run_id, vessel_id, encrypted),) = await file.pragma(
            "SELECT run_id, vessel_id, encrypted FROM main.bulkmig_checkpoints"
            f" WHERE id = '{row['checkpoint_id']}'"
        )
        of = Owner(row["checkpoint_id"], run_id, vessel_id, bool(encrypted))
        part = opened(of, cast("Any", {**row, "columns": columns}), file.keys)
        frame = from_csv(part.data, columns)
        try:
            fitted = _fitted(file, part, frame, fit)
        except Unfit as error:
            (number,) = await numbers(file, [error.row])
            raise Unfit(error.cell, number, error.kind, row["checkpoint_id"]) from None
        if not fitted.equals(frame):
            packed = compress(to_csv(fitted))
            # A key that is given only now encrypts none of a checkpoint, as long as it isn't rotated.
            keys = file.keys if of.encrypted else NO_KEYS
            row["payload"] = sealed(of, row["part"], part, packed, keys)
            row["digest"] = hashlib.sha256(row["payload"]).digest()


def _fitted(file: Session, part: Part, frame: pl.DataFrame, fit: Fit) -> pl.DataFrame:
    if part.table != _CONFLICTS:
        return fit.table(part.table, frame, part.columns[0], quiet=True)
    rows = frame.to_dicts()
    conflicts.fitted(file, rows, fit)
    return pl.DataFrame(rows, schema=frame.schema)


def _text(value: Any, type_: str) -> str | None:
    """A value of the SQLite ledger as COPY reads it for a column of that type."""
    if value is None:
        return None
    if type_ == "bytea":
        return "\\x" + bytes(value).hex()
    if type_ == "boolean":
        return "t" if value else "f"
    if type_.endswith("[]"):
        items = (
            '"' + str(item).replace("\\", "\\\\").replace('"', '\\"') + '"' for item in orjson.loads(value)
        )
        return "{" + ",".join(items) + "}"
    return str(value)
