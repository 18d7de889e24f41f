"""Parts, documents, scores and cross references: what is mapped, and what lacks its equipment."""

from __future__ import annotations

import pytest

from tests.oracle.draft import Ref
from tests.oracle.sample import Sample, found

OUT = "value.out_of_range"


class Fleet(Sample):
    """A vessel with a good and a broken equipment, and another vessel with a good one."""

    def __init__(self) -> None:
        super().__init__()
        self.company = self.add("companies", code="FLEET")
        self.ship = self.vessel(company_id=self.company)
        self.other = self.vessel(company_id=self.company, imo_number="IMO9074729")
        self.good = self.add("equipment", vessel_id=self.ship)
        self.broken = self.add("equipment", vessel_id=self.ship, name="")
        self.far = self.add("equipment", vessel_id=self.other)


def test_a_part_keeps_its_number_whole_in_the_details() -> None:
    fleet = Fleet()
    number = "n" * 101
    part = fleet.add(
        "critical_parts", equipment_id=fleet.far, part_number=number, criticality="CRITICAL", quantity=2
    )
    fleet.add("critical_parts", equipment_id=fleet.far, criticality="HIGH")
    fleet.add("critical_parts", equipment_id=fleet.far)
    outcome = fleet.expect()
    rows = outcome.tables["critical_parts"]
    assert rows[0]["part_number"] == "n" * 100
    assert [row["causes_failure"] for row in rows] == ["true", "false", "false"]
    details = outcome.tables["part_details"][0]
    assert (details["original_part_number"], details["quantity_per_equipment"]) == (number, "2")
    assert found(outcome, "critical_part") == {("value.truncated", part, "part_number")}


def test_negative_stock_is_found_by_column_and_too_little_once() -> None:
    fleet = Fleet()
    part = fleet.add("critical_parts", equipment_id=fleet.far, current_stock=-2, minimum_stock=-1)
    fleet.add("critical_parts", equipment_id=fleet.far, current_stock=0)
    fleet.add("critical_parts", equipment_id=fleet.far, current_stock=1, minimum_stock=1)
    assert found(fleet.expect(), "critical_part") == {
        ("part.stock_negative", part, "current_stock"),
        ("part.stock_negative", part, "minimum_stock"),
        ("part.below_minimum", part, "current_stock"),
    }


def test_parts_without_equipment_are_quarantined_those_of_no_vessel_with_all() -> None:
    fleet = Fleet()
    hanging = fleet.add("critical_parts", equipment_id=fleet.broken)
    alone = fleet.add("critical_parts", equipment_id=fleet.new_id())
    outcome = fleet.expect(on_error="quarantine")
    assert outcome.quarantined["critical_part", hanging] == {"part.orphaned"}
    assert outcome.quarantined["critical_part", alone] == {"part.orphaned"}
    assert fleet.expect(on_error="fail").quarantined == {("critical_part", alone): {"part.orphaned"}}
    named = fleet.expect(selection={fleet.ship, fleet.other}, on_error="quarantine")
    assert ("critical_part", alone) not in named.quarantined
    assert ("part.orphaned", hanging, "equipment_id") in found(named)
    assert named.tables["critical_parts"] == []


@pytest.mark.parametrize("which", ["broken", "far", "nowhere", "good", "none"])
def test_a_document_without_its_equipment_moves_to_the_vessel(which: str) -> None:
    fleet = Fleet()
    equipment = {"broken": fleet.broken, "far": fleet.far, "nowhere": fleet.new_id(), "good": fleet.good}.get(
        which
    )
    document = fleet.add("documents", vessel_id=fleet.ship, equipment_id=equipment)
    outcome = fleet.expect(on_error="quarantine")
    [row] = outcome.tables["equipment_documents"]
    on_vessel = {"vessel_id": Ref("vessel", fleet.ship), "document_id": Ref("document", document)}
    if which == "good":
        assert row["equipment_id"] == Ref("equipment", fleet.good)
        assert outcome.tables["vessel_documents"] == []
    else:
        assert row["equipment_id"] is None
        assert outcome.tables["vessel_documents"] == [on_vessel]
    missing = {("document.equipment_missing", document, "equipment_id")}
    assert found(outcome, "document") == (set() if which in {"good", "none"} else missing)


@pytest.mark.parametrize(
    ("kind", "mapped"),
    [
        *(("MANUAL", "manual"), ("DRAWING", "drawing"), ("CERTIFICATE", "certificate")),
        *(("DATASHEET", "datasheet"), ("PHOTO", "image"), ("REPORT", "report"), ("OTHER", "other")),
        ("SONG", "other"),
    ],
)
def test_document_types(kind: str, mapped: str) -> None:
    fleet = Fleet()
    fleet.add("documents", vessel_id=fleet.other, document_type=kind)
    outcome = fleet.expect()
    assert outcome.tables["equipment_documents"][0]["document_type"] == mapped
    assert outcome.tables["document_details"][0]["original_document_type"] == kind
    assert ("document.type_unknown" in outcome.by_code()) == (kind == "SONG")


@pytest.mark.parametrize(
    ("path", "valid"),
    [
        *(("s3://b/k", True), ("s3://b/k/\n", True), ("https://h", True), ("https://h/p", True)),
        *(("s3://b", False), ("s3://b/", False), ("s3:///k", False), ("http://h", False), ("", False)),
        *(("https://", False), ("https:///p", False), (" s3://b/k", False), ("S3://b/k", False)),
    ],
)
def test_document_paths(path: str, valid: bool) -> None:
    fleet = Fleet()
    document = fleet.add("documents", vessel_id=fleet.other, file_path=path)
    outcome = fleet.expect()
    assert outcome.tables["equipment_documents"][0]["file_path"] == path
    assert found(outcome, "document") == (
        set() if valid else {("document.path_invalid", document, "file_path")}
    )


