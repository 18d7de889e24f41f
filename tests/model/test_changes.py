"""The model on what § Sync says of changes in the source; each test begins with its sentence."""

from __future__ import annotations

import pytest

from tests.model.case import Case
from tests.oracle.draft import Ref


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.mark.parametrize(
    ("table", "column", "value", "in_target"),
    [
        ("companies", "name", "New", "name"),
        ("users", "first_name", "New", "first_name"),
        ("vessels", "name", "New", "name"),
        ("equipment", "name", "New", "name"),
        ("critical_parts", "name", "New", "description"),
        ("documents", "name", "New", "file_name"),
        ("quality_scores", "category", "New", "category"),
        ("cross_references", "reference_type", "New", "reference_type"),
    ],
)
def test_every_entity(case: Case, table: str, column: str, value: str, in_target: str) -> None:
    """Everything syncs: companies, users, vessels, equipment, parts, documents, scores, cross references."""
    ref = next(
        Ref(r.entity, r.source_id) for r in case.state.base if r.source_id in case.onboarding.of[table]
    )
    case.source(table, ref.source_id, **{column: value})
    outcome = case.sync()
    assert case.cell(ref, in_target) == value
    assert outcome.updated == 1


def test_location_above(case: Case) -> None:
    """a location renamed or moved changes all equipment below it, on other vessels too"""
    deck = case.find("locations", name="Deck")
    case.source("locations", deck.source_id, name="Main deck")
    case.sync()
    assert case.cell(case.find("equipment", code="P-1"), "location") == "Main deck > Engine room"
    assert case.cell(case.find("equipment", code="C-1"), "location") == "Main deck > Hold"


def test_assessor(case: Case) -> None:
    """an assessor who arrives"""
    score = case.find("quality_scores", score="60")
    assessor = str(case.onboarding.of["quality_scores"][score.source_id]["assessed_by"])
    assert case.cell(score, "assessed_by") is None
    blue = case.find("companies", code="Blue Line")
    case.onboarding.put(
        "users",
        id=assessor,
        company_id=blue.source_id,
        email="new@x.org",
        created_at="2024-05-01 10:00:00+00",
    )
    case.sync()
    assert case.cell(score, "assessed_by") == Ref("user", assessor)


def test_winner_leaves(case: Case) -> None:
    """the winner of a duplicate e-mail who leaves"""
    second = case.find("users", email="ANN@x.org")
    assert not case.is_there(second)
    case.source("users", case.find("users", email="ann@x.org").source_id, email="anna@x.org")
    case.sync()
    assert case.cell(second, "email") == "ANN@x.org"
    assert second not in case.state.quarantine


def test_leaves_quarantine(case: Case) -> None:
    """an equipment that leaves quarantine"""
    pump = case.find("equipment", code="P-1")
    fresh = Case(migrated=False)
    fresh.source("equipment", pump.source_id, name=None)
    fresh.migrate()
    seal = fresh.find("critical_parts", name="Seal")
    assert not fresh.is_there(pump)
    assert fresh.state.quarantine[seal].codes == {"part.orphaned"}
    fresh.source("equipment", pump.source_id, name="Pump")
    fresh.sync()
    assert fresh.is_there(pump)
    assert fresh.is_there(seal)
    assert fresh.state.quarantine.keys() == case.state.quarantine.keys()


def test_identical_rows(case: Case) -> None:
    """Rows that come out identical are skipped and not counted as updates."""
    assert case.sync().updated == 0


def test_equipment_moves(case: Case) -> None:
    """Equipment that moves to another vessel, with what hangs on it"""
    winch, three = case.find("equipment", code="W-1"), case.find("vessels", name="Three")
    score = case.find("quality_scores", score="60")
    case.source("equipment", winch.source_id, vessel_id=three.source_id, location_id=None)
    case.source("quality_scores", score.source_id, vessel_id=three.source_id)
    qr_code = case.cell(winch, "qr_code")
    case.sync()
    assert case.vessel_of(winch) == case.vessel_of(score) == three
    assert case.cell(winch, "qr_code") == qr_code
    assert case.state.base[winch].vessel == three.source_id


