"""What a run left behind, all of it, against the expectation: tables, ledger, report."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import asyncpg

from bulkmig import Report
from tests.oracle.compare import compare
from tests.oracle.expect import LOSSY, Expectation
from tests.oracle.file import path_of
from tests.oracle.source import COLUMNS, Source, SourceRow, identity

TABLE_OF = {
    "company": "companies",
    "user": "users",
    "vessel": "vessels",
    "equipment": "equipment",
    "critical_part": "critical_parts",
    "document": "documents",
    "quality_score": "quality_scores",
    "cross_reference": "cross_references",
}
K = TypeVar("K", bound=Hashable)
BOOLEAN = {"true": "t", "false": "f"}  # as a cast to text spells it, and as PostgreSQL prints it


class Ledger(Protocol):
    """What answers queries of bulkmig's tables."""

    async def fetch(self, query: str, *values: object) -> Sequence[Any]: ...


class _File:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def fetch(self, query: str, *values: object) -> Sequence[Any]:
        query = query.replace("bulkmig.", "bulkmig_").replace("::text", "").replace("$1", "?")
        return self._connection.execute(query, values).fetchall()


@asynccontextmanager
async def ledger(target_url: str) -> AsyncIterator[Ledger]:
    """bulkmig's tables in a target of either kind; simple queries alone."""
    if target_url.startswith("sqlite:"):
        file = sqlite3.connect(path_of(target_url))
        file.row_factory = sqlite3.Row
        try:
            yield _File(file)
        finally:
            file.close()
    else:
        connection = await asyncpg.connect(target_url)
        try:
            yield connection
        finally:
            await connection.close()


async def differences(expected: Expectation, source: Source, report: Report, target_url: str) -> list[str]:
    """Whatever a finished run of `migrate` has left that is not as expected; empty if all is well."""
    async with ledger(target_url) as connection:
        lines = [
            *await _findings(connection, expected, report),
            *await _quarantine(connection, expected, source, report),
            *await _waiting(connection, expected, report),
            *await _marks(connection, expected, report),
        ]
    lines += _figures(expected, report)
    return lines + await compare(expected, target_url)


async def _findings(connection: Ledger, expected: Expectation, report: Report) -> list[str]:
    rows = await connection.fetch(
        "SELECT severity, code, entity, source_id::text, field FROM bulkmig.findings WHERE run_id = $1",
        report.run_id,
    )
    actual = Counter(tuple(row) for row in rows)
    wanted = {(f.severity, f.code, f.entity, f.source_id, f.field) for f in expected.findings}
    lines = [f"finding missing: {finding}" for finding in sorted(wanted - actual.keys())]
    lines += [f"finding not expected: {finding}" for finding in sorted(actual.keys() - wanted)]
    lines += [f"finding recorded {n} times: {finding}" for finding, n in actual.items() if n > 1]
    counted = Counter((severity, code) for severity, code, *_ in actual.elements())
    if counted != report.findings:
        lines.append(f"the report counts other findings: {_apart(report.findings, counted)}")
    return lines


async def _quarantine(
    connection: Ledger, expected: Expectation, source: Source, report: Report
) -> Iterator[str]:
    rows = await connection.fetch("SELECT entity, source_id::text, code, row FROM bulkmig.quarantine")
    actual = {(row["entity"], row["source_id"]): row for row in rows}
    lines = [f"not quarantined: {k} {c}" for k, c in expected.quarantined.items() if k not in actual]
    sources = {
        (entity, identity(row)): row for entity, table in TABLE_OF.items() for row in getattr(source, table)
    }
    for key, row in actual.items():
        if row["code"] not in expected.quarantined.get(key, ()):
            lines.append(f"quarantined: {key} {row['code']}")
        lines += (f"{key}: {line}" for line in _stored(key[0], sources[key], json.loads(row["row"])))
    counted = Counter(TABLE_OF[entity] for entity, _ in actual)
    if counted != +report.quarantined:
        lines.append(f"the report counts other rows in quarantine: {_apart(report.quarantined, counted)}")
    return iter(lines)


def _stored(entity: str, source: SourceRow, stored: dict[str, str | None]) -> Iterator[str]:
    """The row in quarantine against the row in the source, value by value."""
    for column in COLUMNS[TABLE_OF[entity]]:
        value = source[column]
        wanted = BOOLEAN.get(value or "", value) if column == "is_active" else value
        if column not in stored:
            yield f"{column} is not stored"
        elif stored[column] != wanted:
            yield f"{column}: stored {stored[column]!r}, the source has {wanted!r}"


async def _waiting(connection: Ledger, expected: Expectation, report: Report) -> list[str]:
    rows = await connection.fetch("SELECT source_id::text FROM bulkmig.pending")
    actual = {row["source_id"] for row in rows}
    lines = [f"should wait: {id_}" for id_ in sorted(expected.pending - actual)]
    lines += [f"should not wait: {id_}" for id_ in sorted(actual - expected.pending)]
    if report.pending != len(actual):
        lines.append(f"the report counts {report.pending} waiting rows, the ledger {len(actual)}")
    return lines


async def _marks(connection: Ledger, expected: Expectation, report: Report) -> list[str]:
    rows = await connection.fetch(
        "SELECT vessel_id::text, state FROM bulkmig.vessels WHERE run_id = $1", report.run_id
    )
    actual = {row["vessel_id"]: row["state"] for row in rows}
    wanted = {
        **dict.fromkeys(expected.done_vessels, "migrated"),
        **dict.fromkeys(expected.failed_vessels, "failed"),
        **dict.fromkeys(expected.quarantined_vessels, "quarantined"),
    }
    return [
        f"vessel {vessel}: {actual.get(vessel)} instead of {wanted.get(vessel)}"
        for vessel in sorted(actual.keys() | wanted.keys())
        if actual.get(vessel) != wanted.get(vessel)
    ]


def _figures(expected: Expectation, report: Report) -> Iterator[str]:
    codes = Counter({code: n for code, n in report.lossiness.items() if code in LOSSY})
    if codes != expected.lossiness:
        yield f"lossiness: {_apart(codes, expected.lossiness)}"
    if report.stats != Counter(expected.stats):
        yield f"stats: {_apart(report.stats, Counter(expected.stats))}"
    failed = {failure.vessel_id for failure in report.failures}
    if failed != expected.failed_vessels or report.failed != len(failed):
        yield f"{report.failed} failures: {sorted(failed ^ expected.failed_vessels)} are not as expected"
    if report.done != len(expected.done_vessels | expected.quarantined_vessels):
        yield f"{report.done} vessels done"
    if report.verified.difference_count:
        yield f"verify: {report.verified.differences[:5]}"


def _apart(actual: Counter[K], wanted: Counter[K]) -> str:
    return f"{dict(actual - wanted)} too much, {dict(wanted - actual)} missing"
