"""What people do in the Maintenance Portal."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.model.session import Session
from tests.model.tables import LINKS, THING_OF
from tests.oracle.contract import KEYS, TABLES
from tests.oracle.draft import Cell, Row

UNIQUE = "(a text of its own)"
TEXT: tuple[Cell, ...] = (UNIQUE, UNIQUE, None)
DATES: tuple[Cell, ...] = (None, "2019-06-30", "2026-01-01")
JSON: tuple[Cell, ...] = ('{"portal": 1}', "{}", None)
POOLS: dict[str, dict[str, tuple[Cell, ...]]] = {
    "companies": {"name": (UNIQUE,), "logo_url": TEXT, "primary_color": TEXT},
    "company_settings": {"timezone": TEXT, "is_active": ("true", "false"), "original_settings": JSON},
    "users": {
        "first_name": TEXT,
        "role": ("manager", "admin"),
        "is_active": ("true", "false"),
        "email": (UNIQUE,),
    },
    "user_metadata": {"phone": TEXT, "settings": JSON},
    "vessels": {
        "name": (UNIQUE,),
        "status": ("inactive", "onboarding"),
        "image_url": TEXT,
        "imo_number": (UNIQUE, None),
    },
    "vessel_details": {
        "flag": TEXT,
        "gross_tonnage": ("1.00", "55.00", None),
        "year_built": ("1950", "2020"),
        "metadata": JSON,
    },
    "equipment": {
        "name": (UNIQUE,),
        "manufacturer": TEXT,
        "location": TEXT,
        "status": ("fault", "maintenance", "operational", "decommissioned"),
        "installation_date": DATES,
        "last_maintenance_date": DATES,
        "specifications": ('{"portal": 1}', "{}"),
    },
    "equipment_metadata": {"quality_score": ("1", "60", None), "notes": TEXT, "warranty_expiry": DATES},
    "critical_parts": {
        "description": TEXT,
        "current_stock": ("1", "8", None),
        "causes_failure": ("true", "false"),
    },
    "part_details": {"quantity_per_equipment": ("1", "4", None), "manufacturer": TEXT},
    "equipment_documents": {
        "file_name": (UNIQUE,),
        "file_size": ("5", "500", None),
        "document_type": ("image", "other"),
    },
    "document_details": {"mime_type": TEXT},
    "quality_scores": {
        "score": ("0", "55", "100"),
        "category": (UNIQUE,),
        "assessed_at": ("2023-01-01 00:00:00+00", "2026-01-01 00:00:00+00"),
    },
    "cross_references": {"notes": TEXT, "reference_type": (UNIQUE,)},
    "maintenance_logs": {"description": (UNIQUE,)},
}
NUMBERS = ("9074729", "9319466", "9321483")
DELETABLE = (
    "critical_parts",
    "equipment_documents",
    "quality_scores",
    "cross_references",
    "maintenance_logs",
    "equipment",
    "users",
)
OWN = (
    "maintenance_logs",
    "equipment",
    "equipment_documents",
    "quality_scores",
    "cross_references",
    "users",
    "companies",
    "vessels",
)


def rows(session: Session, table: str) -> list[Row]:
    """The rows of a table of the target, in an order that doesn't change."""
    return sorted(session.state.tables.rows(table), key=lambda row: [repr(row[key]) for key in KEYS[table]])


async def _put(session: Session, table: str, row: Row, what: str) -> None:
    session.log.append(f"portal: {what} {table} {row[KEYS[table][0]]}")
    session.state.tables.put(table, row)
    await session.mirror.put_target(table, row)


async def change(session: Session, table: str, which: int, column: int, value: int, *, moves: bool) -> None:
    """Changes a cell of a row, bulkmig's or the portal's own; `moves`: and its main row's `updated_at`."""
    found = rows(session, table)
    if not found:
        return
    row = dict(found[which % len(found)])
    if session.is_settled(table, row):
        return
    name, values = list(POOLS[table].items())[column % len(POOLS[table])]
    new = values[value % len(values)]
    new = session.clock.word("portal") if new == UNIQUE else new
    await set_cell(session, table, row, name, new, moves=moves)


async def set_cell(
    session: Session, table: str, row: Row, name: str, value: Cell, *, moves: bool = True
) -> None:
    """Sets a cell of this row."""
    if session.between(row[KEYS[table][0]]):
        return
    row = {**row, name: value}
    await _put(session, table, row, f"sets {name} to {value!r} in")
    if moves:
        await _touch(session, table, row)


