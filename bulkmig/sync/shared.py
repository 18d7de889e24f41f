"""Companies and users in a sync: changed before the vessels, deleted after them, when nothing of theirs is
left that refers to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import polars as pl

from bulkmig._core.declare import Entity
from bulkmig.decide.fleet import Fleet
from bulkmig.entities import ENTITIES, FLEET, entity
from bulkmig.ledger import base
from bulkmig.ledger.compact import compact
from bulkmig.ledger.locks import LOCK
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection, transaction
from bulkmig.sync.apply import apply
from bulkmig.sync.gather import Found
from bulkmig.sync.hashes import HASH, hashes, normal
from bulkmig.sync.kept import IN_USE
from bulkmig.sync.parts import Plan
from bulkmig.sync.plan import plan
from bulkmig.sync.row import Row
from bulkmig.sync.rules import Rules
from bulkmig.sync.step import Applied, Means, Step
from bulkmig.target.graph import Graph
from bulkmig.vessel_load import LoadOptions

_REFERRED = "EXISTS (SELECT FROM {child} c WHERE c.{column} = t.{parent_column})"


async def change(target: Connection, fleet: Fleet, options: LoadOptions, rules: Rules) -> Applied:
    """Brings the companies and users that are in the target up to date."""
    async with transaction(target, commit=not options.dry_run):
        await target.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        found = {}
        written = await base.read_each(target, [NIL], [of.name for of in FLEET])
        for outcome in fleet.shared:
            of = outcome.entity
            present = list(fleet.present.get(of.name, ()))
            found[of.name] = _found(of, written, outcome.image.filter(pl.col("source_id").is_in(present)))
        return await _carry_out(target, options, (await plan(target, [NIL], found, rules))[NIL])


async def emails(
    target: Connection, users: pl.DataFrame, written: Mapping[str, pl.DataFrame], rules: Rules
) -> dict[str, str]:
    """Target id -> e-mail that these users, whom bulkmig wrote, will have where they change. `written`: as
    `base.read_each` returns them."""
    async with transaction(target, commit=False):
        found = {"user": _found(entity("user"), written, users)}
        made = (await plan(target, [NIL], found, rules))[NIL]
    return {id_: row["users.email"] or "" for id_, row in made.parts["user"].write.items()}


def _found(of: Entity, written: Mapping[str, pl.DataFrame], image: pl.DataFrame) -> Found:
    found = Found()
    if of.name not in written or not image.height:
        return found
    ours = written[of.name].filter(pl.col("source_id").is_in(image["source_id"].to_list()))
    known = ours.select("source_id", hashes(of, ours).alias(HASH))
    image = normal(of, image).join(known, on="source_id", how="inner", maintain_order="left")
    same = hashes(of, image) == image[HASH]
    found.written[NIL], found.unchanged[NIL] = ours.height, _rows_of(of, image.filter(same))
    found.changed.append(image.filter(~same).drop(HASH))
    return found


async def _carry_out(target: Connection, options: LoadOptions, made: Plan) -> Applied:
    if made.empty:
        done = Applied()
        for of in FLEET:
            done.unchanged += made.parts[of.name].unchanged
        return done
    await compact(target, options.run_id, [NIL], FLEET)
    companies = sorted(_companies(made))
    checkpoint = await options.checkpoints.of_companies(target, companies)
    graph = await options.checkpoints.read_graph(target)
    means = Means(target, options.decisions.catalogue, graph, options.run_id, NIL, NIL, checkpoint)
    step = Step(means, made)
    await apply([step])
    return step.done


def _companies(made: Plan) -> set[str]:
    """Target ids of the companies that the plan is about, before and after; also where nothing of them is
    written, since a conflict is recorded."""
    found: set[str | None] = set()
    for name, cell in (("company", "companies.id"), ("user", "users.company_id")):
        part = made.parts[name]
        told = [row for *_, one in part.conflicts for row in (one.base, one.source, one.target)]
        rows = (*part.write.values(), *part.was.values(), *told)
        found |= {row[cell] for row in rows if row is not None}
    return {id_ for id_ in found if id_ is not None}


def _rows_of(entity: Entity, image: pl.DataFrame) -> Counter[str]:
    """How many rows of each of the entity's tables an image stands for."""
    return Counter(
        {
            table.name: image.height if table.when is None else int(image[f"?{table.name}"].sum())
            for table in entity.tables
        }
    )


async def of_companies(target: Connection, users: Collection[str], companies: Collection[str]) -> set[str]:
    """Those of these users (source ids) who were last written as users of these companies."""
    written = await base.among(target, [NIL], "user", users)
    own = await base.among(target, [NIL], "company", companies)
    if written is None or own is None:
        return set()
    employed = pl.col("users.company_id").is_in(own["companies.id"].to_list())
    return set(written.filter(employed)["source_id"])


