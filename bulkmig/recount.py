"""What a process of the run had committed before it died without a word, as the ledger tells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bulkmig.encode import read_base
from bulkmig.entities import entity
from bulkmig.ledger import base
from bulkmig.ledger.locks import LOCK_VESSELS, lock_keys
from bulkmig.postgres.session import Connection, transaction
from bulkmig.selection import Vessel
from bulkmig.vessel_load import Loaded

_AT_ONCE = 500  # vessels whose locks one transaction holds: a server has some thousands for all sessions

_MARKS = """
SELECT v.vessel_id::text AS id, v.state, v.phase, coalesce(v.error, '') AS error, v.seconds,
       coalesce(i.adopted, false) AS adopted,
       (SELECT count(*) FROM bulkmig.pending p
         WHERE p.vessel_id = v.vessel_id AND p.run_id = v.run_id) AS pending
  FROM bulkmig.vessels v
  LEFT JOIN bulkmig.identities i ON i.entity = 'vessel' AND i.source_id = v.vessel_id
 WHERE v.run_id = $1::text::uuid AND v.vessel_id = ANY ($2::text[]::uuid[])
"""
_BASE = """
SELECT id, entity FROM bulkmig.base
 WHERE run_id = $1::text::uuid AND vessel_id = $2::text::uuid AND kind = 'rows' AND holds
"""
_FINDINGS = """
SELECT severity, code, count(*) AS n FROM bulkmig.findings
 WHERE run_id = $1::text::uuid AND vessel_id = $2::text::uuid GROUP BY severity, code
"""
_QUARANTINED = """
SELECT entity, count(*) AS n FROM bulkmig.quarantine
 WHERE run_id = $1::text::uuid AND vessel_id = $2::text::uuid GROUP BY entity
"""


async def recount(connection: Connection, run_id: str, vessels: Iterable[Vessel]) -> list[Loaded]:
    """What became of those of these vessels that the run has marked. The COMMIT of who died may be under way
    to the server still: its vessel's lock is waited for."""
    found, left = [], list(vessels)
    while left:
        some, left = left[:_AT_ONCE], left[_AT_ONCE:]
        async with transaction(connection):
            await connection.execute(LOCK_VESSELS, lock_keys(vessel.id for vessel in some))
            found += await _marked(connection, run_id, some)
    return found


async def _marked(connection: Connection, run_id: str, vessels: Sequence[Vessel]) -> list[Loaded]:
    by_id = {vessel.id: vessel for vessel in vessels}
    found = []
    for mark in await connection.fetch(_MARKS, run_id, list(by_id)):
        result = Loaded(by_id[mark["id"]], mark["state"], phase=mark["phase"], error=mark["error"])
        result.seconds, result.pending = mark["seconds"], mark["pending"]
        for severity, code, n in await connection.fetch(_FINDINGS, run_id, mark["id"]):
            result.findings[severity, code] = n
        for name, n in await connection.fetch(_QUARANTINED, run_id, mark["id"]):
            result.quarantined[entity(name).source] = n
        await _count_rows(connection, run_id, result, adopted=mark["adopted"])
        found.append(result)
    return found


async def _count_rows(connection: Connection, run_id: str, result: Loaded, *, adopted: bool) -> None:
    for id_, name in await connection.fetch(_BASE, run_id, result.vessel.id):
        rows = read_base(await base.payload_of(connection, id_))
        counts = result.updated if adopted and name == "vessel" else result.inserted
        for table in entity(name).tables:
            counts[table.name] += int(rows[f"?{table.name}"].sum()) if table.when is not None else rows.height
