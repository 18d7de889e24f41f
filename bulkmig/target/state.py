"""What the target holds before a run, as far as decisions need it: a few set queries."""

from __future__ import annotations

from dataclasses import dataclass, field

from bulkmig.decide.users import PortalUser
from bulkmig.entities import DIGITS
from bulkmig.ledger import schema
from bulkmig.postgres.session import Connection, pairs, transaction


@dataclass
class Mark:
    """A vessel's entry in the ledger."""

    state: str
    run_id: str


@dataclass
class TargetState:
    """Portal rows by natural key, and what the ledger has recorded.

    identities   company, user, vessel -> source id -> (target id, adopted); only rows that are still there
    recorded     entity -> source id -> target id, also of rows that the portal deleted since, and of rows of
                 vessels that have moved to another one
    """

    companies: dict[str, str] = field(default_factory=dict)  # slug -> id
    users: list[PortalUser] = field(default_factory=list)
    vessels: dict[str, str] = field(default_factory=dict)  # imo -> id
    foreign_qr: frozenset[str] = frozenset()
    identities: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)
    recorded: dict[str, dict[str, str]] = field(default_factory=dict)
    slugs: dict[str, str] = field(default_factory=dict)
    qr_codes: dict[str, str] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    ledger: int = 0

    def source_of(self, entity: str) -> dict[str, str]:
        """target id -> source id of the rows of an entity that bulkmig wrote."""
        return {target: source for source, target in self.recorded.get(entity, {}).items()}


_OWN_QR = "SELECT qr_code FROM equipment"
# The version digit and the entity's: what only ids that bulkmig derives begin their third group with. What
# follows (ids.py) are the digits of the hash that a code of bulkmig's has too, unless the portal changed it.
_FOREIGN_QR = f"""
SELECT qr_code FROM equipment
 WHERE substr(id::text, 15, 2) <> '8{DIGITS["equipment"]}'
    OR qr_code NOT LIKE
       '%-' || substr(id::text, 17, 2) || substr(id::text, 21, 3) || substr(id::text, 25, 1) || '%'
"""
# Codes of equipment whose source row is gone: no row of the source tells of them, and it may come back.
_RETAINED_QR = """
SELECT r.source_id::text, e.qr_code FROM bulkmig.retained r JOIN equipment e ON e.id = r.target_id
 WHERE r.entity = 'equipment'
"""


async def read(connection: Connection) -> TargetState:
    """Reads the state in one snapshot; works without a ledger."""
    state = TargetState(ledger=await schema.version(connection))
    async with transaction(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
        if state.ledger:
            await _read_ledger(connection, state)
        sources = state.source_of("user")
        state.companies = pairs(await connection.fetch("SELECT slug, id::text FROM companies"))
        state.users = [
            PortalUser(row["id"], row["company_id"], row["email"], sources.get(row["id"]))
            for row in await connection.fetch(
                "SELECT id::text, company_id::text AS company_id, email FROM users"
            )
        ]
        vessels = await connection.fetch("SELECT id::text AS id, imo_number FROM vessels")
        state.vessels = {row["imo_number"]: row["id"] for row in vessels if row["imo_number"] is not None}
        present = {
            "company": set(state.companies.values()),
            "user": {user.id for user in state.users},
            "vessel": {row["id"] for row in vessels},
        }
        state.identities = {
            entity: {s: found for s, found in rows.items() if found[0] in present[entity]}
            for entity, rows in state.identities.items()
            if entity in present
        }
        # Before bulkmig's first vessel all equipment is the portal's.
        query = _FOREIGN_QR if state.marks else _OWN_QR
        state.foreign_qr |= frozenset(row["qr_code"] for row in await connection.fetch(query))
    return state


async def _read_ledger(connection: Connection, state: TargetState) -> None:
    for row in await connection.fetch(
        "SELECT entity, source_id::text, target_id::text, adopted FROM bulkmig.identities"
    ):
        state.identities.setdefault(row["entity"], {})[row["source_id"]] = (row["target_id"], row["adopted"])
        state.recorded.setdefault(row["entity"], {})[row["source_id"]] = row["target_id"]
    state.slugs = pairs(await connection.fetch("SELECT company_id::text, slug FROM bulkmig.slugs"))
    retained = pairs(await connection.fetch(_RETAINED_QR))
    assigned = pairs(await connection.fetch("SELECT equipment_id::text, qr_code FROM bulkmig.qr_codes"))
    state.qr_codes = retained | assigned
    state.foreign_qr = frozenset(retained.values())
    for row in await connection.fetch("SELECT vessel_id::text, state, run_id::text FROM bulkmig.vessels"):
        state.marks[row["vessel_id"]] = Mark(row["state"], row["run_id"])
