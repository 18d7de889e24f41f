"""What people do in the Onboarding Portal. Each step takes numbers that choose, and says what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.model.session import Session
from tests.model.start import KIND, new_row
from tests.oracle.source import SourceRow, identity

UNIQUE = "(a text of its own)"
DANGLING = "99999999-0000-4000-8000-000000000000"
Pool = dict[str, tuple[str | None, ...]]

TEXT = (UNIQUE, UNIQUE, None, "", "same text")
DATES = (None, "2020-01-31", "2023-07-15", "infinity", "0044-03-15 BC")
TOO_LARGE = '{"n": 1E200000}'
JSON = (None, "{}", '{"b": [1, 2.50], "a": null}', '{"a": "x\\u0000y"}')

POOLS: dict[str, Pool] = {
    "companies": {
        "name": (UNIQUE,),
        "contact_email": (UNIQUE, None, "a@b.org"),
        "timezone": (None, "Europe/Oslo", "Mars/Deimos"),
        "settings": (*JSON, '{"branding": {"logo": "/logo"}}', TOO_LARGE),
        "is_active": ("true", "false"),
    },
    "users": {
        "email": (UNIQUE, "ann@x.org", "bob@x.org", "BOB@x.org", "cid@x.org", "eve@x.org"),
        "first_name": TEXT,
        "role": ("ADMIN", "MANAGER", "HSE_OFFICER", "VIEWER"),
        "phone": (None, "1", "2"),
        "is_active": ("true", "false"),
        "settings": (*JSON, TOO_LARGE),
    },
    "vessels": {
        "name": (UNIQUE,),
        "imo_number": (None, "", "9074729", "9319466", "9321483", "9241061", "123"),
        "gross_tonnage": (None, "0.50", "99.00"),
        "year_built": (None, "1999", "2010", "1700"),
        "onboarding_status": ("APPROVED", "APPROVED", "REJECTED", "SUBMITTED"),
        "metadata": (*JSON, '{"image_url": "/image"}', TOO_LARGE),
        "flag": TEXT,
    },
    "locations": {"name": (UNIQUE, "Deck")},
    "equipment": {
        "name": (UNIQUE, UNIQUE, UNIQUE, None, " "),
        "code": (UNIQUE, None, "P-1"),
        "manufacturer": TEXT,
        "serial_number": (None, "S1", "S2"),
        "criticality": (None, "CRITICAL", "LOW"),
        "status": (None, "ACTIVE", "DRAFT", "REMOVED"),
        "installation_date": DATES,
        "warranty_expiry": DATES,
        "specifications": (*JSON, "[1]", '{"criticality": "own"}', TOO_LARGE),
        "maintenance_interval_days": (None, "0", "30", "365"),
        "quality_score": (None, "5", "50", "500"),
        "notes": TEXT,
        "metadata": (None, '{"last_maintenance_date": "2024-01-05"}', '{"last_maintenance_date": 1}'),
        "last_verified_at": (None, "2024-01-01 10:00:00+00", "infinity"),
    },
    "critical_parts": {
        "name": TEXT,
        "part_number": (None, "1", "n" * 120),
        "criticality": (None, "CRITICAL", "LOW"),
        "quantity": (None, "1", "2"),
        "current_stock": (None, "-1", "5", "9"),
        "minimum_stock": (None, "2", "7"),
    },
    "documents": {
        "document_type": ("MANUAL", "PHOTO", "REPORT"),
        "name": (UNIQUE,),
        "file_path": (UNIQUE, "https://x.org/file"),
        "file_size": (None, "1", "200", "3000000000"),
        "mime_type": TEXT,
    },
    "quality_scores": {
        "category": (UNIQUE,),
        "score": ("10", "90", "100", "101"),
        "assessed_at": ("2024-01-01 00:00:00+00", "2025-01-01 00:00:00+00"),
    },
    "cross_references": {"reference_type": (UNIQUE,), "notes": TEXT},
}
REFERENCES = {
    ("users", "company_id"): "companies",
    ("vessels", "company_id"): "companies",
    ("locations", "parent_id"): "locations",
    ("equipment", "location_id"): "locations",
    ("equipment", "verified_by"): "users",
    ("critical_parts", "equipment_id"): "equipment",
    ("documents", "equipment_id"): "equipment",
    ("quality_scores", "equipment_id"): "equipment",
    ("quality_scores", "assessed_by"): "users",
    ("cross_references", "source_equipment_id"): "equipment",
    ("cross_references", "target_equipment_id"): "equipment",
}  # fmt: skip
ENFORCED = frozenset({("users", "company_id"), ("vessels", "company_id")})
NOT_NULL = ENFORCED | {
    (table, column) for table, column in REFERENCES if table in ("critical_parts", "cross_references")
}


def choose(options: Sequence[SourceRow], number: int) -> SourceRow | None:
    """One of them."""
    return options[number % len(options)] if options else None


async def _write(session: Session, table: str, row: SourceRow, what: str) -> None:
    session.log.append(f"source: {what} {table} {row['id']}")
    await session.mirror.put_source(table, row)


async def change(session: Session, table: str, which: int, column: int, value: int, *, moves: bool) -> None:
    """Changes a column of a row; `moves`: and its `updated_at`."""
    row = choose(session.onboarding.rows(table), which)
    pool = list(POOLS[table].items())
    if row is None:
        return
    name, values = pool[column % len(pool)]
    new = values[value % len(values)]
    new = session.clock.word(name) if new == UNIQUE else new
    if (
        name == "imo_number"
        and new is not None
        and any(
            other["imo_number"] == new and other is not row for other in session.onboarding.rows("vessels")
        )
    ):
        await exchange(session, row, new)
        return
    await _change(session, table, row, {name: new}, moves=moves)


async def _change(
    session: Session, table: str, row: SourceRow, values: dict[str, str | None], *, moves: bool = True
) -> None:
    if moves:
        values = {**values, "updated_at": session.clock.moment()}
    else:
        session.unmoved = True
    made = session.onboarding.change(table, identity(row), **values)
    await _write(session, table, made, f"changes {values} of")


async def exchange(session: Session, row: SourceRow, imo: str) -> None:
    """Two vessels exchange their IMO numbers."""
    other = next(one for one in session.onboarding.rows("vessels") if one["imo_number"] == imo)
    await _write(session, "vessels", {**other, "imo_number": None}, "frees")
    await _change(session, "vessels", row, {"imo_number": imo})
    await _change(session, "vessels", other, {"imo_number": row["imo_number"]})


async def refer(session: Session, which: int, row_number: int, to: int) -> None:
    """Lets a reference name another row, nothing, or a row that there isn't."""
    pairs = list(REFERENCES.items())
    (table, column), named = pairs[which % len(pairs)]
    row = choose(session.onboarding.rows(table), row_number)
    if row is None:
        return
    candidates = session.onboarding.rows(named)
    if column == "location_id":
        candidates = [one for one in candidates if one["vessel_id"] == row["vessel_id"]]
    if table == "critical_parts":
        candidates = [one for one in candidates if session.may_hang(identity(row), one)]
    ids: list[str | None] = [identity(one) for one in candidates]
    if (table, column) not in ENFORCED:
        ids.append(DANGLING)
    if (table, column) not in NOT_NULL:
        ids.append(None)
    if ids:
        await _change(session, table, row, {column: ids[to % len(ids)]})


