"""Equipment: QR codes, dates, specifications, what is recorded beside it."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.oracle.sample import Sample, found
from tests.oracle.source import Source
from tests.oracle.text import WHITE_SPACE

FORGET = frozenset({"equipment.location_missing"})  # found on every equipment of these fleets


def one(**values: object) -> tuple[Sample, str]:
    """A fleet of one equipment."""
    sample = Sample()
    return sample, sample.add("equipment", vessel_id=sample.vessel(), **values)


def digits(equipment: str) -> str:
    """The hash of an equipment, whole."""
    return hashlib.sha256(equipment.encode()).hexdigest()


def two_with_one_hash() -> tuple[str, str]:
    """Two ids whose hashes begin with the same six digits."""
    seen: dict[str, str] = {}
    for number in range(1_000_000):
        candidate = f"00000005-0000-4000-8000-{number:012}"
        other = seen.setdefault(digits(candidate)[:6], candidate)
        if other != candidate:
            return other, candidate
    raise AssertionError


@pytest.mark.parametrize(("code", "start"), [("P 1", "P 1"), ("", "EQ"), (None, "EQ")])
def test_a_qr_code_is_the_code_and_six_digits_of_the_hash(code: str | None, start: str) -> None:
    sample, equipment = one(code=code)
    outcome = sample.expect()
    assert outcome.tables["equipment"][0]["qr_code"] == f"{start}-{digits(equipment)[:6]}"
    assert outcome.tables["equipment_metadata"][0]["original_code"] == code


def test_qr_codes_that_collide_anywhere_in_the_fleet_all_get_longer_also_past_the_targets() -> None:
    first, second = two_with_one_hash()
    sample = Sample()
    sample.add("equipment", id=first, code="EQ", vessel_id=sample.vessel())
    sample.add("equipment", id=second, code="", vessel_id=sample.vessel(imo_number=None))
    vessel = str(sample.source.vessels[0]["id"])
    outcome = sample.expect(selection={vessel})
    assert [row["qr_code"] for row in outcome.tables["equipment"]] == [f"EQ-{digits(first)[:8]}"]
    assert {code for code, row, _ in found(outcome) if row == first} - FORGET == {"equipment.qr_collision"}
    assert {row for _, row, _ in found(outcome, "equipment")} == {first}

    own = sample.own("vessels", company_id=sample.own("companies", slug="other"))
    sample.own("equipment", vessel_id=own, qr_code=f"EQ-{digits(second)[:8]}")
    codes = {row["qr_code"] for row in sample.expect().tables["equipment"]}
    assert codes >= {f"EQ-{digits(first)[:10]}", f"EQ-{digits(second)[:10]}"}


def test_a_qr_code_that_the_target_has_is_avoided() -> None:
    sample, equipment = one()
    own = sample.own("vessels", company_id=sample.own("companies", slug="other"))
    sample.own("equipment", vessel_id=own, qr_code=f"P-{digits(equipment)[:6]}")
    outcome = sample.expect()
    assert {row["qr_code"] for row in outcome.tables["equipment"]} > {f"P-{digits(equipment)[:8]}"}
    assert ("equipment.qr_collision", equipment, "code") in found(outcome)


@pytest.mark.parametrize("name", [None, "", " ", "\u3000\u0085\u2028"])
def test_a_name_is_required(name: str | None) -> None:
    sample, equipment = one(name=name)
    outcome = sample.expect(on_error="quarantine")
    assert outcome.quarantined == {("equipment", equipment): {"equipment.name_required"}}
    assert len(outcome.done_vessels) == 1
    assert sample.expect(on_error="fail").done_vessels == set()


def test_white_space_is_unicodes() -> None:
    assert len(WHITE_SPACE) == 25
    for name in ("\u200b", "\x1c", "\ufeff"):
        sample, _ = one(name=name)
        assert sample.expect().tables["equipment"][0]["name"] == name


@pytest.mark.parametrize(
    ("status", "mapped"),
    [
        *((status, "operational") for status in ("ACTIVE", "VERIFIED", "APPROVED", "REVIEWED")),
        *(("DRAFT", "maintenance"), ("REMOVED", "decommissioned"), ("DELETED", "decommissioned")),
        *((None, "operational"), ("LENT", "operational")),
    ],
)
def test_status(status: str | None, mapped: str) -> None:
    sample, _ = one(status=status)
    outcome = sample.expect()
    assert outcome.tables["equipment"][0]["status"] == mapped
    assert outcome.tables["equipment_metadata"][0]["original_status"] == status
    assert ("equipment.status_unknown" in outcome.by_code()) == (status in {None, "LENT"})


@pytest.mark.parametrize(
    ("metadata", "date", "valid"),
    [
        ('{"last_maintenance_date": "2024-02-29T23:59:00-12:00"}', "2024-02-29", True),
        ('{"last_maintenance_date": null}', None, True),
        ('{"last_maintenance": 1}', None, True),
        ('["last_maintenance_date"]', None, True),
        (None, None, True),
        ('{"last_maintenance_date": 20240229}', None, False),
        ('{"last_maintenance_date": "29.2.2024"}', None, False),
        ('{"last_maintenance_date": ""}', None, False),
    ],
)
def test_last_maintenance(metadata: str | None, date: str | None, valid: bool) -> None:
    sample, equipment = one(metadata=metadata)
    outcome = sample.expect()
    assert outcome.tables["equipment"][0]["last_maintenance_date"] == date
    expected = set() if valid else {("equipment.last_maintenance_invalid", equipment, "metadata")}
    assert {finding for finding in found(outcome) if finding[0] not in FORGET} == expected


@pytest.mark.parametrize(
    ("last", "installed", "interval", "due"),
    [
        ("2024-02-28", "2000-01-01", 2, "2024-03-01"),
        (None, "2000-01-01", 1, "2000-01-02"),
        ("nonsense", "2000-01-01", 1, "2000-01-02"),
        (None, None, 1, None),
        (None, "2000-01-01", 0, None),
        (None, "2000-01-01", -1, None),
        (None, "2000-01-01", None, None),
        (None, "infinity", 1, None),
        ("2024-02-28", "infinity", 1, "2024-02-29"),
        (None, "0001-01-01 BC", 400, None),
        (None, "10000-01-01", 1, None),
        (None, "9999-12-31", 1, None),
        (None, "2000-01-01", 2147483647, None),
    ],
)
def test_next_maintenance(
    last: str | None, installed: str | None, interval: int | None, due: str | None
) -> None:
    metadata = json.dumps({"last_maintenance_date": last})
    sample, _ = one(metadata=metadata, installation_date=installed, maintenance_interval_days=interval)
    [row] = sample.expect().tables["equipment"]
    assert (row["next_maintenance_date"], row["installation_date"]) == (due, installed)


@pytest.mark.parametrize(
    ("specifications", "merged"),
    [
        (None, '{"classification": "SPARE", "criticality": "CRITICAL", "maintenance_interval_days": 7}'),
        (
            '{"criticality": null, "x": 1.50, "x": 2.50, "maintenance_interval_days": ""}',
            '{"classification": "SPARE", "criticality": null, "maintenance_interval_days": "", "x": 2.50}',
        ),
        ("null", None),
        ("[1]", None),
        ('"text"', None),
    ],
)
def test_specifications_are_merged(specifications: str | None, merged: str | None) -> None:
    sample, _ = one(
        specifications=specifications,
        criticality="CRITICAL",
        classification="SPARE",
        maintenance_interval_days=7,
    )
    whole = (
        '{"classification": "SPARE", "criticality": "CRITICAL", '
        f'"maintenance_interval_days": 7, "value": {specifications}}}'
    )
    assert sample.expect().tables["equipment"][0]["specifications"] == (merged or whole)


def test_nothing_is_merged_where_nothing_is() -> None:
    sample, _ = one()
    assert sample.expect().tables["equipment"][0]["specifications"] == "{}"


def test_verification_is_text_as_to_jsonb_writes_it() -> None:
    who = "00000002-0000-4000-8000-000000000099"
    sample, equipment = one(
        last_verified_at="0044-03-15 10:00:00.5+00 BC", next_verification_date="infinity", verified_by=who
    )
    [row] = sample.expect().tables["equipment_metadata"]
    assert json.loads(str(row["verification_data"])) == {
        "last_verified_at": "0044-03-15T10:00:00.5+00:00 BC",
        "next_verification_date": "infinity",
        "verified_by": who,
    }
    assert row["original_id"] == equipment
    other, _ = one()
    [row] = other.expect().tables["equipment_metadata"]
    nothing = {"last_verified_at": None, "next_verification_date": None, "verified_by": None}
    assert json.loads(str(row["verification_data"])) == nothing


@pytest.mark.parametrize(
    ("warranty", "installed", "before"),
    [
        ("2000-01-01", "2000-01-01", False),
        ("2000-01-01", "2000-01-02", True),
        ("10000-01-01", "9999-01-01", False),
        ("0100-01-01 BC", "0050-01-01 BC", True),
        ("-infinity", "0050-01-01 BC", True),
        ("2000-01-01", "infinity", True),
        (None, "2000-01-01", False),
    ],
)
def test_warranty(warranty: str | None, installed: str, before: bool) -> None:
    sample, _ = one(warranty_expiry=warranty, installation_date=installed)
    assert ("equipment.warranty_before_installation" in sample.expect().by_code()) == before


@pytest.mark.parametrize(
    ("score", "outside"), [(-1, True), (0, False), (100, False), (101, True), (None, False)]
)
def test_quality_score(score: int | None, outside: bool) -> None:
    sample, _ = one(quality_score=score)
    assert ("equipment.quality_score_range" in sample.expect().by_code()) == outside


def test_serial_numbers_twice_on_one_vessel_are_found_on_each_but_the_first_by_id() -> None:
    sample = Sample()
    vessel, other = sample.vessel(), sample.vessel(imo_number=None)
    rows = [sample.add("equipment", vessel_id=vessel, serial_number="1", model="M") for _ in range(3)]
    sample.add("equipment", vessel_id=vessel, serial_number="1", model="N")
    sample.add("equipment", vessel_id=other, serial_number="1", model="M")
    for _ in range(2):
        sample.add("equipment", vessel_id=vessel, serial_number="")
        sample.add("equipment", vessel_id=vessel)
    sample.source = Source(**{**vars(sample.source), "equipment": sample.source.equipment[::-1]})
    duplicates = {row for code, row, _ in found(sample.expect()) if code == "equipment.serial_duplicate"}
    assert duplicates == set(rows[1:])


@pytest.mark.parametrize("column", ["metadata", "specifications"])
def test_json_too_deep_is_an_error_of_the_row(column: str) -> None:
    sample, equipment = one(**{column: "[" * 901 + "]" * 901})
    outcome = sample.expect(on_error="quarantine")
    assert ("json.unstorable", equipment, column) in found(outcome)
    assert outcome.tables["equipment"] == []


def test_the_statistics_count_source_rows_of_the_selection() -> None:
    sample, _ = one(criticality="CRITICAL", name="")
    sample.add("equipment", vessel_id=sample.vessel(onboarding_status="REJECTED", imo_number=None))
    assert sample.expect().stats == {
        "total_equipment": 1,
        "equipment_without_location": 1,
        "critical_equipment": 1,
    }
