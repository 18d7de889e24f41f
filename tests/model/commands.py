"""`migrate` and `sync` from top to bottom: companies, users, vessels, what waits, what is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.model import people, vessels
from tests.model.deletions import delete_rows, make_way
from tests.model.onboarding import Onboarding
from tests.model.rules import Hits
from tests.model.run import Due, Options, Outcome, Run
from tests.model.state import Base, State
from tests.model.tables import vessel_of
from tests.model.three_way import apply
from tests.model.vessels import Fleet
from tests.model.waiting import end_codes, settle
from tests.oracle.draft import Ref
from tests.oracle.source import identity, required

CHILDREN_OF_EQUIPMENT = ("critical_part", "document", "quality_score")


def execute(state: State, onboarding: Onboarding, options: Options, hits: Hits) -> Outcome:
    """Brings the state to where the command leaves it."""
    run = Run(state, onboarding, options, hits)
    chosen = _chosen(run)
    people.assign_slugs(run)
    company_ids = {required(row, "company_id") for row in run.source.vessels if identity(row) in chosen}
    if run.is_sync:
        company_ids |= {ref.source_id for ref in state.base if ref.entity == "company"}
        company_ids |= _companies_of_loaded_users(run)
    sound = _companies(run, company_ids)
    _users(run, company_ids, sound)
    there = {ref.source_id for ref in state.base if ref.entity == "user" and _stays(run, ref)}
    if run.is_sync and options.vessels is None:
        make_way(run, chosen)
    fleet = vessels.look(run, chosen, sound, there)
    if not run.is_sync:
        fleet.failed |= vessels.with_rows_of_others(run, fleet)
    for vessel_id in sorted(fleet.due):
        _open(run, fleet, vessel_id)
    _let_go_of_listed(run, fleet)
    for entity in ("vessel", "equipment", *CHILDREN_OF_EQUIPMENT):
        for due in list(fleet.rows(entity)):
            _row(run, due)
    for due in list(fleet.rows("cross_reference")):
        _reference(run, due)
    for due in fleet.rows("equipment"):
        if state.is_there(due.ref):
            state.qr_codes.setdefault(due.ref.source_id, str(due.unit["equipment"]["qr_code"]))
    if options.vessels is None:
        _parts_of_nothing(run)
    _let_go_of_waiting(run, fleet)
    settle(run)
    if run.is_sync:
        delete_rows(run, fleet)
        settle(run)
        _follow(run, fleet)
        if options.vessels is None:
            _let_in(run, chosen, company_ids, sound)
    _forget(run, fleet)
    return run.outcome


def _follow(run: Run, fleet: Fleet) -> None:
    """What is kept and the target has nowhere is from now on where the source has it."""
    for ref in run.kept & run.state.base.keys():
        now = vessels.now_on(run.onboarding, ref)
        loaded = now in fleet.due and now not in fleet.failed and Ref("vessel", now) in run.written
        if loaded and not run.state.is_there(ref):
            run.state.base[ref] = replace(run.state.base[ref], vessel=now)


def _chosen(run: Run) -> set[str]:
    """The vessels that the command is about, as far as the source has them."""
    state, options = run.state, run.options
    approved = {identity(row) for row in run.source.vessels if row["onboarding_status"] == "APPROVED"}
    selected = approved if options.vessels is None else set(options.vessels)
    migrated = {vessel for vessel, mark in state.marks.items() if mark == "migrated"}
    if not run.is_sync:
        run.outcome.skipped = selected & migrated
        return selected - migrated
    active = {vessel for vessel in migrated - state.rolled_back if vessel in run.onboarding.of["vessels"]}
    new = approved - migrated - state.rolled_back if options.new else set()
    if new:
        run.hits("approved")
    if state.rolled_back:
        run.hits("rolled back")
    chosen = active | new
    return chosen if options.vessels is None else chosen & selected


def _companies_of_loaded_users(run: Run) -> set[str]:
    found = set()
    for row in run.source.users:
        ref = Ref("user", identity(row))
        if ref in run.state.base:
            company = Ref("company", required(row, "company_id"))
            found.add(company.source_id)
            if company not in run.state.base:
                run.hits("user brings company")
    return found


def _companies(run: Run, company_ids: set[str]) -> set[str]:
    """Writes the companies; returns those that are sound."""
    sound = set()
    for ref, due in people.companies(run, company_ids).items():
        errors = run.errors(ref)
        if not errors:
            sound.add(ref.source_id)
            _row(run, due)
        elif run.options.on_error == "quarantine":
            _aside(run, due, errors)
        else:
            run.kept.add(ref)
    return sound


def _users(run: Run, company_ids: set[str], sound: set[str]) -> None:
    for ref, due in people.users(run, company_ids, sound).items():
        company = Ref("company", required(run.onboarding.of["users"][ref.source_id], "company_id"))
        if company.source_id in sound:
            _row(run, due)
        elif run.options.on_error == "quarantine":
            loaded = ref in run.state.base
            if loaded:
                run.hits("kept child")
            run.put_aside(ref, None, due.codes | run.errors(company), sure=not loaded)
        elif due.codes:
            _aside(run, due, due.codes)
        else:
            run.kept.add(ref)


def _let_in(run: Run, chosen: set[str], company_ids: set[str], sound: set[str]) -> None:
    """Users whose e-mail was that of one who is gone now, and the scores that name them."""
    came, kept = set[str](), set(run.kept)
    waiting = {ref for ref, one in run.state.quarantine.items() if "user.email_taken" in one.codes}
    run.kept -= waiting
    for ref, due in people.users(run, company_ids, sound).items():
        company = required(run.onboarding.of["users"][ref.source_id], "company_id")
        if ref not in waiting or due.codes or company not in sound:
            continue
        if ref not in run.state.base:
            came.add(ref.source_id)
        kept.discard(ref)
        _row(run, due)
    run.kept = kept
    if came:
        run.hits("e-mail won")
        there = {ref.source_id for ref in run.state.base if ref.entity == "user" and _stays(run, ref)}
        for due in vessels.look(run, chosen, sound, there).rows("quality_score"):
            if run.onboarding.of["quality_scores"][due.ref.source_id]["assessed_by"] in came:
                _row(run, due)


def _stays(run: Run, ref: Ref) -> bool:
    """Whether a user is in the target and will be after the run."""
    state = run.state
    if not state.is_there(ref):
        return False
    if not run.is_sync or ref.source_id in run.onboarding.of["users"] or state.base[ref].gone == "decided":
        return True
    if _is_held(run, ref):
        return True
    mapped, id_ = state.written_ids(), state.target_id(ref)
    return any(
        not link.cascades and (link.child, row["id"]) not in mapped
        for link, row in state.tables.refers("users", id_)
    )


def _is_held(run: Run, ref: Ref) -> bool:
    """Whether a user whom the source has no more stays by a decision, or as the brake holds the company."""
    state, base = run.state, run.state.base[ref]
    if state.open_conflict(ref):
        return True
    if state.unit(ref) != base.unit and not base.gone and run.options.strategy in ("target_wins", "manual"):
        return True
    stopped = {
        state.target_id(one)
        for one, own in state.base.items()
        if one.entity == "company" and run.onboarding.get(*one) is None and not own.gone
    }
    return base.unit["users"]["company_id"] in stopped and not run.options.allow_deletions


def _open(run: Run, fleet: Fleet, vessel_id: str) -> None:
    """Marks a vessel, and puts aside all of one that can't come."""
    state, loaded = run.state, run.state.marks.get(vessel_id) == "migrated"
    if vessel_id in fleet.failed:
        run.outcome.failed.add(vessel_id)
        if loaded:
            run.hits("vessel fails")
        else:
            state.marks[vessel_id] = "failed"
        return
    run.outcome.done.add(vessel_id)
    cause = fleet.aside.get(vessel_id)
    if cause is None:
        state.marks[vessel_id] = "migrated"
        state.rolled_back.discard(vessel_id)
        return
    if not loaded:
        state.marks[vessel_id] = "quarantined"
    for ref, due in fleet.due[vessel_id].items():
        sure = not loaded or ref.entity == "vessel"
        if loaded:
            run.hits("kept by error" if ref.entity == "vessel" else _kept_child(run, ref))
        run.put_aside(ref, vessel_id, due.codes | cause | _by_parent(run, due), sure=sure)