async def delete(
    target: Connection, gone: Mapping[str, Collection[str]], options: LoadOptions, rules: Rules
) -> Applied:
    """Deletes users and companies (source ids) that the source has no more. A user whom rows refer to
    becomes inactive, a company that has anything left stays."""
    async with transaction(target, commit=not options.dry_run):
        await target.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
        graph = await options.checkpoints.read_graph(target)
        users = set(gone["user"]) - await _still_used(target, graph, "user", gone)
        companies = set(gone["company"]) - await _still_used(target, graph, "company", {"user": users})
        going = {"company": companies, "user": users}
        found = {name: Found(gone=dict.fromkeys(ids, NIL)) for name, ids in going.items()}
        made = (await plan(target, [NIL], found, rules))[NIL]
        await spare(target, graph, made)
        return await _carry_out(target, options, made)


async def _still_used(
    target: Connection, graph: Graph, name: str, going: Mapping[str, Collection[str]]
) -> set[str]:
    """Which users or companies (source ids) that an earlier sync has let stay are referred to as before, by
    others than the users who are `going`."""
    rows = await target.fetch(
        "SELECT source_id::text, target_id::text FROM bulkmig.retained WHERE entity = $1 AND reason = $2",
        name,
        IN_USE,
    )
    kept = {row["target_id"]: row["source_id"] for row in rows}
    if not kept:
        return set()
    if name == "user":
        used = await _referred(target, graph, "user", list(kept))
    else:
        used = await _referred(target, graph, "company", list(kept), but="users")
        staff = await target.fetch(
            "SELECT DISTINCT u.company_id::text AS id FROM users u"
            " WHERE u.company_id = ANY ($1::text[]::uuid[]) AND NOT EXISTS (SELECT FROM bulkmig.identities i"
            " WHERE i.entity = 'user' AND i.target_id = u.id AND i.source_id = ANY ($2::text[]::uuid[]))",
            list(kept),
            list(going["user"]),
        )
        used |= {row["id"] for row in staff}
    return {kept[id_] for id_ in used}


async def spare(target: Connection, graph: Graph, made: Plan) -> None:
    """Lets users and companies stay that were to go and are referred to: users become inactive."""
    await _spare_users(target, graph, made)
    await _spare_companies(target, graph, made)


async def _spare_users(target: Connection, graph: Graph, made: Plan) -> None:
    part = made.parts["user"]
    for id_ in await _referred(target, graph, "user", list(part.delete)):
        source = part.delete.pop(id_)
        part.retained[source] = (id_, IN_USE)
        part.forget.discard(source)
        was = part.was[id_]
        if was is not None:
            part.base[source] = row = Row(was.tables, {**was.cells, "users.is_active": "f"})
            if was["users.is_active"] != "f":
                part.write[id_] = row
            else:
                part.untouched.add(id_)


async def _spare_companies(target: Connection, graph: Graph, made: Plan) -> None:
    part, staff = made.parts["company"], made.parts["user"]
    left = await _referred(target, graph, "company", list(part.delete), but="users")
    left |= {
        row["company"]
        for row in await target.fetch(
            "SELECT DISTINCT company_id::text AS company FROM users"
            " WHERE company_id = ANY ($1::text[]::uuid[]) AND NOT id = ANY ($2::text[]::uuid[])",
            list(part.delete),
            list(staff.delete),
        )
    }
    for id_ in left:
        source = part.delete.pop(id_)
        part.retained[source] = (id_, IN_USE)
        part.forget.discard(source)
        if (was := part.was[id_]) is not None:
            part.base[source] = was
            part.untouched.add(id_)


async def going(target: Connection, gone: Collection[str], options: LoadOptions, rules: Rules) -> set[str]:
    """Target ids of those of these users (source ids), whom the source has no more, who will go: no decision
    about a conflict keeps them, and no row of the portal's own refers to them."""
    if not gone:
        return set()
    async with transaction(target, commit=False):
        made = (await plan(target, [NIL], {"user": Found(gone=dict.fromkeys(gone, NIL))}, rules))[NIL]
    users = list(made.parts["user"].delete)
    graph = await options.checkpoints.read_graph(target)
    return set(users) - await _portals_own(target, graph, users)


async def _portals_own(target: Connection, graph: Graph, users: list[str]) -> set[str]:
    found: set[str] = set()
    written = {of.tables[0].name: of.digit for of in ENTITIES if of.tables}
    for fk, key in graph.companies.naming(entity("user")):
        own = f" AND substr(c.id::text, 15, 2) <> '8{written[fk.child]}'" if fk.child in written else ""
        rows = await target.fetch(
            f"SELECT DISTINCT u.{key}::text AS id FROM {fk.child} c"
            f" JOIN {fk.parent} u ON u.{fk.parent_column} = c.{fk.column}"
            f" WHERE u.{key} = ANY ($1::text[]::uuid[]){own}",
            users,
        )
        found.update(row["id"] for row in rows)
    return found


async def _referred(
    target: Connection, graph: Graph, name: str, ids: list[str], *, but: str = ""
) -> set[str]:
    found: set[str] = set()
    for fk, own in graph.companies.naming(entity(name)):
        if fk.child != but and ids:
            rows = await target.fetch(
                f"SELECT t.{own}::text AS id FROM {fk.parent} t WHERE t.{own} = ANY ($1::text[]::uuid[]) AND "
                + _REFERRED.format(child=fk.child, column=fk.column, parent_column=fk.parent_column),
                ids,
            )
            found.update(row["id"] for row in rows)
    return found