def test_user_brings_company(case: Case) -> None:
    """A user who moves to a company that is not in the target brings that company."""
    green, bob = case.find("companies", code="acme"), case.find("users", email="bob@x.org")
    assert not case.is_there(green)
    case.source("users", bob.source_id, company_id=green.source_id)
    case.sync()
    assert case.cell(bob, "company_id") == green
    assert case.cell(green, "slug") == "acme-2"


def test_imo_numbers_exchanged(case: Case) -> None:
    """Vessels that exchange unique values commit together."""
    one, two = case.find("vessels", name="One"), case.find("vessels", name="Two")
    first, second = case.cell(one, "imo_number"), case.cell(two, "imo_number")
    case.source("vessels", one.source_id, imo_number=str(second))
    case.source("vessels", two.source_id, imo_number=str(first))
    case.sync()
    assert (case.cell(one, "imo_number"), case.cell(two, "imo_number")) == (second, first)


def test_kept_by_error(case: Case) -> None:
    """A loaded row that would now be quarantined, by error ..., keeps its last written state, and so do its
    loaded children; new children wait; it is listed in quarantine."""
    pump, seal = case.find("equipment", code="P-1"), case.find("critical_parts", name="Seal")
    case.source("equipment", pump.source_id, name=None, notes="new")
    case.source("critical_parts", seal.source_id, current_stock="9")
    new = case.add("critical_parts", equipment_id=pump.source_id, name="New")
    case.sync()
    assert case.cell(pump, "name") == "Pump"
    assert case.cell(pump, "notes", "equipment_metadata") is None
    assert case.cell(seal, "current_stock") == "3"
    assert not case.is_there(new)
    assert case.state.quarantine[pump].codes == {"equipment.name_required"}
    case.source("equipment", pump.source_id, name="Pump")
    case.sync()
    assert case.cell(pump, "notes", "equipment_metadata") == "new"
    assert case.cell(seal, "current_stock") == "9"
    assert case.is_there(new)
    assert pump not in case.state.quarantine


def test_kept_by_warning(case: Case) -> None:
    """... or by warning, keeps its last written state"""
    score = case.find("quality_scores", score="80")
    case.source("quality_scores", score.source_id, score="101")
    case.sync()
    assert case.cell(score, "score") == "80"
    assert case.state.quarantine[score].codes == {"score.out_of_range"}


def test_fail_keeps_the_whole_vessel() -> None:
    """Under `--on-error fail` an error fails the whole vessel's sync."""
    case = Case("fail")
    pump, fan = case.find("equipment", code="P-1"), case.find("equipment", code="F-1")
    case.source("equipment", pump.source_id, name=None)
    case.source("equipment", fan.source_id, name="Ventilator")
    outcome = case.sync()
    assert case.cell(fan, "name") == "Fan"
    assert outcome.failed == {case.find("vessels", name="One").source_id}
    assert not any(ref.entity == "equipment" for ref in case.state.quarantine)


def test_newly_approved(case: Case) -> None:
    """every vessel migrated before, plus newly approved ones unless `--no-new`"""
    four = case.find("vessels", name="Four")
    case.source("vessels", four.source_id, onboarding_status="APPROVED")
    case.sync(new=False)
    assert not case.is_there(four)
    waiting = case.find("cross_references", source_equipment_id=case.find("equipment", code="R-2").source_id)
    assert case.state.pending.keys() == {waiting.source_id}
    case.sync()
    assert case.is_there(four)
    assert case.is_there(waiting)


def test_slug_and_qr_code_stay(case: Case) -> None:
    """A slug, once assigned, never changes; once assigned, a qr_code never changes"""
    acme, pump = case.find("companies", code="ACME"), case.find("equipment", code="P-1")
    before = case.cell(acme, "slug"), case.cell(pump, "qr_code")
    case.source("companies", acme.source_id, code="Other", name="Other")
    case.source("equipment", pump.source_id, code="Other")
    case.sync()
    assert (case.cell(acme, "slug"), case.cell(pump, "qr_code")) == before
    assert case.cell(acme, "name") == "Other"
    assert case.cell(pump, "original_code", "equipment_metadata") == "Other"


def test_portal_alone(case: Case) -> None:
    """A row that only the portal changed is not touched."""
    pump = case.find("equipment", code="P-1")
    case.portal(pump, "equipment", name="Portal's pump")
    assert case.sync().updated == 0
    assert case.cell(pump, "name") == "Portal's pump"
    assert not case.state.conflicts
