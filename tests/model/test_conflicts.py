"""The model on what § Sync says of conflicts; each test begins with its sentence."""

from __future__ import annotations

import pytest

from tests.model.case import Case
from tests.model.resolving import resolvable, resolve
from tests.model.state import Decision, Strategy, Values
from tests.oracle.draft import Cell, Ref


@pytest.fixture
def case() -> Case:
    return Case()


def both_change(case: Case) -> Ref:
    """The name changes on both sides, the notes in the source alone, the manufacturer in the portal alone."""
    pump = case.find("equipment", code="P-1")
    case.source("equipment", pump.source_id, name="Source's", notes="source")
    case.portal(pump, "equipment", name="Portal's", manufacturer="portal")
    return pump


@pytest.mark.parametrize(
    ("strategy", "name", "notes", "manufacturer"),
    [
        ("source_wins", "Source's", "source", None),
        ("target_wins", "Portal's", None, "portal"),
        ("merge", "Source's", "source", "portal"),
        ("manual", "Portal's", None, "portal"),
    ],
)
def test_strategies(case: Case, strategy: Strategy, name: str, notes: Cell, manufacturer: Cell) -> None:
    """every field takes the source's value, also where the portal alone changed it; every field keeps the
    target's, also where the source alone changed it; merge: field by field; manual: nothing is written"""
    pump = both_change(case)
    case.sync(strategy=strategy)
    assert case.cell(pump, "name") == name
    assert case.cell(pump, "notes", "equipment_metadata") == notes
    assert case.cell(pump, "manufacturer") == manufacturer
    assert case.conflict().open == (strategy == "manual")


@pytest.mark.parametrize("strategy", ["source_wins", "target_wins", "merge", "manual"])
def test_both_did_the_same(case: Case, strategy: Strategy) -> None:
    """Rows that come out identical are skipped: the base is the source's values."""
    pump = case.find("equipment", code="P-1")
    case.onboarding.change("equipment", pump.source_id, name="Both's")
    unit = case.unit(pump)
    case.state.tables.put("equipment", {**unit["equipment"], "name": "Both's"})
    case.sync(strategy=strategy, full=True)
    assert not case.state.conflicts
    assert case.state.base[pump].unit == case.unit(pump)


def test_record(case: Case) -> None:
    """Every conflict is recorded with base, source and target value of each field that differs, the decision
    and the strategy."""
    both_change(case)
    case.sync(strategy="merge")
    conflict = case.conflict()
    assert conflict.strategy == "merge"
    assert conflict.fields["equipment", "name"] == Values("Pump", "Source's", "Portal's", "Source's")
    assert conflict.fields["equipment", "manufacturer"] == Values(None, None, "portal", "portal")
    assert conflict.fields["equipment_metadata", "notes"] == Values(None, "source", None, "source")
    assert ("equipment", "qr_code") not in conflict.fields


@pytest.mark.parametrize("strategy", ["source_wins", "target_wins", "merge"])
def test_decided_once(case: Case, strategy: Strategy) -> None:
    """After a decision the base is the source's values, so the same change does not conflict again."""
    both_change(case)
    case.sync(strategy=strategy)
    before = case.state.tables.copy().of
    case.sync(strategy="source_wins")
    assert len(case.state.conflicts) == 1
    assert case.state.tables.of == before


MERGED = [
    ("equipment", "installation_date", "installation_date", "2019-01-01", "2022-02-02", "2022-02-02"),
    ("equipment", "installation_date", "installation_date", "2023-01-01", "2022-02-02", "2023-01-01"),
    ("equipment", "installation_date", "installation_date", "infinity", "2022-02-02", "infinity"),
    ("equipment_metadata", "quality_score", "quality_score", "9", "10", "10"),
    ("equipment_metadata", "quality_score", "quality_score", "90", "10", "90"),
    ("equipment_metadata", "quality_score", "quality_score", None, "10", "10"),
    ("equipment", "manufacturer", "manufacturer", "source", None, "source"),
    ("equipment", "manufacturer", "manufacturer", "source", "portal", "source"),
    ("equipment", "status", "status", "REMOVED", "maintenance", "maintenance"),
    ("equipment", "status", "status", "DRAFT", "decommissioned", "maintenance"),
    ("equipment", "status", "status", "REMOVED", "fault", "fault"),
    ("equipment", "specifications", "specifications", '{"criticality": 1}', '{"b": 2}', None),
]