def _kept_child(run: Run, ref: Ref) -> str:
    return "kept child" if ref in run.state.base else "new child waits"


def _by_parent(run: Run, due: Due) -> frozenset[str]:
    """The codes that a row gets because of the equipment that it names."""
    code: Callable[[str], str] = {
        "critical_part": lambda _: "part.orphaned",
        "quality_score": lambda _: "score.equipment_missing",
        "cross_reference": lambda _: "cross_reference.end_missing",
    }.get(due.ref.entity, lambda _: "document.equipment_missing")
    return frozenset({code(id_) for id_ in vessels.equipment_of(run, due)})


def _aside(run: Run, due: Due, codes: frozenset[str]) -> None:
    loaded = due.ref in run.state.base
    if loaded and run.is_sync:
        run.hits("kept by error" if run.errors(due.ref) else "kept by warning")
    # What a migration says of rows that it leaves to sync is its own affair, and that the end of a reference
    # which the portal has deleted isn't to come may be known only later.
    deleted = loaded and due.ref.entity == "cross_reference" and not run.state.is_there(due.ref)
    run.put_aside(due.ref, due.vessel, codes, sure=(run.is_sync or not loaded) and not deleted)


def _row(run: Run, due: Due) -> None:
    """One row, its parents having been looked at."""
    state, ref = run.state, due.ref
    if ref in run.kept:
        return
    parents = [
        Ref("equipment", id_)
        for id_ in vessels.equipment_of(run, due)
        if ref.entity == "cross_reference" or _is_on(run, id_, due.vessel)
    ]
    kept = any(parent in run.kept and parent in state.base for parent in parents)
    # An end on a vessel that was rolled back isn't looked at, and keeps what is there as well.
    kept = kept or (ref in state.base and any(_stays_listed(run, parent) for parent in parents))
    if run.is_sync and kept and ref.entity in (*CHILDREN_OF_EQUIPMENT, "cross_reference"):
        run.hits(_kept_child(run, ref))
        run.put_aside(ref, due.vessel, due.codes | _by_parent(run, due), sure=False)
        return
    if due.codes:
        _aside(run, due, due.codes)
        return
    if ref in state.base and not run.is_sync:
        if (listed := state.quarantine.get(ref)) is not None:
            run.put_aside(ref, listed.vessel, listed.codes, sure=False)
        return
    run.release(ref)
    if ref not in state.base and state.tables.dangling(due.unit):
        return
    if run.is_sync:
        _count(run, due)
    apply(run, due)


