"""Rows made by hand, for the oracle's own tests: a small fleet, and a target before the migration."""

from __future__ import annotations

import itertools
from typing import Any

from tests.oracle.contract import INTEGERS, TABLES
from tests.oracle.expect import Expectation, expect
from tests.oracle.source import COLUMNS, Source, SourceRow
from tests.oracle.target import Column, Target

NOON = "2024-05-01 12:00:00+00"
YEAR = 2025

DEFAULTS: dict[str, SourceRow] = {
    "companies": {"name": "Company", "code": "ACME", "is_active": "true"},
    "users": {"email": "a@x.org", "role": "TECHNICIAN", "is_active": "true"},
    "vessels": {"name": "Vessel", "imo_number": "9074729", "onboarding_status": "APPROVED"},
    "locations": {"name": "Deck"},
    "equipment": {"name": "Pump", "code": "P", "status": "ACTIVE"},
    "critical_parts": {"name": "Seal"},
    "documents": {"document_type": "MANUAL", "name": "manual.pdf", "file_path": "s3://bucket/key"},
    "quality_scores": {"category": "labels", "score": "50", "assessed_at": NOON},
    "cross_references": {"reference_type": "feeds"},
}


def _contract_columns() -> dict[tuple[str, str], Column]:
    """What the contract's columns can hold, as far as it is less than any text."""
    columns = {(table, column): Column() for table in TABLES for column in TABLES[table]}
    for table, column, length in (
        ("companies", "name", 255),
        ("companies", "slug", 50),
        ("company_settings", "contact_email", 255),
        ("company_settings", "contact_phone", 50),
        ("company_settings", "timezone", 50),
        ("critical_parts", "part_number", 100),
    ):
        columns[table, column] = Column("character varying", length=length)
    for table, column in INTEGERS:
        columns[table, column] = Column("integer")
    columns["vessel_details", "gross_tonnage"] = Column("numeric", precision=10, scale=2)
    return columns


class Sample:
    """A source and a target in the making."""

    def __init__(self) -> None:
        self.source = Source()
        self.target = Target(columns=_contract_columns())
        self._numbers = itertools.count(1)

    def new_id(self, kind: int = 0) -> str:
        """An id that no row has."""
        return f"{kind:08}-0000-4000-8000-{next(self._numbers):012}"

    def add(self, table: str, **values: Any) -> str:
        """Adds a source row, unnamed columns as in DEFAULTS or NULL; returns its id."""
        row: SourceRow = dict.fromkeys(COLUMNS[table])
        row |= {"id": self.new_id(1 + list(COLUMNS).index(table)), "created_at": NOON, "updated_at": NOON}
        row |= DEFAULTS[table]
        row |= {column: None if value is None else str(value) for column, value in values.items()}
        if row.keys() != set(COLUMNS[table]):
            raise ValueError(f"{table} has no {row.keys() - set(COLUMNS[table])}")
        getattr(self.source, table).append(row)
        return str(row["id"])

    def own(self, table: str, **values: Any) -> str:
        """Adds a row that the target has before; returns its first column."""
        row = dict.fromkeys(TABLES[table]) | {TABLES[table][0]: self.new_id(90)}
        row |= {column: NOON for column in ("created_at", "updated_at") if column in row}
        row |= {column: None if value is None else str(value) for column, value in values.items()}
        if row.keys() != set(TABLES[table]):
            raise ValueError(f"{table} has no {row.keys() - set(TABLES[table])}")
        self.target.tables[table].append(row)
        return str(row[TABLES[table][0]])

    def vessel(self, **values: Any) -> str:
        """Adds a vessel and a company for it."""
        if "company_id" not in values:
            values["company_id"] = self.add("companies", code=f"C{next(self._numbers)}")
        return self.add("vessels", **values)

    def expect(self, **options: Any) -> Expectation:
        """The outcome of a migration of all approved vessels, unless told otherwise."""
        return expect(self.source, self.target, **{"year": YEAR, **options})


def found(outcome: Expectation, entity: str | None = None) -> set[tuple[str, str, str]]:
    """The findings on one entity, or on all, as (code, source id, field)."""
    return {
        (finding.code, finding.source_id, finding.field)
        for finding in outcome.findings
        if entity in {None, finding.entity}
    }
