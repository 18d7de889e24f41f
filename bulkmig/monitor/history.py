"""What the ledger tells about runs, as the dashboard and the report show it. Only read; no value of any row,
and e-mail addresses of operators shortened."""

from __future__ import annotations

import re
from typing import Any

from bulkmig._core.stored import document
from bulkmig.postgres.session import Connection

MOST = 50  # of what grows without end, the newest

_RUNS = """
SELECT id::text, command, status, operator, host, version, selection, started_at, finished_at, report,
       extract(epoch FROM coalesce(finished_at, clock_timestamp()) - started_at)::float8 AS seconds
  FROM bulkmig.runs WHERE $1::text IS NULL OR substr(id::text, 1, length($1)) = lower($1)
 ORDER BY started_at DESC LIMIT $2
"""
# What a run did to vessels stands in the audit log for good; their marks are those of the last run.
_VESSELS = """
SELECT v.vessel_id::text AS id, v.name, v.state, v.phase, v.error, v.rows, v.seconds,
       extract(epoch FROM v.finished_at - r.started_at)::float8 AS at
  FROM bulkmig.vessels v JOIN bulkmig.runs r ON r.id = v.run_id WHERE v.run_id = $1::text::uuid
UNION ALL
SELECT a.vessel_id::text, coalesce(v.name, ''), a.action, '', NULL, 0, 0,
       extract(epoch FROM a.at - r.started_at)::float8
  FROM bulkmig.audit a JOIN bulkmig.runs r ON r.id = a.run_id LEFT JOIN bulkmig.vessels v USING (vessel_id)
 WHERE a.run_id = $1::text::uuid AND a.vessel_id IS NOT NULL AND v.run_id IS DISTINCT FROM a.run_id
UNION ALL
SELECT d.vessel_id::text, coalesce(v.name, ''), CASE d.result WHEN '0' THEN 'verified' ELSE 'failed' END,
       'verify', nullif(d.result, '0') || ' differences', 0, 0, NULL
  FROM bulkmig.verified d LEFT JOIN bulkmig.vessels v USING (vessel_id) WHERE d.run_id = $1::text::uuid
ORDER BY 8 NULLS FIRST, 2
"""
_FINDINGS = """
SELECT severity, code, entity, count(*) AS rows, count(DISTINCT vessel_id) AS vessels
  FROM bulkmig.findings WHERE run_id = $1::text::uuid GROUP BY 1, 2, 3 ORDER BY 1, 4 DESC
"""
_QUARANTINE = """
SELECT code, entity, count(*) AS rows, count(DISTINCT vessel_id) AS vessels, min(since) AS since
  FROM bulkmig.quarantine WHERE $1::text IS NULL OR run_id::text = $1 GROUP BY 1, 2 ORDER BY 3 DESC
"""
_CHECKPOINTS = """
SELECT c.id::text, c.run_id::text, coalesce(v.name, 'companies and users') AS vessel, c.created_at, c.rows,
       c.bytes, c.encrypted, c.absent
  FROM bulkmig.checkpoints c LEFT JOIN bulkmig.vessels v USING (vessel_id)
 WHERE $1::text IS NULL OR c.run_id::text = $1 ORDER BY c.seq DESC LIMIT $2
"""
_CONFLICTS = """
SELECT c.id::text, c.entity, c.kind, c.status, c.strategy, c.detected_at, coalesce(v.name, '') AS vessel
  FROM bulkmig.conflicts c LEFT JOIN bulkmig.vessels v USING (vessel_id)
 WHERE $1::text IS NULL OR c.run_id::text = $1 ORDER BY c.status = 'open' DESC, c.detected_at DESC LIMIT $2
"""
_AUDIT = """
SELECT a.at, a.action, a.operator, a.host, coalesce(v.name, '') AS vessel, a.run_id::text, a.summary
  FROM bulkmig.audit a LEFT JOIN bulkmig.vessels v USING (vessel_id)
 WHERE $1::text IS NULL OR a.run_id::text = $1 ORDER BY a.id DESC LIMIT $2
"""
_COUNTS = """
SELECT (SELECT count(*) FROM bulkmig.checkpoints) AS checkpoints,
       (SELECT count(*) FROM bulkmig.conflicts WHERE status = 'open') AS conflicts_open,
       (SELECT count(*) FROM bulkmig.quarantine) AS quarantine
"""
_EMAIL = re.compile(r"([^\s@])[^\s@]*@([^\s@]+)")