async def _touch(session: Session, table: str, row: Row) -> None:
    thing = next(thing for thing in THING_OF.values() if table == thing.table or table in thing.details)
    main = session.state.tables.get(thing.table, row[thing.details.get(table, "id")])
    if main is not None:
        await _put(session, thing.table, {**main, "updated_at": session.clock.moment()}, "touches")


async def delete(session: Session, table: str, which: int) -> None:
    """Deletes a row that nothing holds."""
    tables = session.state.tables
    found = [row for row in rows(session, table) if not tables.is_used(table, row["id"])]
    if not found:
        return
    row = found[which % len(found)]
    id_ = row["id"]
    if session.is_settled(table, row) or session.leaves(id_) or session.assessed(id_) or session.between(id_):
        return
    session.log.append(f"portal: deletes {table} {row['id']}")
    tables.delete(table, row)
    await session.mirror.delete_target(table, row)


async def add(
    session: Session, table: str, one: int, other: int, on: Mapping[str, Cell] = MappingProxyType({})
) -> None:
    """A row of the portal's own: one that natural keys may adopt, or one that hangs on bulkmig's. `on`: its
    key, or what it hangs on, by column."""
    clock = session.clock
    now = clock.moment()
    row: Row = dict.fromkeys(TABLES[table])
    row |= {"id": clock.id(80), "created_at": now, "updated_at": now}
    chosen: dict[str, Cell] = {}
    for link in LINKS:
        if link.child == table:
            there = rows(session, link.parent)
            if not there:
                return
            number = other if link.column in ("target_equipment_id", "performed_by", "assessed_by") else one
            chosen[link.column] = there[number % len(there)]["id"]
    row |= chosen
    word = clock.word("own")
    values: dict[str, Row] = {
        "companies": {"name": word, "slug": ("acme", "blue-line", "acme-2", word)[one % 4]},
        "users": {
            "email": ("bob@x.org", "BOB@x.org", "cid@x.org", "eve@x.org")[other % 4],
            "role": "admin",
            "is_active": "true",
        },
        "vessels": {
            "name": word,
            "imo_number": NUMBERS[other % 3],
            "status": "operational",
        },
        "equipment": {"name": word, "qr_code": word, "status": "operational", "specifications": "{}"},
        "equipment_documents": {
            "equipment_id": None,
            "document_type": "other",
            "file_name": word,
            "file_path": word,
        },
        "quality_scores": {"equipment_id": None, "category": word, "score": "50", "assessed_at": now},
        "cross_references": {"reference_type": word},
        "maintenance_logs": {"performed_at": now, "description": word},
    }
    row |= values[table] | dict(on)
    if any(_is_taken(session, table, column, row) for column in ("slug", "email", "imo_number")):
        return
    if table == "cross_references":
        machine = session.state.tables.get("equipment", row["source_equipment_id"])
        row["vessel_id"] = None if machine is None else machine["vessel_id"]
    await _put(session, table, row, "adds")
    if table == "equipment_documents":
        vessels = rows(session, "vessels")
        if vessels:
            listed: Row = {"vessel_id": vessels[one % len(vessels)]["id"], "document_id": row["id"]}
            await _put(session, "vessel_documents", listed, "lists")


def _is_taken(session: Session, table: str, column: str, row: Row) -> bool:
    if row.get(column) is None:
        return False
    if column == "slug" and any(
        slug.suffixed and slug.text == row[column] for slug in session.state.slugs.values()
    ):
        return True  # assigned, and never changed: two can't have it
    return any(other[column] == row[column] for other in session.state.tables.rows(table))


async def change_row(session: Session, table: str, id_: Cell, column: int, value: int) -> None:
    """Changes a cell of the row with this id."""
    numbers = [number for number, row in enumerate(rows(session, table)) if row["id"] == id_]
    if numbers:
        await change(session, table, numbers[0], column, value, moves=True)


async def delete_row(session: Session, table: str, id_: Cell) -> None:
    """Deletes the row with this id, if nothing holds it."""
    tables = session.state.tables
    found = [row for row in rows(session, table) if not tables.is_used(table, row["id"])]
    numbers = [number for number, row in enumerate(found) if row["id"] == id_]
    if numbers:
        await delete(session, table, numbers[0])
