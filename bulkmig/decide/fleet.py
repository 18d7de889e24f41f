"""Puts the decisions over the whole fleet together, and the company and user rows that go with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import polars as pl
from msgspec import Struct, field

from bulkmig._core import ids
from bulkmig._core.declare import Entity
from bulkmig._core.frames import from_csv
from bulkmig._core.unit import ID_FRAME, Catalogue, Decisions, Unit
from bulkmig.decide import former_ids, qr_codes, users
from bulkmig.decide.companies import assign_slugs
from bulkmig.entities import DIGITS, ENTITIES, FLEET, entity
from bulkmig.entities.company import base_slug
from bulkmig.fit import checks
from bulkmig.ledger import base
from bulkmig.ledger.write import NIL
from bulkmig.postgres.session import Connection, pairs
from bulkmig.selection import Vessel
from bulkmig.source import queries
from bulkmig.source.onboarding import read_all
from bulkmig.target.state import PortalUser, TargetState
from bulkmig.transform import Outcome, transform

#: What users who are loaded will have for e-mails, by target id, from what is due of them.
After = Callable[[pl.DataFrame], Awaitable[dict[str, str]]]


class Fleet(Struct):
    """The vessels of a run and all that was decided for them.

    `shared`: what became of companies and users. `present`: entity -> source ids in the target; `former`:
    those that were once; `deleted`: those among them, companies and users, that the portal deleted.
    `there`: every company and user of the source. `late`: users whose e-mail somebody has until loaded
    users are changed.
    `slugs`, `qr_codes`: newly assigned, to be recorded; `ids`: entity -> source id -> target id, the same."""

    decisions: Decisions
    vessels: list[Vessel]
    shared: list[Outcome] = field(default_factory=list)
    present: dict[str, frozenset[str]] = field(default_factory=dict)
    former: dict[str, frozenset[str]] = field(default_factory=dict)
    deleted: dict[str, frozenset[str]] = field(default_factory=dict)
    there: dict[str, frozenset[str]] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    slugs: dict[str, str] = field(default_factory=dict)
    qr_codes: dict[str, str] = field(default_factory=dict)
    ids: dict[str, dict[str, str]] = field(default_factory=dict)

    def leave_deleted_users(self) -> None:
        """Users whom the portal deleted are the conflict strategy's to bring back, which a sync has: without
        one they don't come, and no row can refer to them."""
        self.present["user"] = self.present.get("user", frozenset()) | self.deleted["user"]
        users = self.decisions.identity("user")
        there = ~pl.col("source_id").is_in(list(self.deleted["user"]))
        self.decisions.identities["user"] = users.filter(there)


async def decide(
    source: Connection,
    target: Connection,
    state: TargetState,
    vessels: Sequence[Vessel],
    *,
    on_error: str,
    target_catalogue: Catalogue,
    source_catalogue: Catalogue,
    companies: Collection[str] = (),
    after: After | None = None,
) -> Fleet:
    """Decides for these vessels, their companies and those companies' users, and for further companies.
    `after`: what becomes of users who are loaded, where the run changes them."""
    decisions = Decisions(
        on_error=on_error,
        catalogue=target_catalogue,
        source_types=source_catalogue,
        foreign_qr=state.foreign_qr,
        vessels_due=frozenset(vessel.id for vessel in vessels),
        current_year=datetime.now(UTC).year,
        kept_ids={
            e.name: dict(state.recorded[e.name])
            for e in ENTITIES
            if e.scope == "vessel" and e.name != "vessel" and e.name in state.recorded
        },
        checks={e.name: checks(e, target_catalogue, source_catalogue) for e in ENTITIES},
    )
    fleet = Fleet(decisions, list(vessels))
    if state.ledger:
        fleet.ids = await former_ids.find(source, target, vessels)
        for of, found in fleet.ids.items():
            decisions.kept_ids.setdefault(of, {}).update(found)
    fleet.present = {of: frozenset(rows) for of, rows in state.identities.items()}
    fleet.former = {of: frozenset(state.recorded[of]) - rows for of, rows in fleet.present.items()}
    fleet.deleted = {
        of.name: await _written(target, of.name, fleet.former.get(of.name, frozenset())) for of in FLEET
    }
    # A vessel that the source has no more has no company in it.
    selected = sorted({vessel.company_id for vessel in vessels if vessel.company_id}.union(companies))
    codes = await _decide_slugs(source, state, fleet)
    _identify_companies(state, decisions, frozenset(selected), codes)
    company_rows = await _read(source, entity("company"), queries.of_companies(entity("company"), selected))
    fleet.shared.append(transform(entity("company"), company_rows, Unit(decisions, ())))
    _note_companies_out(fleet)
    await _decide_users(source, target, state, fleet, selected, after)
    _identify_vessels(state, decisions, vessels)
    await _decide_qr_codes(source, target, state, fleet)
    return fleet


