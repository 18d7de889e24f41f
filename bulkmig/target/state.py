"""What the target holds before a run, as far as decisions need it: a few set queries."""

from __future__ import annotations

from msgspec import Struct, field

from bulkmig.entities import DIGITS
from bulkmig.ledger import schema
from bulkmig.postgres.session import Connection, transaction


class Mark(Struct):
    """A vessel's entry in the ledger."""

    state: str
    run_id: str


class PortalUser(Struct, frozen=True):
    """A user of the target. `source_id`: the source row that it was migrated from, if any."""

    id: str
    company_id: str
    email: str
    source_id: str | None


class TargetState(Struct):
    """Portal rows by natural key, and what the ledger has recorded.

    identities   company, user, vessel -> source id -> (target id, adopted); only rows that are still there
    recorded     entity -> source id -> target id, also of rows that the portal deleted since, and of rows of
                 vessels that have moved to another one
    retains      whether equipment stays that the source has no more
    marks        by vessel, that which waited longest first
    """

    companies: dict[str, str] = field(default_factory=dict)  # slug -> id
    users: list[PortalUser] = field(default_factory=list)
    vessels: dict[str, str] = field(default_factory=dict)  # imo -> id
    foreign_qr: frozenset[str] = frozenset()
    retains: bool = False
    identities: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)
    recorded: dict[str, dict[str, str]] = field(default_factory=dict)
    slugs: dict[str, str] = field(default_factory=dict)
    qr_codes: dict[str, str] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    ledger: int = 0

    def source_of(self, entity: str) -> dict[str, str]:
        """target id -> source id of the rows of an entity that bulkmig wrote."""
        return {target: source for source, target in self.recorded.get(entity, {}).items()}


# All of it by one query; `at`: the order that counts for marks. No row of the source tells of retained
# equipment, and it may come back: its code is its own.
_LEDGER = """
SELECT l.kind, l.key, l.value, l.more FROM (
    SELECT i.entity AS kind, i.source_id::text AS key, i.target_id::text AS value,
           CASE WHEN i.adopted THEN 'adopted' END AS more, NULL::timestamptz AS at FROM bulkmig.identities i
    UNION ALL
    SELECT '/slug', s.company_id::text, s.slug, NULL, NULL FROM bulkmig.slugs s
    UNION ALL
    SELECT '/qr_code', q.equipment_id::text, q.qr_code, NULL, NULL FROM bulkmig.qr_codes q
    UNION ALL
    SELECT '/retained', r.source_id::text, e.qr_code, NULL, NULL
      FROM bulkmig.retained r JOIN equipment e ON e.id = r.target_id WHERE r.entity = 'equipment'
    UNION ALL
    SELECT '/mark', v.vessel_id::text, v.state, v.run_id::text, v.finished_at FROM bulkmig.vessels v
) l ORDER BY l.at, l.key
"""
_PORTAL = """
SELECT 'company' AS kind, c.id::text AS id, c.slug AS value, NULL AS company FROM companies c
UNION ALL
SELECT 'user', u.id::text, u.email, u.company_id::text FROM users u
UNION ALL
SELECT 'vessel', v.id::text, v.imo_number, NULL FROM vessels v
"""
_OWN_QR = "SELECT qr_code FROM equipment"
# The version digit and the entity's: what only ids that bulkmig derives begin their third group with. What
# follows (ids.py) are the digits of the hash that a code of bulkmig's has too, unless the portal changed it.
_FOREIGN_QR = f"""
SELECT qr_code FROM (
    SELECT qr_code, id::text AS t FROM equipment LIMIT 1000000000000 OFFSET 0  -- the id is written once a row
) e WHERE substr(t, 15, 2) <> '8{DIGITS["equipment"]}'
       OR replace(qr_code, '-' || substr(t, 17, 2) || substr(t, 21, 3) || substr(t, 25, 1), '') = qr_code
"""


async def read(connection: Connection, ledger: int | None = None) -> TargetState:
    """Reads the state in one snapshot; works without a ledger. `ledger`: its version, where that is known."""
    state = TargetState(ledger=await schema.version(connection) if ledger is None else ledger)
    async with transaction(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
        if state.ledger:
            await _read_ledger(connection, state)
        sources = state.source_of("user")
        present: dict[str, set[str]] = {"company": set(), "user": set(), "vessel": set()}
        for kind, id_, value, company in await connection.fetch(_PORTAL):
            present[kind].add(id_)
            if kind == "company":
                state.companies[value] = id_
            elif kind == "user":
                state.users.append(PortalUser(id_, company, value, sources.get(id_)))
            elif value is not None:
                state.vessels[value] = id_
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
    retained: dict[str, str] = {}
    for kind, key, value, more in await connection.fetch(_LEDGER):
        if kind == "/slug":
            state.slugs[key] = value
        elif kind == "/qr_code":
            state.qr_codes[key] = value
        elif kind == "/retained":
            retained[key] = value
        elif kind == "/mark":
            state.marks[key] = Mark(value, more)
        else:
            state.identities.setdefault(kind, {})[key] = (value, more is not None)
            state.recorded.setdefault(kind, {})[key] = value
    state.qr_codes = retained | state.qr_codes
    state.foreign_qr = frozenset(retained.values())
    state.retains = bool(retained)
