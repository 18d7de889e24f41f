"""Statements that are PostgreSQL's alone, with what says the same in SQLite. A statement is found by its
text, so one that changes is missed here and then refused by `translate`."""

from __future__ import annotations

import re


def normal(sql: str) -> str:
    """A statement with single blanks, by which its variant is found."""
    return re.sub(r"\s+", " ", sql).strip().rstrip(";")


_PAIRS: list[tuple[str, str]] = [
    # Which transactions wrote something: SQLite doesn't record it.
    (
        "SELECT xmin::text AS x FROM bulkmig.checkpoints WHERE id = ANY ($1::text[]::uuid[]) UNION SELECT"
        " xmin::text FROM bulkmig.base WHERE checkpoint_id = ANY ($1::text[]::uuid[])",
        "SELECT NULL AS x WHERE $1 IS NULL",
    ),
    # Equipment by source id: through the view, which spells the column, no index would find it.
    (
        "SELECT i.id::text AS source_id, m.equipment_id::text AS target_id, q.source_id IS NOT NULL AS out"
        " FROM unnest($1::text[]::uuid[]) AS i (id) LEFT JOIN equipment_metadata m ON m.original_id = i.id"
        " LEFT JOIN bulkmig.quarantine q ON q.entity = 'equipment' AND q.source_id = i.id",
        "SELECT i.value AS source_id, n.uuid AS target_id, q.source_id IS NOT NULL AS out"
        " FROM json_each($1) i LEFT JOIN main.equipment_metadata m ON m.original_id = i.value"
        " LEFT JOIN bulkmig_ids n ON n.tbl = 'equipment' AND n.id = m.equipment_id"
        " LEFT JOIN bulkmig_quarantine q ON q.entity = 'equipment' AND q.source_id = i.value",
    ),
    # Whether a column may be NULL and holds text.
    (
        "SELECT NOT a.attnotnull AS nullable, t.typcategory = 'S' AS text FROM pg_attribute a JOIN pg_type t"
        " ON t.oid = a.atttypid WHERE a.attrelid = $1::text::regclass AND quote_ident(a.attname) = $2",
        "SELECT NOT \"notnull\" AS nullable, 1 AS text FROM pragma_table_info($1, 'main') WHERE name = $2",
    ),
    # Retention.
    (
        "SELECT id::text AS id, vessel_id, restored::text AS restored, together::text[] AS together,"
        " row_number() OVER (PARTITION BY vessel_id ORDER BY seq DESC) > $1 AND created_at <"
        " clock_timestamp() - make_interval(secs => $2 * 86400.0) AS old FROM bulkmig.checkpoints"
        " ORDER BY seq",
        "SELECT id, vessel_id, restored, together, row_number() OVER (PARTITION BY vessel_id ORDER BY seq"
        " DESC) > $1 AND epoch(created_at) < epoch(clock_timestamp()) - $2 * 86400.0 AS old"
        " FROM bulkmig_checkpoints ORDER BY seq",
    ),
    (
        "DELETE FROM bulkmig.base b WHERE NOT holds AND NOT EXISTS (SELECT FROM bulkmig.checkpoints c WHERE"
        " c.id = b.checkpoint_id) AND NOT EXISTS (SELECT FROM (SELECT unnest(base) AS id FROM"
        " bulkmig.checkpoints) c WHERE c.id = b.id)",
        "DELETE FROM bulkmig_base AS b WHERE NOT holds AND NOT EXISTS (SELECT 1 FROM bulkmig_checkpoints c"
        " WHERE c.id = b.checkpoint_id) AND b.id NOT IN (SELECT u.value FROM bulkmig_checkpoints c,"
        " json_each(c.base) u)",
    ),
    ("LOCK TABLE bulkmig.checkpoints IN SHARE ROW EXCLUSIVE MODE", "SELECT 1"),
    ("LOCK TABLE bulkmig.access, bulkmig.permissions IN SHARE ROW EXCLUSIVE MODE", "SELECT 1"),
]
VARIANTS = {normal(one): other for one, other in _PAIRS}
