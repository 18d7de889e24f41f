"""Cross references that wait for other vessels."""

from __future__ import annotations

from tests.model.run import Run
from tests.oracle import cross_reference
from tests.oracle.draft import Ref
from tests.oracle.source import required


def end_codes(run: Run, source_id: str) -> tuple[frozenset[str], bool]:
    """The codes of a reference's ends that never come, and whether one isn't there yet."""
    row = run.onboarding.of["cross_references"][source_id]
    never, waits = False, False
    for column in cross_reference.ENDS:
        end = Ref("equipment", required(row, column))
        if end.source_id not in run.onboarding.of["equipment"] or _is_listed(run, end):
            never = True
        elif not run.state.is_there(end):
            waits = True
    return (frozenset({"cross_reference.end_missing"}) if never else frozenset()), waits


def _is_listed(run: Run, end: Ref) -> bool:
    """Whether it is in quarantine: what is there, or of a vessel that was rolled back, isn't if it only may
    be listed still; but with its vessel it is."""
    listed = run.state.quarantine.get(end)
    if listed is None or listed.sure:
        return listed is not None
    whole = run.state.quarantine.get(Ref("vessel", listed.vessel or ""))
    if whole is not None and whole.sure:
        return True
    return not run.state.is_there(end) and run.state.marks.get(listed.vessel or "") == "migrated"


def settle(run: Run) -> None:
    """Looks at every waiting reference."""
    state = run.state
    for source_id, vessel in sorted(state.pending.items()):
        ref = Ref("cross_reference", source_id)
        if source_id not in run.onboarding.of["cross_references"]:
            del state.pending[source_id]
            continue
        codes, waits = end_codes(run, source_id)
        if codes:
            del state.pending[source_id]
            # Its vessel may have gone into quarantine before its end did: each is a reason.
            listed = state.quarantine.get(ref)
            run.put_aside(ref, vessel, codes | (listed.codes if listed is not None else codes))
        elif not waits and Ref("vessel", vessel) in state.base and ref not in run.kept:
            del state.pending[source_id]
            run.release(ref)
            row = run.onboarding.of["cross_references"][source_id]
            # It is written where it is by now, though what it moved with could not follow.
            run.insert(run.due(cross_reference.draft(run.world, row), required(row, "vessel_id")))
            run.hits("reference arrives")