async def insert(session: Session, table: str, parent: int, other: int) -> None:
    """A new row."""
    source = session.onboarding
    vessel, machine = choose(source.rows("vessels"), parent), choose(source.rows("equipment"), parent)
    company, user = choose(source.rows("companies"), parent), choose(source.rows("users"), other)
    second = choose(source.rows("equipment"), other)
    if vessel is None or machine is None or company is None or second is None:
        return
    clock, on = session.clock, {"vessel_id": machine["vessel_id"], "equipment_id": machine["id"]}
    place = choose([row for row in source.rows("locations") if row["vessel_id"] == vessel["id"]], other)
    values: dict[str, dict[str, str | None]] = {
        "companies": {"name": clock.word("Company"), "code": clock.word("C")},
        "users": {"company_id": company["id"], "email": (f"u{clock.ticks}@x.org", "eve@x.org")[other % 2]},
        "vessels": {"company_id": company["id"], "imo_number": None, "name": clock.word("Vessel")},
        "locations": {"vessel_id": vessel["id"], "name": clock.word("Place")},
        "equipment": {
            "vessel_id": vessel["id"],
            "location_id": None if place is None else place["id"],
            "code": clock.word("E"),
        },
        "critical_parts": {"equipment_id": machine["id"], "name": clock.word("Part")},
        "documents": {**on, "name": clock.word("Document")},
        "quality_scores": {**on, "assessed_by": None if user is None else user["id"]},
        "cross_references": {
            "vessel_id": machine["vessel_id"],
            "source_equipment_id": machine["id"],
            "target_equipment_id": second["id"],
        },
    }
    await add(session, table, **values[table])


