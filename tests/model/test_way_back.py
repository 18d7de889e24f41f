"""The model on what the mapping says of rollbacks; each test begins with its sentence."""

from __future__ import annotations

import pytest

from tests.model.case import Case
from tests.model.history import Change, Step
from tests.model.rollback import Refused, go_back
from tests.oracle.draft import Ref
from tests.oracle.sample import NOON


@pytest.fixture
def case() -> Case:
    return Case()


def of(case: Case, vessel: Ref) -> Change:
    """The vessel's last change."""
    return [change for change in case.history.changes if change.vessel == vessel.source_id][-1]


def back(case: Case, change: Change, *, force: bool = False) -> Change:
    """Goes back, and returns the change that this was."""
    before = case.state
    case.state = go_back(case.state, case.history, change, case.hits, force=force)
    step = Step("back", "rollback", before, case.state)
    made = Change(
        f"back {len(case.history.changes)}",
        change.vessel,
        change.roots,
        step,
        change.id,
        (),
        incidental=False,
    )
    case.history.changes.append(made)
    return made


def test_a_vessel_that_was_not_there(case: Case) -> None:
    """Rolling back restores exactly that state ...: rows of other vessels are untouched, except their cross
    references that end on equipment that goes: these become pending again"""
    one = case.find("vessels", name="One")
    reference = case.find(
        "cross_references", target_equipment_id=case.find("equipment", code="P-1").source_id
    )
    assert case.is_there(reference)
    back(case, of(case, one))
    assert not case.is_there(one)
    assert not case.is_there(case.find("equipment", code="P-1"))
    assert case.is_there(case.find("equipment", code="R-1"))
    assert not case.is_there(reference)
    assert reference.source_id in case.state.pending
    assert one.source_id not in case.state.marks


def test_undone(case: Case) -> None:
    """and return with it; ... so that a rollback can be rolled back"""
    before = case.state.copy()
    undone = back(case, of(case, case.find("vessels", name="One")))
    back(case, undone)
    assert case.state.tables.of == before.tables.of
    assert case.state.base == before.base
    assert case.state.pending == before.pending


def test_refused(case: Case) -> None:
    """If the portal changed or added rows of the vessel since (maintenance logs above all), rollback refuses
    and lists them; `--force` discards them"""
    one, pump = case.find("vessels", name="One"), case.find("equipment", code="P-1")
    case.own("maintenance_logs", equipment_id=pump, performed_at=NOON, description="oil")
    with pytest.raises(Refused):
        back(case, of(case, one))
    assert case.is_there(pump)
    back(case, of(case, one), force=True)
    assert not case.is_there(pump)
    assert case.state.tables.rows("maintenance_logs") == []


def test_a_sync(case: Case) -> None:
    """before each later change to it, a checkpoint holds its state in the target"""
    pump = case.find("equipment", code="P-1")
    case.source("equipment", pump.source_id, name="New")
    case.sync()
    back(case, of(case, case.find("vessels", name="One")))
    assert case.cell(pump, "name") == "Pump"
    case.sync()
    assert case.cell(pump, "name") == "Pump", "`sync --all` leaves a vessel that was rolled back alone"


def test_what_a_row_needs_returns(case: Case) -> None:
    """What a restored row needs and has been deleted since (a user, the company) is restored too."""
    bob, score = case.find("users", email="bob@x.org"), case.find("quality_scores", score="80")
    undone = back(case, of(case, case.find("vessels", name="One")))
    case.portal_deletes(bob)
    back(case, undone)
    assert case.is_there(bob)
    assert case.cell(score, "assessed_by") == bob


def test_taken_meanwhile(case: Case) -> None:
    """Where another row has taken a unique value since, rollback refuses and names it, `--force` too."""
    undone = back(case, of(case, case.find("vessels", name="One")))
    acme = case.find("companies", code="ACME")
    case.own("vessels", company_id=acme, name="own", imo_number="9074729", status="operational")
    with pytest.raises(Refused):
        back(case, undone, force=True)


def test_conflicts_go_back(case: Case) -> None:
    """Ledger mark, base, pending, quarantine, conflicts and adoptions go back with the rows"""
    acme = case.find("companies", code="ACME").source_id
    eve = case.add("users", company_id=acme, email="eve@x.org", role="ADMIN")
    case.sync()
    first = [change for change in case.history.changes if change.vessel is None][-1]
    case.portal(eve, "users", first_name="Portal")
    case.source("users", eve.source_id, first_name="Source")
    case.sync(strategy="manual")
    undone = back(case, first, force=True)
    assert not case.is_there(eve)
    assert case.state.conflicts == {}
    back(case, undone)
    assert case.conflict().open
    case.sync()
    assert case.cell(eve, "first_name") == "Portal"


def test_what_came_back_is_as_the_change_found_it(case: Case) -> None:
    """What a restored row needs and has been deleted since (a user, the company) is restored too: as it was
    when the vessel's checkpoint was taken, which is when the run had written its companies."""
    three, blue = case.find("vessels", name="Three"), case.find("companies", name="Blue")
    case.source("companies", blue.source_id, name="Bluer")
    case.source("equipment", case.find("equipment", code="R-1").source_id, notes="later")
    case.sync()
    change = of(case, three)
    for vessel in ("Three", "Four"):
        case.vessel_gone(vessel)
    for user in case.onboarding.rows("users"):
        if user["company_id"] == blue.source_id:
            case.gone("users", str(user["id"]))
    case.gone("companies", blue.source_id)
    case.sync(allow_deletions=True)
    assert not case.is_there(blue)
    back(case, change)
    assert case.cell(blue, "name") == "Bluer"


def test_what_a_sync_kept_of_a_company_was_changed_since_an_earlier_change(case: Case) -> None:
    """If the portal changed or added rows ... since ..., rollback refuses and lists them"""
    acme = case.find("companies", code="ACME")
    first = next(change for change in case.history.changes if change.vessel is None)
    case.portal(acme, "companies", logo_url="portal")
    case.source("companies", acme.source_id, name="Source")
    case.sync(strategy="merge")
    assert case.cell(acme, "logo_url") == "portal"
    with pytest.raises(Refused):
        back(case, first)
