"""What both portals do to the same row, so that the rules about conflicts and deletions are hit often."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.model import portal_steps, source_steps
from tests.model.onboarding import TABLE_OF
from tests.model.session import Session
from tests.model.tables import THING_OF
from tests.oracle.company import base_slug
from tests.oracle.draft import Ref
from tests.oracle.source import identity

ENTITIES = tuple(TABLE_OF)
Cells = tuple[str | None, ...]
# Fields that both sides can change: entity -> (source column, its values, target table, column, its values).
SAME: dict[str, tuple[tuple[str, Cells, str, str, Cells], ...]] = {
    "company": (("timezone", ("Europe/Oslo", None), "company_settings", "timezone", ("Asia/Tokyo", None)),),
    "user": (("first_name", ("Eve", None), "users", "first_name", ("Eva", None)),),
    "vessel": (
        ("gross_tonnage", ("0.50", "99.00", None), "vessel_details", "gross_tonnage", ("1.00", "55.00")),
        ("flag", ("NO", None), "vessel_details", "flag", ("SE", None)),
    ),
    "equipment": (
        ("status", ("ACTIVE", "DRAFT", "REMOVED"), "equipment", "status", ("fault", "maintenance")),
        (
            "installation_date",
            ("2020-02-29", "2023-07-15"),
            "equipment",
            "installation_date",
            ("2021-06-30",),
        ),
        ("quality_score", ("5", "50", None), "equipment_metadata", "quality_score", ("1", "60", None)),
    ),
    "critical_part": (("current_stock", ("4", "9"), "critical_parts", "current_stock", ("1", "8", None)),),
    "document": (("file_size", ("1", "200"), "equipment_documents", "file_size", ("5", "500", None)),),
    "quality_score": (("score", ("10", "90"), "quality_scores", "score", ("0", "55", "100")),),
    "cross_reference": (("notes", ("mine", None), "cross_references", "notes", ("yours", None)),),
}
# Fields that both sides can fill and empty: entity -> (column of both, the target's table, values).
CLASHES: dict[str, tuple[tuple[str, str, Cells], ...]] = {
    "user": (
        ("first_name", "users", ("Eve", "Eva", "Evi")),
        ("phone", "user_metadata", ("1", "2", "3")),
    ),
    "vessel": (
        ("gross_tonnage", "vessel_details", ("0.50", "7.25", "99.00")),
        ("flag", "vessel_details", ("NO", "SE", "DK")),
    ),
    "equipment": (
        ("quality_score", "equipment_metadata", ("5", "50", "60")),
        ("notes", "equipment_metadata", ("mine", "yours", "nobody's")),
    ),
    "document": (
        ("file_size", "equipment_documents", ("5", "200", "500")),
        ("mime_type", "document_details", ("text/plain", "image/png", "image/jpeg")),
    ),
}
# Numbers that both change, each to another one: entity, column of both, the source's value, the target's
# table, the portal's value.
NUMBERS: tuple[tuple[str, str, str | None, str, str | None], ...] = (
    ("critical_part", "current_stock", "9", "critical_parts", "8"),
    ("document", "file_size", "200", "equipment_documents", "500"),
    ("quality_score", "score", "90", "quality_scores", "55"),
    ("vessel", "gross_tonnage", "0.50", "vessel_details", "99.00"),
)
DELETABLE = ("critical_part", "document", "quality_score", "cross_reference", "equipment", "user")


def all_loaded(session: Session, entity: str) -> list[Ref]:
    """The rows of an entity that both sides have."""
    found = [
        ref for ref in sorted(session.state.base) if ref.entity == entity and session.state.is_there(ref)
    ]
    return [ref for ref in found if session.onboarding.get(*ref) is not None]


def loaded(session: Session, entity: str, which: int) -> Ref | None:
    """One of them."""
    found = all_loaded(session, entity)
    return found[which % len(found)] if found else None


async def both_change(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Both change a column, the same or another."""
    ref = loaded(session, entity, which)
    if ref is not None:
        await source_steps.change_row(session, TABLE_OF[entity], ref.source_id, one, other)
        target = session.state.target_id(ref)
        await portal_steps.change_row(session, THING_OF[entity].table, target, one // 7, other + one)


async def same_field(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Both change the same field."""
    ref = loaded(session, entity, which)
    if ref is None:
        return
    column, ours, table, field, theirs = SAME[entity][one % len(SAME[entity])]
    await _both_set(
        session, ref, (column, ours[other % len(ours)]), (table, field, theirs[one % len(theirs)])
    )


async def _both_set(
    session: Session, ref: Ref, ours: tuple[str, str | None], theirs: tuple[str, str, str | None]
) -> None:
    """The source sets a column; the portal a field of a table, if the row has that."""
    table, field, value = theirs
    unit = session.state.unit(ref)
    if unit is not None and table in unit:
        await source_steps.set_cells(session, TABLE_OF[ref.entity], ref.source_id, dict([ours]))
        await portal_steps.set_cell(session, table, unit[table], field, value)


async def statuses(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """An equipment is faulty in the portal, while the source gives it another status than it had."""
    ref = loaded(session, "equipment", which)
    if ref is not None:
        was = session.state.base[ref].unit["equipment"]["status"]
        new = ("REMOVED", "DRAFT") if was == "operational" else ("REMOVED", "ACTIVE")
        await _both_set(session, ref, ("status", new[one % 2]), ("equipment", "status", "fault"))


async def different(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Both change the same fields of a row, each to a value of its own, or one of them empties what was
    filled: what `merge` makes of that has rules that are seldom hit else."""
    entity = [*CLASHES][one % len(CLASHES)]
    base, rows = session.state.base, all_loaded(session, entity)

    def filled(ref: Ref) -> bool:
        return any(base[ref].unit[table][column] is not None for column, table, _ in CLASHES[entity])

    rows = [*filter(filled, rows)] or rows
    if not rows:
        return
    ref = rows[which % len(rows)]
    for turn, (column, table, values) in enumerate(CLASHES[entity], start=other):
        was = base[ref].unit[table][column]
        ours, theirs = [value for value in values if value != was][:2]
        if was is not None and turn % 4 < 2:
            ours, theirs = (None, theirs) if turn % 4 else (ours, None)
        await _both_set(session, ref, (column, ours), (table, column, theirs))


async def numbers(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Both change the same number, and to different ones."""
    entity, column, ours, table, theirs = NUMBERS[one % len(NUMBERS)]
    ref = loaded(session, entity, which)
    if ref is not None and session.state.base[ref].unit[table][column] not in (ours, theirs):
        await _both_set(session, ref, (column, ours), (table, column, theirs))


async def source_deletes(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """The source deletes what the portal changes."""
    ref = loaded(session, entity, which)
    if ref is not None and entity in DELETABLE:
        target = session.state.target_id(ref)
        await portal_steps.change_row(session, THING_OF[entity].table, target, one, other)
        await source_steps.delete_row(session, TABLE_OF[entity], ref.source_id)


async def portal_deletes(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """The portal deletes what the source changes."""
    ref = loaded(session, entity, which)
    if ref is not None and entity in DELETABLE:
        await portal_steps.delete_row(session, THING_OF[entity].table, session.state.target_id(ref))
        await source_steps.change_row(session, TABLE_OF[entity], ref.source_id, one, other)


async def logged_and_deleted(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """The portal logs work on equipment that the source deletes then."""
    ref = loaded(session, "equipment", which)
    if ref is not None:
        await portal_steps.add(session, "maintenance_logs", one, other)
        logs = portal_steps.rows(session, "maintenance_logs")
        if logs:
            on = logs[-1]["equipment_id"]
            if isinstance(on, Ref) and session.onboarding.get(*on) is not None:
                await source_steps.delete_row(session, "equipment", on.source_id)


async def breaks(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """An equipment turns erroneous, and a part of it is new or changes."""
    ref = loaded(session, "equipment", which)
    if ref is not None:
        await source_steps.set_cells(session, "equipment", ref.source_id, {"name": (None, " ")[other % 2]})
        parts = session.onboarding.rows("critical_parts")
        mine = [row for row in parts if row["equipment_id"] == ref.source_id]
        if mine and one % 2:
            await source_steps.change_row(session, "critical_parts", str(mine[0]["id"]), one, other)
        else:
            await source_steps.insert_part(session, ref.source_id)


async def mends(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """An erroneous equipment has a name again; where none is, a user moves to a company that isn't loaded."""
    source = session.onboarding
    for row in source.rows("equipment"):
        if row["name"] in (None, " "):
            word = session.clock.word("Mended")
            await source_steps.set_cells(session, "equipment", str(row["id"]), {"name": word})
            return
    rows = [
        row for row in source.rows("companies") if Ref("company", identity(row)) not in session.state.base
    ]
    user = loaded(session, "user", which)
    if rows and user is not None:
        company = identity(rows[one % len(rows)])
        await source_steps.set_cells(session, "users", user.source_id, {"company_id": company})


async def exchanges(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Two vessels exchange their IMO numbers."""
    rows = [row for row in session.onboarding.rows("vessels") if row["imo_number"]]
    if len(rows) > 1:
        await source_steps.exchange(
            session, rows[which % len(rows)], str(rows[(which + 1) % len(rows)]["imo_number"])
        )


async def equipment_alone(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """The source deletes equipment, and forgets what hangs on it."""
    ref = loaded(session, "equipment", which)
    if ref is not None:
        await source_steps.delete_row(session, "equipment", ref.source_id, whole=False)


async def held_and_deleted(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """The portal lets a row of its own hang on what the source deletes then."""
    user, vessel = ("user", "maintenance_logs", "performed_by"), ("vessel", "equipment", "vessel_id")
    company = ("company", "users", "company_id")
    gone, table, column = company if other == 11 else vessel if other > 8 else user
    ref = loaded(session, gone, which)
    if ref is not None:
        await portal_steps.add(session, table, one, other, {column: session.state.target_id(ref)})
        await source_steps.delete_row(session, TABLE_OF[gone], ref.source_id)


async def assesses(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """A score names a user who isn't loaded; one who is named already comes."""
    source, state = session.onboarding, session.state
    users = [row for row in source.rows("users") if Ref("user", identity(row)) not in state.base]
    companies = [ref for ref in sorted(state.base) if ref.entity == "company" and source.get(*ref)]
    if not users or not companies:
        return
    user = identity(users[which % len(users)])
    if any(row["assessed_by"] == user for row in source.rows("quality_scores")):
        values = {
            "company_id": companies[one % len(companies)].source_id,
            "email": session.clock.word("mail"),
        }
        await source_steps.set_cells(session, "users", user, values)
    elif (score := loaded(session, "quality_score", one)) is not None:
        await source_steps.set_cells(session, "quality_scores", score.source_id, {"assessed_by": user})


async def winner_leaves(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Who has an e-mail that another one wants gets a new one; where nobody wants any, somebody does."""
    users = session.onboarding.rows("users")
    by_email: dict[str, list[str]] = {}
    for row in users:
        by_email.setdefault(str(row["email"]).lower(), []).append(identity(row))
    wanted = [ids for ids in by_email.values() if len(ids) > 1]
    if wanted:
        first = next((id_ for id_ in wanted[0] if Ref("user", id_) in session.state.base), wanted[0][0])
        await source_steps.set_cells(session, "users", first, {"email": session.clock.word("mail")})
    elif len(users) > 1:
        email = users[which % len(users)]["email"]
        await source_steps.set_cells(
            session, "users", identity(users[(which + 1) % len(users)]), {"email": email}
        )


async def known_to_both(session: Session, entity: str, which: int, one: int, other: int) -> None:
    """Each side gets a row with the same natural key, which neither knew before."""
    source, state, word = session.onboarding, session.state, session.clock.word("known")
    company = loaded(session, "company", which)
    if one % 3 == 0 and company is not None:
        mail = word.upper() if other % 2 else word
        on = {"company_id": state.target_id(company), "email": mail}
        await portal_steps.add(session, "users", one, other, on)
        await source_steps.add(session, "users", company_id=company.source_id, email=word)
    elif one % 3 == 1:
        slug = {"name": word, "slug": base_slug(word)}
        await portal_steps.add(session, "companies", one, other, slug)
        made = await source_steps.add(session, "companies", name=word, code=word)
        await source_steps.add(session, "vessels", company_id=made, name=word, imo_number=None)
    elif companies := source.rows("companies"):
        owner = identity(companies[which % len(companies)])
        await portal_steps.add(session, "vessels", one, other, {"imo_number": word})
        await source_steps.add(session, "vessels", company_id=owner, name=word, imo_number=word)


Both = Callable[[Session, str, int, int, int], Coroutine[Any, Any, None]]
STEPS: dict[str, Both] = {
    "both change": both_change,
    "same field": same_field,
    "statuses": statuses,
    "different": different,
    "numbers": numbers,
    "source deletes": source_deletes,
    "portal deletes": portal_deletes,
    "logged and deleted": logged_and_deleted,
    "breaks": breaks,
    "mends": mends,
    "exchanges": exchanges,
    "equipment alone": equipment_alone,
    "held and deleted": held_and_deleted,
    "assesses": assesses,
    "winner leaves": winner_leaves,
    "known to both": known_to_both,
}
