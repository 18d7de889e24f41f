"""Every finding code: severity, source column, whether it quarantines, whether something was lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]

# Where a code concerns one of several columns, the place where it is found names the column: "*".
FIELDS: dict[str, str] = {
    "json.unstorable_character": "*",
    "json.unstorable": "*",
    "value.out_of_range": "*",
    "value.unstorable": "*",
    "value.truncated": "*",
    "company.adopted": "code",
    "company.slug_collision": "code",
    "company.timezone_unknown": "timezone",
    "company.email_invalid": "contact_email",
    "user.adopted": "email",
    "user.email_duplicate": "email",
    "user.email_taken": "email",
    "user.email_invalid": "email",
    "user.role_unknown": "role",
    "vessel.adopted": "imo_number",
    "vessel.imo_missing": "imo_number",
    "vessel.imo_invalid": "imo_number",
    "vessel.imo_taken": "imo_number",
    "vessel.status_unknown": "onboarding_status",
    "vessel.year_built_implausible": "year_built",
    "location.parent_missing": "parent_id",
    "location.cycle": "parent_id",
    "equipment.name_required": "name",
    "equipment.location_unknown": "location_id",
    "equipment.location_missing": "location_id",
    "equipment.qr_collision": "code",
    "equipment.status_unknown": "status",
    "equipment.last_maintenance_invalid": "metadata",
    "equipment.warranty_before_installation": "warranty_expiry",
    "equipment.quality_score_range": "quality_score",
    "equipment.serial_duplicate": "serial_number",
    "part.orphaned": "equipment_id",
    "part.stock_negative": "*",
    "part.below_minimum": "current_stock",
    "document.equipment_missing": "equipment_id",
    "document.type_unknown": "document_type",
    "document.path_invalid": "file_path",
    "score.out_of_range": "score",
    "score.equipment_missing": "equipment_id",
    "score.assessor_missing": "assessed_by",
    "cross_reference.end_missing": "*",
}

ERRORS = frozenset(
    {
        "json.unstorable",
        "value.unstorable",
        "user.role_unknown",
        "vessel.imo_taken",
        "equipment.name_required",
        "equipment.location_unknown",
    }
)

# Warnings whose row is quarantined.
QUARANTINING = frozenset(
    {
        "user.email_duplicate",
        "user.email_taken",
        "part.orphaned",
        "score.out_of_range",
        "score.equipment_missing",
        "cross_reference.end_missing",
    }
)

# A default, a cut, a collapse or a repair: what the lossiness ledger counts.
LOSSY = frozenset(
    {
        "json.unstorable_character",
        "value.out_of_range",
        "value.truncated",
        "company.slug_collision",
        "vessel.status_unknown",
        "location.parent_missing",
        "location.cycle",
        "equipment.status_unknown",
        "equipment.last_maintenance_invalid",
        "document.equipment_missing",
        "document.type_unknown",
        "score.assessor_missing",
    }
)


class Finding(NamedTuple):
    """One finding, without its message."""

    severity: Severity
    code: str
    entity: str
    source_id: str
    field: str


class Findings:
    """What was found so far. A set: the same thing found on two paths is one finding."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], set[Finding]] = defaultdict(set)

    def note(self, code: str, entity: str, source_id: str, field: str | None = None) -> None:
        """Records a finding; the field is that of FIELDS, or given where FIELDS leaves it open."""
        if (field is None) == (FIELDS[code] == "*"):
            raise ValueError(f"{code}: the field is given exactly where FIELDS leaves it open")
        severity: Severity = "error" if code in ERRORS else "warning"
        self._of[entity, source_id].add(Finding(severity, code, entity, source_id, field or FIELDS[code]))

    def all(self) -> set[Finding]:
        """Everything found."""
        return {finding for found in self._of.values() for finding in found}

    def codes(self, entity: str, source_id: str) -> set[str]:
        """The codes found on one row."""
        return {finding.code for finding in self._of.get((entity, source_id), ())}

    def errors(self, entity: str, source_id: str) -> set[str]:
        """The errors among them."""
        return self.codes(entity, source_id) & ERRORS

    def keeps_out(self, entity: str, source_id: str) -> set[str]:
        """Those for which the row itself is quarantined, where rows are."""
        return self.codes(entity, source_id) & (ERRORS | QUARANTINING)

    def any_error(self, entity: str, source_ids: Iterable[str]) -> bool:
        """Whether any of these rows has an error."""
        return any(self.errors(entity, source_id) for source_id in source_ids)
