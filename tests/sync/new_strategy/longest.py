"""Of two texts the longer one stands; everything else is the source's."""

from __future__ import annotations

from bulkmig._core.declare import Entity
from bulkmig.sync.row import Row
from bulkmig.sync.strategies._strategy import Strategy, Types


def _both(entity: Entity, types: Types, base: Row, source: Row, target: Row) -> Row:
    cells = {
        cell: max(value or "", target[cell] or "", key=len) if types[cell] == "text" else value
        for cell, value in source.cells.items()
    }
    return Row(source.tables, cells)


STRATEGY = Strategy("longest", both=_both, deleted_in_source=True, deleted_by_portal=True)