async def _written(target: Connection, of: str, source_ids: Collection[str]) -> frozenset[str]:
    """Those of these companies or users that the base has: bulkmig neither deleted nor rolled them back."""
    found = await base.among(target, [NIL], of, source_ids) if source_ids else None
    return frozenset() if found is None else frozenset(found["source_id"])


async def _read(source: Connection, of: Entity, query: str) -> pl.DataFrame:
    return from_csv(await read_all(source, query), queries.columns(of))


async def _decide_slugs(source: Connection, state: TargetState, fleet: Fleet) -> dict[str, str]:
    """Assigns the slugs; returns every company's code."""
    rows = await source.fetch("SELECT id::text, code FROM companies ORDER BY created_at, id")
    fleet.there["company"] = frozenset(row["id"] for row in rows)
    ours = {target for target, _ in state.identities.get("company", {}).values()}
    portal = {slug for slug, id_ in state.companies.items() if id_ not in ours}
    renamed = state.companies.keys() - portal
    slugs = assign_slugs(((r["id"], r["code"] or "") for r in rows), state.slugs, portal, renamed)
    fleet.decisions.slugs = slugs
    fleet.slugs = {company: slug for company, slug in slugs.items() if company not in state.slugs}
    return {row["id"]: row["code"] or "" for row in rows}


def _identify_companies(
    state: TargetState, decisions: Decisions, selected: Collection[str], codes: Mapping[str, str]
) -> None:
    known = state.identities.get("company", {})
    ours = set(state.source_of("company"))
    found = {source: target for source, (target, _) in known.items()}
    for company in decisions.slugs:
        if company in found:
            if known[company][1]:
                decisions.adopted.add(("company", company))
            continue
        # Only an unsuffixed slug adopts.
        plain = decisions.slugs[company] == base_slug(codes.get(company, ""))
        existing = state.companies.get(decisions.slugs[company]) if plain and company in selected else None
        if existing is not None and existing not in ours:
            decisions.adopted.add(("company", company))
            found[company] = existing
        else:
            found[company] = _recorded(state, "company", company, company)
    decisions.identities["company"] = _frame(found)


def _recorded(state: TargetState, of: str, source_id: str, owner: str) -> str:
    """The id that a row got when it was first written, else the one that it gets."""
    return state.recorded.get(of, {}).get(source_id) or ids.derive_one(owner, source_id, DIGITS[of])


def _frame(found: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"source_id": list(found), "target_id": list(found.values())},
        schema=ID_FRAME,
    )


def _note_companies_out(fleet: Fleet) -> None:
    outcome = fleet.shared[0]
    fleet.decisions.companies_out = dict(outcome.quarantined.select("source_id", "code").iter_rows())


async def _decide_users(
    source: Connection,
    target: Connection,
    state: TargetState,
    fleet: Fleet,
    selected: Sequence[str],
    after: After | None,
) -> None:
    """E-mails first (over all users of the source), then the rows of the selected companies' users."""
    user, decisions = entity("user"), fleet.decisions
    rows = await source.fetch("SELECT id::text, email FROM users ORDER BY created_at, id")
    fleet.there["user"] = frozenset(row["id"] for row in rows)
    emails = {r["id"]: r["email"] for r in rows if r["email"] is not None}
    groups = users.duplicates(emails.items())
    frame = await _read(source, user, queries.of_companies(user, selected))
    sharing = sorted({id_ for group in groups.values() for id_ in group} - set(frame["id"]))
    claimants = frame
    if sharing:
        others = await _read(source, user, queries.by_id(user, sharing))
        claimants = pl.concat([frame, others])
    trial = transform(user, claimants, Unit(decisions, ()))
    erroneous = set(trial.findings.filter(pl.col("severity") == "error")["source_id"])
    sharers = {id_ for group in groups.values() for id_ in group}
    loaded = await _loaded_with(target, sharers) if state.ledger else {}
    keep = {id_ for id_, email in loaded.items() if email.lower() == emails[id_].lower()}
    out = users.losers(groups, erroneous, keep)
    decisions.emails = dict.fromkeys(out, "user.email_duplicate")
    out |= erroneous
    decisions.identities["user"] = _frame(_loaded_users(state, fleet))
    loaded_ones = pl.col("source_id").is_in(list(_loaded_users(state, fleet)))
    while True:
        # Whoever doesn't get an e-mail keeps what another one would get.
        changed = {}
        if after is not None:
            changed = await after(transform(user, frame, Unit(decisions, ())).image.filter(loaded_ones))
        taken = _adopt_users(state, fleet, frame, out, {u.id: u.email for u in state.users} | changed)
        if not taken:
            break
        out |= taken
    fleet.shared.append(transform(user, frame, Unit(decisions, ())))


