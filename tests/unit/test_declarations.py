"""What entities declare agrees with itself, with the portal's schema and with what is personal in tests."""

from __future__ import annotations

import re

import pytest

from bulkmig import schemas
from bulkmig._core.declare import Entity
from bulkmig.entities import ENTITIES
from bulkmig.sync.row import cells_of
from tests.support.canaries import PERSONAL

ALL = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)


@ALL
def test_personal_is_what_canaries_are_planted_into(entity: Entity) -> None:
    planted = re.search(rf"UPDATE {entity.source} SET ([^;]*);", PERSONAL)
    names = set(re.findall(r"(?:^|\s)(\w+) = ", planted[1])) if planted is not None else set()
    assert {column.name for column in entity.columns if column.personal} == names


@ALL
def test_a_cell_is_personal_where_a_column_is_that_it_is_made_of(entity: Entity) -> None:
    personal = {column.name for column in entity.columns if column.personal}
    for name, (_, cell) in cells_of(entity).items():
        assert cell.personal == bool(personal.intersection(cell.expr.meta.root_names())), name


@ALL
def test_a_cell_is_compared_as_json_where_the_portals_column_is(entity: Entity) -> None:
    for table in entity.tables:
        statement = re.search(
            rf"CREATE TABLE {table.name} \((.*?)\n\);", schemas.read("maintenance.postgres.sql"), re.DOTALL
        )
        assert statement is not None
        columns = set(re.findall(r"^\s*(\w+)\s+jsonb", statement[1], re.MULTILINE))
        assert {name for name, cell in table.cells.items() if cell.json} == columns


@ALL
def test_findings_name_columns_of_the_source(entity: Entity) -> None:
    fields = {rule.field for rule in entity.rules} | {cell.field for _, cell in cells_of(entity).values()}
    assert fields <= set(entity.column_names)


@ALL
def test_a_table_is_keyed_by_cells_that_it_has(entity: Entity) -> None:
    for table in entity.tables:
        assert table.key
        assert set(table.key) <= table.cells.keys()
        assert table.own_key in table.key


def test_slugs_and_qr_codes_alone_are_assigned_once() -> None:
    kept = {name for entity in ENTITIES for name, (_, cell) in cells_of(entity).items() if cell.kept}
    assert kept == {"companies.slug", "equipment.qr_code"}
