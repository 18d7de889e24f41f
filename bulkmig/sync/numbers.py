"""IMO numbers that a commit would give to vessels of the target while others go on holding them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bulkmig.entities import entity
from bulkmig.ledger import base
from bulkmig.postgres.session import Connection
from bulkmig.sync.parts import Plan
from bulkmig.sync.row import Row, equal, make
from bulkmig.sync.standing import standing

_HOLDERS = "SELECT id::text AS id, imo_number FROM vessels WHERE imo_number = ANY ($1::text[])"
_IMO = "vessels.imo_number"


async def numbers_taken(target: Connection, plans: Mapping[str, Plan]) -> set[str]:
    """Which of these vessels (by source id) can't have the number that they would get. Of two that would get
    one, the first by target id has it."""
    after: dict[str, str | None] = {}
    gets: dict[str, str] = {}  # target id -> source id
    for vessel, made in plans.items():
        part = made.parts["vessel"]
        for id_, row in part.write.items():
            was = part.was[id_]
            after[id_] = row[_IMO]
            if row[_IMO] is not None and (was is None or was[_IMO] != row[_IMO]):
                gets[id_] = vessel
    if not gets:
        return set()
    now = await holders(target, [after[id_] or "" for id_ in gets])
    held = {number for number, id_ in now.items() if id_ not in after}
    held |= {number for id_, number in after.items() if id_ not in gets and number is not None}
    taken = set()
    for id_, vessel in sorted(gets.items()):
        if after[id_] in held:
            taken.add(vessel)
        held.add(after[id_] or "")
    return taken


async def give_up(target: Connection, plans: Mapping[str, Plan], vanished: Mapping[str, str]) -> None:
    """Vessels of the commit that the source has no more and that are to go (source id -> target id) give the
    numbers up that others of it get. One that the portal has changed keeps its own: that is decided when it
    goes."""
    if not vanished:
        return
    due = (row[_IMO] for made in plans.values() for row in made.parts["vessel"].write.values())
    holding = (await holders(target, [number for number in due if number])).values()
    of = entity("vessel")
    for vessel, id_ in vanished.items():
        written = await base.among(target, [vessel], of.name, [vessel]) if id_ in holding else None
        if written is None:
            continue
        row = make(of, next(written.iter_rows(named=True)))
        was = (await standing(target, of, [id_], [row])).get(id_)
        if was is not None and equal(of, was, row):
            free, part = Row(row.tables, {**row.cells, _IMO: None}), plans[vessel].parts[of.name]
            part.was[id_], part.write[id_], part.base[vessel] = was, free, free


async def holders(target: Connection, numbers: Sequence[str]) -> dict[str, str]:
    """Number -> target id of the vessel that holds it."""
    return {row["imo_number"]: row["id"] for row in await target.fetch(_HOLDERS, list(numbers))}