def _stays_listed(run: Run, ref: Ref) -> bool:
    listed = run.state.quarantine.get(ref)
    return listed is not None and listed.vessel in run.state.rolled_back and run.state.is_there(ref)


def _is_on(run: Run, equipment: str, vessel: str | None) -> bool:
    row = run.onboarding.get("equipment", equipment)
    return row is not None and row["vessel_id"] == vessel


def _count(run: Run, due: Due) -> None:
    """Counts what the row is an example of."""
    base, hits = run.state.base.get(due.ref), run.hits
    if base is None or base.unit == due.unit:
        return
    if due.ref.entity == "equipment":
        if base.unit["equipment"]["vessel_id"] != due.unit["equipment"]["vessel_id"]:
            hits("move")
        if base.unit["equipment"]["location"] != due.unit["equipment"]["location"]:
            hits("location")
    if due.ref.entity == "document":
        old, new = (unit["equipment_documents"]["equipment_id"] for unit in (base.unit, due.unit))
        if isinstance(old, Ref) and new is None and run.onboarding.get(*old) is None:
            hits("document stays")
    if due.ref.entity == "quality_score":
        old, new = (unit["quality_scores"]["assessed_by"] for unit in (base.unit, due.unit))
        if old is None and new is not None:
            hits("assessor arrives")
    if due.ref.entity == "vessel":
        imo = due.unit["vessels"]["imo_number"]
        others = [ref for ref in run.state.base if ref.entity == "vessel" and ref != due.ref]
        if imo and any(run.state.base[ref].unit["vessels"]["imo_number"] == imo for ref in others):
            hits("exchange")


