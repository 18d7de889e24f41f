"""The source in memory: rows by table and id, as PostgreSQL's own text."""

from __future__ import annotations

from tests.oracle.sample import DEFAULTS, NOON
from tests.oracle.source import COLUMNS, Source, SourceRow

ENTITY_OF = {
    "companies": "company",
    "users": "user",
    "vessels": "vessel",
    "equipment": "equipment",
    "critical_parts": "critical_part",
    "documents": "document",
    "quality_scores": "quality_score",
    "cross_references": "cross_reference",
}
TABLE_OF = {entity: table for table, entity in ENTITY_OF.items()}


class Onboarding:
    """All source rows: table -> id -> row. Rows are replaced, never changed in place."""

    def __init__(self) -> None:
        self.of: dict[str, dict[str, SourceRow]] = {table: {} for table in COLUMNS}

    def put(self, table: str, **values: str | None) -> SourceRow:
        """Inserts a row, columns that aren't named NULL or the usual; returns it."""
        row: SourceRow = dict.fromkeys(COLUMNS[table])
        row |= {"created_at": NOON, "updated_at": NOON, **DEFAULTS[table], **values}
        self.of[table][str(row["id"])] = row
        return row

    def change(self, table: str, id_: str, **values: str | None) -> SourceRow:
        """Changes columns of a row; returns the new one."""
        row = {**self.of[table][id_], **values}
        self.of[table][id_] = row
        return row

    def delete(self, table: str, id_: str) -> None:
        """Deletes a row."""
        del self.of[table][id_]

    def get(self, entity: str, id_: str) -> SourceRow | None:
        """A row by entity and id."""
        return self.of[TABLE_OF[entity]].get(id_)

    def rows(self, table: str) -> list[SourceRow]:
        """The rows of a table in order of id."""
        return [row for _, row in sorted(self.of[table].items())]

    def source(self) -> Source:
        """As the oracle takes it."""
        return Source(**{table: self.rows(table) for table in COLUMNS})
