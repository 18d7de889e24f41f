"""`bulkmig audit`: the log, its proof, and its export."""

from __future__ import annotations

import csv
import io
import re
from typing import Any, Literal

import orjson
from asyncpg import Record

from bulkmig.config import Settings
from bulkmig.errors import UsageError
from bulkmig.ledger import access, audit, prove
from bulkmig.ledger.chain import COLUMNS, Head
from bulkmig.ledger.prove import Proof
from bulkmig.postgres.session import Connection
from bulkmig.preflight import target_only

FIELDS = ("id", "at", "run_id", "vessel_id", "action", "operator", "host", "summary", "seq")
_LIST = f"""
SELECT {COLUMNS}, c.seq FROM bulkmig.audit a LEFT JOIN bulkmig.audit_chain c ON c.audit_id = a.id
 WHERE ($1::text IS NULL OR substr(a.run_id::text, 1, length($1)) = lower($1))
   AND ($2::text IS NULL OR a.vessel_id::text = $2) AND ($3::text IS NULL OR a.action = $3) ORDER BY a.id
"""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")  # what spreadsheets take for the begin of one


async def entries(
    settings: Settings, *, run: str | None = None, vessel: str | None = None, action: str | None = None
) -> list[dict[str, Any]]:
    """The entries, the oldest first; `seq` is the place in the chain of those that are sealed."""
    async with target_only(settings, current=True) as target:
        return await _entries(target, run, vessel, action)


async def verify(settings: Settings, head: str = "") -> Proof:
    """Whether the log is what was written. `head`: as an earlier verification printed it."""
    expected = _head(head) if head else None
    async with target_only(settings, current=True) as target:
        return await prove.prove(target, expected)


async def export(settings: Settings, form: Literal["csv", "json"]) -> tuple[str, int]:
    """The whole log as a text, and how many entries that is. That it was exported is an entry of its own."""
    async with target_only(settings, unsealed=True, current=True) as target:
        await access.check(target, settings.operator, "administer", "audit export")
        found = await _entries(target)
        said = f"{len(found)} entries as {form}"
        await audit.alone(target, audit.who(settings.operator), "exported", said)
    if form == "json":
        return orjson.dumps({"audit": found}, option=orjson.OPT_INDENT_2).decode() + "\n", len(found)
    return _csv(found), len(found)


async def _entries(
    connection: Connection, run: str | None = None, vessel: str | None = None, action: str | None = None
) -> list[dict[str, Any]]:
    rows = await connection.fetch(_LIST, run, vessel and vessel.lower(), action)
    return [_entry(row) for row in rows]


def _entry(row: Record) -> dict[str, Any]:
    return {name: row[name] if name != "at" else row["at"].isoformat() for name in FIELDS}


def _csv(found: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(FIELDS)
    writer.writerows([_cell(entry[name]) for name in FIELDS] for entry in found)
    return out.getvalue()


def _cell(value: object) -> str:
    """A cell that no spreadsheet computes and no terminal obeys."""
    text = (
        ""
        if value is None
        else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    )
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(_FORMULA) else text


def _head(text: str) -> Head:
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if match is None:
        raise UsageError(f"{text!r} is no head of a chain", "as `bulkmig audit verify` prints it")
    return Head(int(match[1]), bytes.fromhex(match[2]))