def _reference(run: Run, due: Due) -> None:
    """A cross reference: its ends decide whether it comes, waits or never comes."""
    state, ref = run.state, due.ref
    if ref in run.kept or (ref in state.base and not run.is_sync):
        return
    codes, waits = end_codes(run, ref.source_id)
    if waits and not codes and ref not in state.base:
        run.hits("reference waits")
        run.release(ref)
        state.pending[ref.source_id] = due.vessel or ""
        if any(Ref("equipment", id_) in state.quarantine for id_ in vessels.equipment_of(run, due)):
            run.put_aside(ref, due.vessel, _by_parent(run, due), sure=False)
        return
    if waits and not codes:
        run.kept.add(ref)
        run.release(ref)
        if any(Ref("equipment", id_) in state.quarantine for id_ in vessels.equipment_of(run, due)):
            run.put_aside(ref, due.vessel, _by_parent(run, due), sure=False)
        return
    state.pending.pop(ref.source_id, None)
    _row(run, Due(ref, due.unit, due.vessel, codes))


def _let_go_of_waiting(run: Run, fleet: Fleet) -> None:
    """A reference that has left for a vessel which is not in the target waits no longer."""
    state = run.state
    for source_id, vessel in list(state.pending.items()):
        row = run.onboarding.of["cross_references"].get(source_id)
        left = row is not None and row["vessel_id"] != vessel
        outside = row is not None and state.marks.get(row["vessel_id"] or "") != "migrated"
        looked_at = run.is_sync and vessel in fleet.due.keys() - fleet.failed - fleet.aside.keys()
        if left and outside and looked_at:
            del state.pending[source_id]


def _let_go_of_listed(run: Run, fleet: Fleet) -> None:
    """What has left a vessel that can't come isn't listed with it any more: a reference to it waits."""
    for ref, listed in list(run.state.quarantine.items()):
        if ref.entity == "vessel" or listed.vessel not in fleet.aside.keys() - fleet.failed:
            continue
        now = vessels.now_on(run.onboarding, ref)
        loaded = run.state.marks.get(listed.vessel) == "migrated"
        if now is not None and now not in fleet.due and not loaded:
            del run.state.quarantine[ref]


def _parts_of_nothing(run: Run) -> None:
    """Parts whose equipment doesn't exist belong to no vessel; those that were loaded once did. One that has
    equipment again is listed no more, be it equipment of a vessel that is not in the target."""
    for ref, listed in list(run.state.quarantine.items()):
        row = run.onboarding.get(*ref)
        if ref.entity == "critical_part" and listed.vessel is None and row is not None:
            del run.state.quarantine[ref]
    for row in run.source.critical_parts:
        ref = Ref("critical_part", identity(row))
        if required(row, "equipment_id") not in run.onboarding.of["equipment"]:
            base = run.state.base.get(ref)
            if base is not None and run.is_sync:
                run.hits("kept by warning")
                _go_along(run, ref, base)
            sure = base is None or run.is_sync
            run.put_aside(ref, None, {"part.orphaned"}, sure=sure)


def _go_along(run: Run, part: Ref, base: Base) -> None:
    """A part of nothing is its vessel's whose the equipment is by now that it hangs on in the target: as was
    decided last, or where it is."""
    unit, state = run.state.unit(part), run.state
    if unit is None:
        return
    equipment = unit["critical_parts"]["equipment_id"]
    decided = state.base.get(equipment) if isinstance(equipment, Ref) else None
    on = vessel_of(state.tables, "critical_parts", unit["critical_parts"])
    if decided is not None:
        state.base[part] = replace(base, vessel=decided.vessel)
    elif isinstance(on, Ref):
        state.base[part] = replace(base, vessel=on.source_id)


def _forget(run: Run, fleet: Fleet) -> None:
    """What the source no longer has, or the vessel of, is not listed any more, or may be; nor what has left
    for a vessel that the run isn't about."""
    there = run.onboarding.of["vessels"]
    for ref, listed in list(run.state.quarantine.items()):
        vessel_gone = listed.vessel is not None and listed.vessel not in there
        now = listed.vessel if ref.entity == "vessel" else vessels.now_on(run.onboarding, ref)
        left = listed.vessel is not None and now != listed.vessel and now not in fleet.due
        if listed.sure and (vessel_gone or left or run.onboarding.get(*ref) is None):
            run.put_aside(ref, listed.vessel, listed.codes, sure=False)