def _loaded_users(state: TargetState, fleet: Fleet) -> dict[str, str]:
    """Source id -> target id of users who were written, those whom the portal deleted since included."""
    there = {id_: target_id for id_, (target_id, _) in state.identities.get("user", {}).items()}
    return there | {id_: state.recorded["user"][id_] for id_ in fleet.deleted["user"]}


async def _loaded_with(target: Connection, source_ids: Collection[str]) -> dict[str, str]:
    """Source id -> e-mail, as bulkmig last wrote these users."""
    found = await base.among(target, [NIL], "user", source_ids) if source_ids else None
    return {} if found is None else dict(found.select("source_id", "users.email").iter_rows())


def _adopt_users(
    state: TargetState,
    fleet: Fleet,
    frame: pl.DataFrame,
    passed_over: set[str],
    emails: Mapping[str, str],
) -> set[str]:
    """Decides who is adopted and who comes; returns those whose e-mail is taken. `emails`: target id ->
    e-mail as it will be when users who are loaded have changed."""
    decisions = fleet.decisions
    known = state.identities.get("user", {})
    by_email: defaultdict[str, list[PortalUser]] = defaultdict(list)
    portal = {portal_user.id: portal_user for portal_user in state.users}
    for target_id, held in emails.items():
        # One who comes back is nobody whom another could take over.
        back = PortalUser(target_id, "", "", "back")
        by_email[held.lower()].append(portal.get(target_id, back))
    before = {portal_user.id: portal_user.email for portal_user in state.users}
    now = set(before.values())
    company_ids = dict(decisions.identity("company").iter_rows())
    found = _loaded_users(state, fleet)
    decisions.adopted = {(of, id_) for of, id_ in decisions.adopted if of != "user"}
    fleet.late = set()
    taken: set[str] = set()
    for id_, company, email in frame.select("id", "company_id", "email").iter_rows():
        if id_ in found:
            if id_ in known and known[id_][1]:
                decisions.adopted.add(("user", id_))
            if (
                email is not None
                and id_ not in passed_over
                and _is_taken(found[id_], email, by_email, before)
            ):
                taken.add(id_)
            continue
        if id_ in passed_over or email is None or company in decisions.companies_out:
            continue
        adopted, taken_by = users.adopt(email, company_ids[company], by_email[email.lower()])
        if taken_by:
            taken.add(id_)
            continue
        if adopted is not None:
            decisions.adopted.add(("user", id_))
        found[id_] = adopted or _recorded(state, "user", id_, company)
        if email in now and before.get(found[id_]) != email:
            fleet.late.add(id_)
    decisions.emails.update(dict.fromkeys(taken, users.TAKEN))
    decisions.identities["user"] = _frame(found)
    return taken


def _is_taken(
    own: str, email: str, by_email: Mapping[str, list[PortalUser]], before: Mapping[str, str]
) -> bool:
    """Whether a user who is loaded would get an e-mail that somebody else has. Who has it keeps it. `before`:
    target id -> e-mail."""
    holders = {user.id for user in by_email.get(email.lower(), ())}
    return own in holders and len(holders) > 1 and before.get(own, "").lower() != email.lower()


def _identify_vessels(state: TargetState, decisions: Decisions, vessels: Iterable[Vessel]) -> None:
    known = state.identities.get("vessel", {})
    ours = set(state.source_of("vessel"))
    found = {source: target for source, (target, _) in known.items()}
    for vessel in vessels:
        holder = state.vessels.get(vessel.imo_number) if vessel.imo_number is not None else None
        if vessel.id in found:
            if known[vessel.id][1]:
                decisions.adopted.add(("vessel", vessel.id))
            continue  # it is in the target: its number is for sync
        found[vessel.id] = _recorded(state, "vessel", vessel.id, vessel.id)
        if holder is None:
            continue
        if vessel.imo_number and holder not in ours:
            decisions.adopted.add(("vessel", vessel.id))
            found[vessel.id] = holder
        else:
            decisions.imo_taken.add(vessel.id)
    decisions.identities["vessel"] = _frame(found)


async def _decide_qr_codes(source: Connection, target: Connection, state: TargetState, fleet: Fleet) -> None:
    rows = await source.fetch(qr_codes.CANDIDATES)
    candidates = [(row["id"], row["stem"]) for row in rows]
    loaded = {}
    if candidates:
        loaded = pairs(await target.fetch(qr_codes.LOADED, [id_ for id_, _ in candidates]))
    assigned = {**loaded, **state.qr_codes}
    codes = qr_codes.assign(candidates, assigned, state.foreign_qr | set(assigned.values()))
    fleet.qr_codes = codes
    fleet.decisions.qr_codes = {**state.qr_codes, **codes}
