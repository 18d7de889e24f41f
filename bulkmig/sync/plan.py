"""What a unit's sync does, decided before anything is written: the brake first, then entity by entity."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

from bulkmig.checkpoint.take import Checkpoints
from bulkmig.entities import ENTITIES
from bulkmig.entities import entity as entity_of
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection
from bulkmig.sync import conflicts, held
from bulkmig.sync.gather import Found
from bulkmig.sync.kept import FOR_NOW, IN_USE, retained
from bulkmig.sync.look import Look
from bulkmig.sync.moves import Moves
from bulkmig.sync.parts import Plan
from bulkmig.sync.rules import Rules


async def plan(
    connection: Connection,
    owners: Sequence[str],
    found: Mapping[str, Found],
    rules: Rules,
    moves: Moves | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    anew: Collection[tuple[str, str]] = (),
) -> dict[str, Plan]:
    """Decides everything for these vessels (or the nil UUID: companies and users); locks the rows that it
    concerns. `anew`: rows (entity, source id) to be decided about again although they stay on purpose."""
    made, moves = {owner: Plan() for owner in owners}, moves or Moves()
    vessels = [owner for owner in owners if owner != NIL]
    if not any(rows.eventful for rows in found.values()) and not any(map(moves.concern, vessels)):
        for owner, own in made.items():
            for name, rows in found.items():
                own.parts[name].unchanged = rows.unchanged[owner]
        return made
    opened = await conflicts.open_ones(connection, sorted(moves.before(vessels).union(vessels)))
    stayed = await retained(connection, vessels)
    stay = {row for row, kept in stayed.items() if kept.reason not in (*FOR_NOW, IN_USE)}
    freed = await held.free(connection, checkpoints, vessels) if checkpoints is not None else {}
    gone = _brake(made, found, rules, stay, {*anew, *(("equipment", source) for source in freed)})
    for entity in ENTITIES:
        if entity.name in found and entity.tables:
            look = Look(entity, made, found[entity.name], moves, opened, stayed)
            await look.keep(connection)
            await look.decide(connection, gone[entity.name], rules)
    return made


async def release(
    connection: Connection, made: Mapping[str, Plan], gone: Mapping[str, str], rules: Rules, moves: Moves
) -> None:
    """Decides about equipment of these vessels that stayed for rows which let go of it now, on whichever of
    them. `gone`: equipment that the source has no more, with its vessels."""
    left = {end for plan in made.values() for part in plan.parts.values() for end in part.let_go}
    if not left:
        return
    stayed = await retained(connection, [*made])
    again: dict[str, str] = {}
    for (of, source), kept in stayed.items():
        if of != "equipment" or kept.reason != held.BY_ROW or kept.id not in left or source not in gone:
            continue
        own = made[gone[source]]
        if not own.brake and kept.id not in own.parts[of].was:  # else it was decided about
            again[source] = gone[source]
    opened = await conflicts.open_ones(connection, [*made]) if again else {}
    look = Look(entity_of("equipment"), made, Found(), moves, opened, stayed)
    await look.decide(connection, again, rules)


def _brake(
    made: Mapping[str, Plan],
    found: Mapping[str, Found],
    rules: Rules,
    stay: Collection[tuple[str, str]],
    freed: Collection[tuple[str, str]],
) -> defaultdict[str, dict[str, str]]:
    """Source ids that may be deleted, with their vessels, per entity; what `stay`s on purpose was gone
    before, and goes where it is `freed`."""
    gone: defaultdict[str, dict[str, str]] = defaultdict(dict)
    lost: defaultdict[str, Counter[str]] = defaultdict(Counter)  # vessel -> entity
    for name, rows in found.items():
        for source, owner in rows.gone.items():
            if (name, source) not in stay:
                lost[owner][name] += source not in rows.waits - rows.went
            elif (name, source) not in freed:
                continue
            gone[name][source] = owner
    for owner, going in lost.items() if not rules.allow_deletions else ():
        written = sum(rows.written[owner] for rows in found.values())
        much = going.total() > rules.brake_share * written and going["equipment"] >= rules.brake_least
        if going["vessel"] or much:
            made[owner].brake = going.total()
    for name, sources in gone.items():
        gone[name] = {source: owner for source, owner in sources.items() if not made[owner].brake}
    return gone