async def add(session: Session, table: str, **values: str | None) -> str:
    """A new row with these values; returns its id."""
    row = new_row(session.onboarding, session.clock, table, **values)
    await _write(session, table, row, "adds")
    return identity(row)


HANGING = {
    "companies": (("vessels", "company_id"), ("users", "company_id")),
    "vessels": tuple(
        (table, "vessel_id")
        for table in ("locations", "equipment", "documents", "quality_scores", "cross_references")
    ),
    "equipment": (
        ("critical_parts", "equipment_id"),
        ("documents", "equipment_id"),
        ("quality_scores", "equipment_id"),
        ("cross_references", "source_equipment_id"),
        ("cross_references", "target_equipment_id"),
    ),
}


async def delete(session: Session, table: str, which: int, *, whole: bool, logged: bool) -> None:
    """Deletes a row; what hangs on it goes along where it has to, or all of it if `whole`."""
    row = choose(session.onboarding.rows(table), which)
    if row is not None:
        await _delete(session, table, identity(row), whole=whole or table != "equipment", logged=logged)


async def _delete(session: Session, table: str, id_: str, *, whole: bool, logged: bool) -> None:
    for hanging, column in HANGING.get(table, ()) if whole else ():
        for row in session.onboarding.rows(hanging):
            if row[column] == id_ and identity(row) in session.onboarding.of[hanging]:
                await _delete(session, hanging, identity(row), whole=True, logged=logged)
    session.onboarding.delete(table, id_)
    session.log.append(f"source: deletes {table} {id_}")
    await session.mirror.delete_source(table, id_, logged=logged)


async def move(session: Session, which: int, to: int) -> None:
    """Moves equipment to another vessel with its documents and scores."""
    source = session.onboarding
    row = choose(source.rows("equipment"), which)
    vessels = [
        one
        for one in source.rows("vessels")
        if row is not None and one["id"] != row["vessel_id"] and session.may_move(row, one)
    ]
    vessel = choose(vessels, to)
    if row is None or vessel is None:
        return
    session.has_moved(row)
    values = {"vessel_id": vessel["id"]}
    await _change(session, "equipment", row, {**values, "location_id": None})
    for table, entity, end in (
        ("documents", "document", "equipment_id"),
        ("quality_scores", "quality_score", "equipment_id"),
        ("cross_references", "cross_reference", "source_equipment_id"),
    ):
        for hanging in source.rows(table):
            if hanging[end] == row["id"] and not session.went(entity, hanging):
                await _change(session, table, hanging, values)


async def approve(session: Session) -> None:
    """A vessel that wasn't approved is."""
    for row in session.onboarding.rows("vessels"):
        if row["onboarding_status"] != "APPROVED":
            await _change(session, "vessels", row, {"onboarding_status": "APPROVED"})
            return


TABLES = tuple(KIND)


async def change_row(session: Session, table: str, id_: str, column: int, value: int) -> None:
    """Changes a column of this row."""
    rows = session.onboarding.rows(table)
    numbers = [number for number, row in enumerate(rows) if identity(row) == id_]
    if numbers:
        await change(session, table, numbers[0], column, value, moves=True)


async def set_cells(session: Session, table: str, id_: str, values: Mapping[str, str | None]) -> None:
    """Sets these columns of this row."""
    await _change(session, table, session.onboarding.of[table][id_], dict(values))


async def delete_row(session: Session, table: str, id_: str, *, whole: bool = True) -> None:
    """Deletes this row; `whole`: with what hangs on it."""
    await _delete(session, table, id_, whole=whole, logged=True)


async def insert_part(session: Session, equipment: str) -> None:
    """A new part of this equipment."""
    await add(session, "critical_parts", equipment_id=equipment, name=session.clock.word("Part"))