async def runs(connection: Connection) -> list[dict[str, Any]]:
    """The newest runs, with the figures that they ended with."""
    return [_run(row) for row in await connection.fetch(_RUNS, None, MOST)]


async def run(connection: Connection, run_id: str) -> dict[str, Any] | None:
    """All that is known of a run, named by the beginning of its id."""
    rows = await connection.fetch(_RUNS, run_id, 1)
    if not rows:
        return None
    report = document(rows[0]["report"], "the report of a run") if rows[0]["report"] else {}
    vessels = [dict(row) for row in await connection.fetch(_VESSELS, rows[0]["id"])]
    found = _run(rows[0])
    written, behind = 0, []
    for vessel in vessels:
        if (at := vessel.pop("at")) is not None:
            written += vessel["rows"]
            behind.append([round(at, 2), written, None, None])
    done = [v["seconds"] for v in vessels if v["state"] == "migrated"]
    return {
        "run": {
            **found,
            "rows": found["rows"] or written,
            "average_seconds": sum(done) / len(done) if done else 0.0,
            "bound": report.get("memory", {}).get("bound", 0),
            "peak_in_flight": report.get("memory", {}).get("peak_in_flight", 0),
            "peak_memory": report.get("peak_memory_bytes", 0),
            "phases": report.get("phases", {}),
            "differences": report.get("verification", {}).get("difference_count", 0),
            "checks": report.get("verification", {}).get("checks", 0),
            "lossiness": report.get("lossiness", {}),
            "error": report.get("error", ""),
        },
        "vessels": vessels,
        "timeline": report.get("timeline") or behind,
        "findings": await findings(connection, found["id"]),
        "failures": [
            {"what": f["name"], "kind": f["phase"], "cause": f["error"]} for f in report.get("failures", [])
        ],
        "differences": [
            {"table": d["table"], "id": d["id"], "field": d["field"]}
            for d in report.get("verification", {}).get("differences", [])
        ],
    }


async def findings(connection: Connection, run_id: str) -> list[dict[str, Any]]:
    """How many findings of each kind a run has."""
    return [dict(row) for row in await connection.fetch(_FINDINGS, run_id)]


async def records(connection: Connection, run_id: str | None = None, limit: int = MOST) -> dict[str, Any]:
    """What the ledger holds besides runs, the newest first; of one run alone where its id is given."""
    counts = await connection.fetchrow(_COUNTS)
    return {
        "quarantine": [_plain(row) for row in await connection.fetch(_QUARANTINE, run_id)],
        "conflicts": [_plain(row) for row in await connection.fetch(_CONFLICTS, run_id, limit)],
        "checkpoints": [_plain(row) for row in await connection.fetch(_CHECKPOINTS, run_id, limit)],
        "audit": [_plain(row) for row in await connection.fetch(_AUDIT, run_id, limit)],
        "counts": dict(counts) if counts else {},
    }


def shortened(text: str) -> str:
    """E-mail addresses in a text, without what tells the person."""
    return _EMAIL.sub(r"\1…@\2", text)


def _run(row: Any) -> dict[str, Any]:
    found = _plain(row)
    report = document(found.pop("report") or "{}", "the report of a run")
    written = report.get("rows", {}).values()
    vessels = report.get("vessels", {})
    return {
        **found,
        "selected": vessels.get("selected"),
        "done": vessels.get("done"),
        "skipped": vessels.get("skipped"),
        "failed": vessels.get("failed"),
        "rows": sum(table["inserted"] + table["updated"] for table in written),
        "warnings": report.get("findings", {}).get("warnings", 0),
        "errors": report.get("findings", {}).get("errors", 0),
    }


def _plain(row: Any) -> dict[str, Any]:
    made = dict(row)
    for key, value in made.items():
        if hasattr(value, "isoformat"):
            made[key] = value.isoformat()
    for key in ("operator", "selection", "summary"):
        if key in made:
            made[key] = shortened(made[key])
    return made
