"""Companies and users as they are due."""

from __future__ import annotations

from collections.abc import Iterable

from tests.model.run import Due, Run
from tests.model.three_way import result_of
from tests.oracle import company, user
from tests.oracle.company import Slug, base_slug, by_creation
from tests.oracle.draft import Cell, Ref
from tests.oracle.source import SourceRow, identity, required


def assign_slugs(run: Run) -> None:
    """Slugs for the source's companies that have none; what was assigned once stays."""
    state = run.state
    mapped = state.written_ids()
    rows = state.tables.rows("companies")
    own = {row["slug"] for row in rows if ("companies", row["id"]) not in mapped}
    taken = {slug.text for slug in state.slugs.values()}
    taken |= {str(row["slug"]) for row in rows if ("companies", row["id"]) in mapped}
    for row in sorted(run.source.companies, key=by_creation):
        if identity(row) in state.slugs:
            continue
        base = base_slug(required(row, "code"))
        slug, number = Slug(base, suffixed=False), 2
        while slug.text in taken or (slug.suffixed and slug.text in own):
            suffix = f"-{number}"
            slug = Slug(base[: company.SLUG_LENGTH - len(suffix)] + suffix, suffixed=True)
            number += 1
        taken.add(slug.text)
        state.slugs[identity(row)] = slug


def adopt(run: Run, ref: Ref, id_: Cell) -> None:
    """From now on the source row is the target's row with this id."""
    if isinstance(id_, str):
        run.state.adopted[ref] = id_
        run.hits("adopted")


def companies(run: Run, ids: Iterable[str]) -> dict[Ref, Due]:
    """The companies with these ids, those adopted that have to be."""
    found: dict[Ref, Due] = {}
    state = run.state
    for row in run.source.companies:
        ref = Ref("company", identity(row))
        if ref.source_id not in ids:
            continue
        slug = state.slugs[ref.source_id]
        made = company.draft(run.world, row, slug)
        if ref not in state.base and not slug.suffixed and not run.errors(ref):
            mapped = state.written_ids()
            for own in state.tables.rows("companies"):
                if own["slug"] == slug.text and ("companies", own["id"]) not in mapped:
                    adopt(run, ref, own["id"])
            made = company.draft(run.world, row, slug)
        found[ref] = run.due(made, None)
    return found


def users(run: Run, company_ids: Iterable[str], sound: Iterable[str]) -> dict[Ref, Due]:
    """The users of these companies; those of companies that aren't sound don't arrive."""
    winner_of = winners(run)
    found: dict[Ref, Due] = {}
    for row in run.source.users:
        if required(row, "company_id") not in company_ids:
            continue
        ref = Ref("user", identity(row))
        made = user.draft(run.world, row)
        made.refer("users", {"id": run.state.target_id(ref)})
        made.refer("user_metadata", {"user_id": run.state.target_id(ref)})
        if not run.errors(ref) and winner_of[required(row, "email").lower()] != ref.source_id:
            made.note("user.email_duplicate")
        found[ref] = run.due(made, None)
    wait = {ref for ref, due in found.items() if _company(run, ref) not in sound}
    return _settle_emails(run, found, wait)


def _company(run: Run, ref: Ref) -> str:
    return required(run.onboarding.of["users"][ref.source_id], "company_id")


def winners(run: Run) -> dict[str, str]:
    """By lower-cased e-mail: the one user of the source who may have it."""
    claims: dict[str, list[SourceRow]] = {}
    for row in sorted(run.source.users, key=by_creation):
        user.draft(run.world, row)
        if not run.errors(Ref("user", identity(row))):
            claims.setdefault(required(row, "email").lower(), []).append(row)

    def has_it(row: SourceRow) -> bool:
        ref = Ref("user", identity(row))
        base = run.state.base.get(ref)
        written = None if base is None else base.unit["users"]["email"]
        return isinstance(written, str) and written.lower() == required(row, "email").lower()

    return {
        email: identity(next((row for row in rows if has_it(row)), rows[0])) for email, rows in claims.items()
    }


def _settle_emails(run: Run, found: dict[Ref, Due], wait: set[Ref]) -> dict[Ref, Due]:
    """Adopts, or keeps out, users whose e-mail somebody in the target has when all is written."""
    state = run.state
    writing = {ref for ref, due in found.items() if not due.codes and ref not in wait}
    if not run.is_sync:
        writing -= state.base.keys()
    again = True
    while again:
        again = False
        emails = {row["id"]: str(row["email"]).lower() for row in state.tables.rows("users")}
        companies_of = {row["id"]: row["company_id"] for row in state.tables.rows("users")}
        for ref in writing & state.base.keys():
            after = result_of(run, found[ref])
            if after is not None:
                emails[state.target_id(ref)] = str(after["users"]["email"]).lower()
        mapped = state.written_ids()
        for ref in sorted(writing):
            due, own_id = found[ref], state.target_id(ref)
            email = str(due.unit["users"]["email"])
            if ref in state.base and emails.get(own_id) != email.lower():
                continue
            others = [id_ for id_, held in emails.items() if held == email.lower() and id_ != own_id]
            taken = any(
                ("users", id_) in mapped or companies_of[id_] != due.unit["users"]["company_id"]
                for id_ in others
            )
            if not others:
                continue
            if taken or ref in state.base:
                current = state.unit(ref)
                if current is not None and str(current["users"]["email"]).lower() == email.lower():
                    continue
                found[ref] = Due(ref, due.unit, None, frozenset({"user.email_taken"}))
                writing.discard(ref)
                again = True
                break
            exact = {row["id"] for row in state.tables.rows("users") if row["email"] == email}
            adopted = min(others, key=lambda id_: (id_ not in exact, str(id_)))
            adopt(run, ref, adopted)
            unit = {table: dict(row) for table, row in due.unit.items()}
            unit["users"]["id"] = unit["user_metadata"]["user_id"] = adopted
            found[ref] = Due(ref, unit, None, due.codes)
    return found
