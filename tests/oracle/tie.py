"""What tells apart two vessels whose own rows are alike: what is on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from tests.oracle.contract import TABLES
from tests.oracle.draft import Cell
from tests.oracle.units import Ids, Tables, resolve

Signature = tuple[str, ...]


def equipment_on(tables: Tables) -> dict[Cell, Signature]:
    """By vessel: the source ids of its equipment, as the target records them."""
    vessel_of = {row["id"]: row["vessel_id"] for row in tables["equipment"]}
    found: dict[Cell, list[str]] = defaultdict(list)
    for row in tables["equipment_metadata"]:
        found[vessel_of.get(row["equipment_id"])].append(str(row["original_id"]))
    return {vessel: tuple(sorted(names)) for vessel, names in found.items()}


def contents(tables: Tables, ids: Ids) -> dict[Cell, Signature]:
    """By vessel: its equipment, its own documents, its scores and its references, none by its id."""
    original = {row["equipment_id"]: str(row["original_id"]) for row in tables["equipment_metadata"]}
    found: dict[Cell, list[str]] = defaultdict(list)

    def told(table: str, row: Mapping[str, Cell]) -> str:
        values = [
            original.get(row[column]) or resolve(row[column], ids)
            for column in TABLES[table]
            if column not in {"id", "vessel_id", "document_id"}
        ]
        return repr((table, values))

    documents = {row["id"]: told("equipment_documents", row) for row in tables["equipment_documents"]}
    details = {row["document_id"]: told("document_details", row) for row in tables["document_details"]}
    for row in tables["vessel_documents"]:
        document = row["document_id"]
        found[row["vessel_id"]].append(documents.get(document, "") + details.get(document, ""))
    for table in ("quality_scores", "cross_references"):
        for row in tables[table]:
            found[row["vessel_id"]].append(told(table, row))
    for vessel, names in equipment_on(tables).items():
        found[vessel] += names
    return {vessel: tuple(sorted(signature)) for vessel, signature in found.items()}