@pytest.mark.parametrize(
    ("size", "kept"), [(2**31 - 1, True), (2**31, False), (-(2**31), True), (None, True)]
)
def test_a_file_size_that_the_column_cannot_hold_becomes_null(size: int | None, kept: bool) -> None:
    fleet = Fleet()
    document = fleet.add("documents", vessel_id=fleet.other, file_size=size)
    outcome = fleet.expect()
    held = outcome.tables["equipment_documents"][0]["file_size"]
    assert held == (str(size) if kept and size is not None else None)
    assert found(outcome, "document") == (set() if kept else {(OUT, document, "file_size")})
    assert outcome.lossiness[OUT] == (0 if kept else 1)


def test_scores() -> None:
    fleet = Fleet()
    user = fleet.add("users", company_id=fleet.company)
    stranger = fleet.add("users", company_id=fleet.add("companies"), email="b@x.org")
    good = fleet.add("quality_scores", vessel_id=fleet.ship, equipment_id=fleet.good, assessed_by=user)
    whole = fleet.add("quality_scores", vessel_id=fleet.ship, assessed_by=stranger)
    far = fleet.add("quality_scores", vessel_id=fleet.ship, equipment_id=fleet.far, score=101)
    broken = fleet.add("quality_scores", vessel_id=fleet.ship, equipment_id=fleet.broken)
    outcome = fleet.expect(on_error="quarantine")
    rows = {row["id"]: row for row in outcome.tables["quality_scores"]}
    assert rows.keys() == {Ref("quality_score", good), Ref("quality_score", whole)}
    assert rows[Ref("quality_score", good)]["assessed_by"] == Ref("user", user)
    assert rows[Ref("quality_score", whole)]["assessed_by"] is None
    assert found(outcome, "quality_score") == {
        ("score.assessor_missing", whole, "assessed_by"),
        ("score.equipment_missing", far, "equipment_id"),
        ("score.out_of_range", far, "score"),
        ("score.equipment_missing", broken, "equipment_id"),
    }
    assert outcome.quarantined["quality_score", far] == {"score.out_of_range", "score.equipment_missing"}
    failing = fleet.expect(on_error="fail")
    assert failing.failed_vessels == {fleet.ship}
    assert failing.quarantined == {}
    assert "score.equipment_missing" in failing.by_code()


def reference(fleet: Fleet, one: str, other: str, vessel: str | None = None) -> str:
    """Adds a cross reference of the ship, or of the vessel named."""
    return fleet.add(
        "cross_references",
        vessel_id=vessel or fleet.ship,
        source_equipment_id=one,
        target_equipment_id=other,
    )


def test_a_reference_is_loaded_when_both_ends_are_there() -> None:
    fleet = Fleet()
    fleet.source.equipment.pop(1)
    loaded = reference(fleet, fleet.good, fleet.far)
    outcome = fleet.expect()
    [row] = outcome.tables["cross_references"]
    assert row["id"] == Ref("cross_reference", loaded)
    assert row["target_equipment_id"] == Ref("equipment", fleet.far)
    alone = fleet.expect(selection={fleet.ship})
    assert (alone.pending, alone.tables["cross_references"]) == ({loaded}, [])
    assert fleet.expect(selection={fleet.other}).pending == set()


def test_an_end_that_is_nowhere_or_quarantined_quarantines_the_reference() -> None:
    fleet = Fleet()
    nowhere = reference(fleet, fleet.good, fleet.new_id())
    broken = reference(fleet, fleet.broken, fleet.good)
    both = reference(fleet, fleet.new_id(), fleet.broken, fleet.other)
    outcome = fleet.expect(on_error="quarantine")
    assert found(outcome, "cross_reference") == {
        ("cross_reference.end_missing", nowhere, "target_equipment_id"),
        ("cross_reference.end_missing", broken, "source_equipment_id"),
        ("cross_reference.end_missing", both, "source_equipment_id"),
        ("cross_reference.end_missing", both, "target_equipment_id"),
    }
    assert {entity for entity, _ in outcome.quarantined} == {"cross_reference", "equipment"}


def test_an_end_on_a_failed_vessel_waits_and_one_on_a_quarantined_vessel_never_comes() -> None:
    fleet = Fleet()
    waits = reference(fleet, fleet.far, fleet.good, fleet.other)
    failing = fleet.expect(on_error="fail")
    assert (failing.failed_vessels, failing.pending) == ({fleet.ship}, {waits})
    fleet.source.vessels[0]["metadata"] = "1e999999"
    own = reference(fleet, fleet.good, fleet.far)
    outcome = fleet.expect(on_error="quarantine")
    assert outcome.quarantined_vessels == {fleet.ship}
    assert outcome.quarantined == {
        ("vessel", fleet.ship): {"json.unstorable"},
        ("equipment", fleet.good): {"json.unstorable"},
        ("equipment", fleet.broken): {"json.unstorable", "equipment.name_required"},
        ("cross_reference", own): {"json.unstorable"},
        ("cross_reference", waits): {"cross_reference.end_missing"},
    }
    assert {row["id"] for row in outcome.tables["equipment"]} == {Ref("equipment", fleet.far)}