@pytest.mark.parametrize(("table", "column", "from_column", "source", "target", "result"), MERGED)
def test_merge(
    case: Case, table: str, column: str, from_column: str, source: str | None, target: str, result: str | None
) -> None:
    """where both did, dates and times take the later, numbers the larger, a value beats NULL, equipment
    `status` the first of fault, maintenance, operational, decommissioned, and everything else ... the
    source's"""
    winch = case.find("equipment", code="W-1")
    case.source(
        "equipment", winch.source_id, manufacturer="first", quality_score="1", installation_date="2000-01-01"
    )
    case.sync()
    case.source("equipment", winch.source_id, **{from_column: source})
    case.portal(winch, table, **{column: target})
    case.sync(strategy="merge")
    wanted = result if column != "specifications" else case.conflict().fields[table, column].source
    assert case.cell(winch, column, table) == wanted


def test_times_take_the_later(case: Case) -> None:
    """dates and times take the later"""
    pump = both_change(case)
    portal = case.cell(pump, "updated_at")
    case.sync(strategy="merge")
    assert case.cell(pump, "updated_at") == portal


def test_manual_stays_open(case: Case) -> None:
    """the conflict stays open until `bulkmig conflicts resolve` decides, across later syncs"""
    pump = both_change(case)
    case.sync(strategy="manual")
    case.sync(strategy="source_wins")
    assert case.conflict().open
    assert case.cell(pump, "name") == "Portal's"


@pytest.mark.parametrize(
    ("take", "name"), [("source", "Source's"), ("target", "Portal's"), ("merge", "Source's")]
)
def test_resolved(case: Case, take: Decision, name: str) -> None:
    """until `bulkmig conflicts resolve` decides; after a decision the base is the source's values"""
    pump = both_change(case)
    case.sync(strategy="manual")
    (conflict,) = resolvable(case.state)
    resolve(case.state, case.onboarding, conflict, take, case.hits)
    assert case.cell(pump, "name") == name
    assert not case.conflict().open
    case.sync(strategy="source_wins")
    assert case.cell(pump, "name") == name


@pytest.mark.parametrize(
    ("strategy", "there"), [("source_wins", True), ("merge", True), ("target_wins", False), ("manual", False)]
)
def test_deleted_by_the_portal(case: Case, strategy: Strategy, there: bool) -> None:
    """Deleted by the portal, changed in the source: source_wins and merge create it anew under the same id,
    target_wins leaves it deleted. ... manual: open."""
    seal = case.find("critical_parts", name="Seal")
    case.portal_deletes(seal)
    case.source("critical_parts", seal.source_id, current_stock="4")
    case.sync(strategy=strategy)
    assert case.is_there(seal) == there
    assert case.conflict().open == (strategy == "manual")
    if strategy == "target_wins":
        case.sync(strategy="source_wins")
        assert not case.is_there(seal)


def test_deleted_by_the_portal_alone(case: Case) -> None:
    """Deleted by the portal, unchanged in the source: stays deleted."""
    seal = case.find("critical_parts", name="Seal")
    case.portal_deletes(seal)
    case.sync()
    assert not case.is_there(seal)
    assert not case.state.conflicts


@pytest.mark.parametrize(
    ("strategy", "there"), [("source_wins", False), ("merge", False), ("target_wins", True), ("manual", True)]
)
def test_deleted_in_the_source(case: Case, strategy: Strategy, there: bool) -> None:
    """deleted in the source, changed by the portal: source_wins and merge delete, target_wins keeps. ...
    manual: open."""
    seal = case.find("critical_parts", name="Seal")
    case.portal(seal, "critical_parts", current_stock="4")
    case.gone("critical_parts", seal.source_id)
    case.sync(strategy=strategy)
    assert case.is_there(seal) == there
    assert case.conflict().open == (strategy == "manual")
    case.sync(strategy="source_wins")
    assert case.is_there(seal) == there
