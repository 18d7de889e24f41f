"""Changes that people make to a source: each is one statement, seeded, and leaves the fleet in order."""

from __future__ import annotations

from random import Random

import asyncpg

_PICK = "(SELECT id FROM {table} ORDER BY md5(id::text || '{seed}') LIMIT {n})"

NOW = "updated_at = now() WHERE id IN"

CHANGES = {
    "equipment is renamed": f"UPDATE equipment SET name = name || ' {{seed}}', {NOW} {{equipment}}",
    "equipment changes in its details": "UPDATE equipment SET notes = 'n{seed}', quality_score = {n},"
    ' metadata = \'{{"last_maintenance_date": "2024-02-29"}}\','
    f" {NOW} {{equipment}}",
    "equipment gets another place": "UPDATE equipment e SET location_id = (SELECT l.id FROM locations l"
    " WHERE l.vessel_id = e.vessel_id ORDER BY md5(l.id::text || '{seed}') LIMIT 1),"
    f" {NOW} {{equipment}}",
    "equipment is deleted": "DELETE FROM equipment WHERE id IN {equipment}",
    "equipment is new": "INSERT INTO equipment (id, vessel_id, name, status, created_at, updated_at)"
    " SELECT gen_random_uuid(), v.id, 'new {seed}', 'ACTIVE', now(), now() FROM vessels v,"
    " generate_series(1, {n})",
    "a part changes": f"UPDATE critical_parts SET current_stock = {{n}}, {NOW} {{critical_parts}}",
    "a part is deleted": "DELETE FROM critical_parts WHERE id IN {critical_parts}",
    "a part is new": "INSERT INTO critical_parts (id, equipment_id, name, created_at, updated_at)"
    " SELECT gen_random_uuid(), e.id, 'part {seed}', now(), now() FROM equipment e WHERE e.id IN {equipment}",
    "a document goes to its vessel": f"UPDATE documents SET equipment_id = NULL, {NOW} {{documents}}",
    "a document goes to equipment": "UPDATE documents d SET equipment_id = (SELECT e.id FROM equipment e"
    " WHERE e.vessel_id = d.vessel_id ORDER BY md5(e.id::text || '{seed}') LIMIT 1),"
    f" {NOW} {{documents}}",
    "a document is deleted": "DELETE FROM documents WHERE id IN {documents}",
    "a score changes": f"UPDATE quality_scores SET score = {{n}}, {NOW} {{quality_scores}}",
    "a score is deleted": "DELETE FROM quality_scores WHERE id IN {quality_scores}",
    "a reference is deleted": "DELETE FROM cross_references WHERE id IN {cross_references}",
    "a reference is new": "INSERT INTO cross_references (id, vessel_id, source_equipment_id,"
    " target_equipment_id, reference_type, created_at, updated_at)"
    " SELECT gen_random_uuid(), a.vessel_id, a.id, b.id, 'near', now(), now() FROM equipment a, equipment b"
    " WHERE a.id IN {equipment}"
    " AND b.id = (SELECT id FROM equipment ORDER BY md5(id::text || 'x{seed}') LIMIT 1)",
    "a place is renamed": f"UPDATE locations SET name = name || '{{seed}}', {NOW} {{locations}}",
    "a place moves to the root": f"UPDATE locations SET parent_id = NULL, {NOW} {{locations}}",
    "a user changes": f"UPDATE users SET first_name = 'f{{seed}}', phone = '{{n}}', {NOW} {{users}}",
    "a user is deleted": "DELETE FROM users WHERE id IN {users}",
    "a company changes": "UPDATE companies SET name = name || '{seed}',"
    ' settings = \'{{"branding": {{"primaryColor": "#{n}"}}}}\','
    f" {NOW} {{companies}}",
    "a vessel changes": f"UPDATE vessels SET name = name || '{{seed}}', flag = 'NO', {NOW} {{vessels}}",
}
_TABLES = (
    "equipment", "critical_parts", "documents", "quality_scores", "cross_references", "locations", "users",
    "companies", "vessels",
)  # fmt: skip


async def change(url: str, name: str, seed: int) -> int:
    """Makes one change; returns how many rows it touched."""
    rng = Random(seed)
    n = rng.randint(1, 3)
    picks = {table: _PICK.format(table=table, seed=seed, n=n) for table in _TABLES}
    connection = await asyncpg.connect(url)
    try:
        # The contract's source has no rule for what hangs on a row that goes.
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            status = await connection.execute(CHANGES[name].format(seed=seed, n=n, **picks))
    finally:
        await connection.close()
    return int(status.rpartition(" ")[2])
