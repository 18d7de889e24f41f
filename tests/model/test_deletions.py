"""The model on what § Sync says of deletions; each test begins with its sentence."""

from __future__ import annotations

import pytest

from tests.model.case import Case
from tests.oracle.draft import Ref
from tests.oracle.sample import NOON


@pytest.fixture
def case() -> Case:
    return Case()


def log(case: Case, equipment: Ref, by: Ref | None = None) -> None:
    case.own(
        "maintenance_logs", equipment_id=equipment, performed_by=by, performed_at=NOON, description="oil"
    )


def test_plain(case: Case) -> None:
    """everything else is deleted"""
    pump = case.find("equipment", code="P-1")
    case.gone_with_all(pump)
    case.sync()
    assert not case.is_there(pump)
    assert pump not in case.state.base


def test_left_on_it(case: Case) -> None:
    """target_wins: every field keeps the target's (what it names stays with it)"""
    pump, crane = case.find("equipment", code="P-1"), case.find("equipment", code="C-1")
    seal = case.find("critical_parts", name="Seal")
    case.portal(seal, "critical_parts", current_stock="8")
    case.source("critical_parts", seal.source_id, equipment_id=crane.source_id)
    case.gone("equipment", pump.source_id)
    case.sync(strategy="target_wins")
    case.sync()
    assert case.cell(seal, "equipment_id") == pump
    case.source("critical_parts", seal.source_id, name="Seal II")
    case.sync()
    assert case.cell(seal, "equipment_id") == crane
    assert not case.is_there(pump)


def test_document_survives(case: Case) -> None:
    """Documents that survive their equipment move to the vessel before the equipment goes (else the cascade
    takes them)."""
    radar = case.find("equipment", code="R-1")
    document = case.find("documents", equipment_id=radar.source_id)
    case.gone("equipment", radar.source_id)
    case.sync()
    assert not case.is_there(radar)
    assert case.cell(document, "equipment_id") is None
    assert case.cell(document, "vessel_id", "vessel_documents") == case.find("vessels", name="Three")


def test_maintenance_logs(case: Case) -> None:
    """Equipment with maintenance logs in the target is not deleted but set to `decommissioned`, its
    `updated_at` as it was"""
    pump = case.find("equipment", code="P-1")
    log(case, pump)
    before = case.cell(pump, "updated_at")
    case.gone_with_all(pump)
    case.sync()
    assert case.cell(pump, "status") == "decommissioned"
    assert case.cell(pump, "updated_at") == before
    case.sync()
    assert case.cell(pump, "status") == "decommissioned"
    assert not case.state.conflicts


@pytest.mark.parametrize("own", ["logs", "equipment", "nothing"])
def test_vessel(case: Case, own: str) -> None:
    """a vessel with such equipment, or with rows of the portal's own, becomes `inactive`"""
    vessel = case.find("vessels", name="Two")
    if own == "logs":
        log(case, case.find("equipment", code="C-1"))
    if own == "equipment":
        case.own("equipment", vessel_id=vessel, qr_code="own", name="own", status="operational")
    case.vessel_gone("Two")
    case.sync(allow_deletions=True)
    if own == "nothing":
        assert not case.is_there(vessel)
    else:
        assert case.cell(vessel, "status") == "inactive"


def test_user(case: Case) -> None:
    """a user whom the portal's rows refer to becomes inactive"""
    ann, bob = case.find("users", email="ann@x.org"), case.find("users", email="bob@x.org")
    log(case, case.find("equipment", code="P-1"), by=ann)
    case.gone("users", ann.source_id, bob.source_id)
    case.sync()
    assert case.cell(ann, "is_active") == "false"
    assert not case.is_there(bob)
    assert case.cell(case.find("quality_scores", score="80"), "assessed_by") is None


@pytest.mark.parametrize("own", [True, False])
def test_company(case: Case, own: bool) -> None:
    """a company with anything left stays"""
    blue = case.find("companies", code="Blue Line")
    if own:
        case.own("users", company_id=blue, email="own@x.org", role="admin", is_active="true")
    case.vessel_gone("Three")
    case.vessel_gone("Four")
    for row in case.onboarding.rows("users"):
        if row["company_id"] == blue.source_id:
            case.gone("users", str(row["id"]))
    case.gone("companies", blue.source_id)
    case.sync(allow_deletions=True)
    assert case.is_there(blue) == own


def test_brake(case: Case) -> None:
    """more than a set share of the rows that bulkmig wrote for a vessel gone ... stops that vessel's
    deletions until an option allows them"""
    pump, fan = case.find("equipment", code="P-1"), case.find("equipment", code="F-1")
    case.gone_with_all(pump)
    case.gone_with_all(fan)
    outcome = case.sync(brake_least=2)
    assert outcome.braked == {case.find("vessels", name="One").source_id}
    assert case.is_there(pump)
    assert case.is_there(fan)
    case.sync(brake_least=2, allow_deletions=True)
    assert not case.is_there(pump)


def test_brake_needs_equipment(case: Case) -> None:
    """(default 20 % and at least 10 equipment)"""
    pump = case.find("equipment", code="P-1")
    case.gone_with_all(pump)
    assert case.sync().braked == set()
    assert not case.is_there(pump)


def test_brake_of_a_whole_vessel(case: Case) -> None:
    """or a vessel or company gone whole"""
    vessel = case.vessel_gone("Two")
    assert case.sync().braked == {vessel.source_id}
    assert case.is_there(vessel)


def test_brake_lets_changes_pass(case: Case) -> None:
    """stops that vessel's deletions"""
    valve = case.find("equipment", name="Valve")
    for code in ("P-1", "F-1"):
        case.gone_with_all(case.find("equipment", code=code))
    case.source("equipment", valve.source_id, name="Gate")
    case.sync(brake_least=2)
    assert case.cell(valve, "name") == "Gate"


def test_what_stayed_for_a_row_binds() -> None:
    """Vessels of equipment that is gone and of a reference to it that the portal has changed fail together:
    also where it stayed for a document, but not where it has logs."""
    case = Case("fail")
    pump, one = case.find("equipment", code="P-1"), case.find("vessels", name="One")
    document = case.find("documents", equipment_id=pump.source_id)
    reference = case.find("cross_references", target_equipment_id=pump.source_id)
    case.portal(document, "equipment_documents", file_size="500")
    case.source("documents", document.source_id, file_size="200")
    case.gone("equipment", pump.source_id)
    case.sync(strategy="target_wins", allow_deletions=True)
    assert case.is_there(pump)
    case.portal(reference, "cross_references", notes="own")
    case.source("equipment", case.find("equipment", code="R-1").source_id, name=None)
    three = case.find("vessels", name="Three")
    assert case.sync().failed == {one.source_id, three.source_id}
    log(case, pump)
    assert case.sync().failed == {three.source_id}
