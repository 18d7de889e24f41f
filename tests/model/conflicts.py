"""The model's conflicts against the documents of `conflicts list`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.model.mirror import Mirror
from tests.model.state import Conflict, Field
from tests.oracle.contract import JSON_COLUMNS
from tests.oracle.jsontext import canonical_text

BOOLEANS = ("is_active", "causes_failure")
ASPECTS = ("base", "source", "target", "result")


def conflict_differences(
    new: Iterable[Conflict],
    still: Iterable[Conflict],
    documents: Iterable[Mapping[str, Any]],
    mirror: Mirror,
) -> list[str]:
    """Conflicts of this run field by field; of those that were open before only that they still are, since
    what is told of a row that went on changing is not fixed."""
    expected = {(one.ref.entity, one.ref.source_id, _status(one)): one for one in new}
    kept = {(one.ref.entity, one.ref.source_id, "open") for one in still}
    found = {(one["entity"], one["source_id"], one["status"]): one for one in documents}
    lines = [f"no conflict {key}" for key in (expected.keys() | kept) - found.keys()]
    lines += [f"conflict {key} not expected: {found[key]}" for key in found.keys() - expected.keys() - kept]
    for key in expected.keys() & found.keys():
        lines += [f"conflict {key}: {line}" for line in _fields(expected[key], found[key], mirror)]
    return lines


def _status(conflict: Conflict) -> str:
    return "open" if conflict.open else "resolved"


def _fields(conflict: Conflict, document: Mapping[str, Any], mirror: Mirror) -> list[str]:
    lines = []
    if document["strategy"] != conflict.strategy:
        lines.append(f"strategy {document['strategy']}, expected {conflict.strategy}")
    told: dict[str, Any] = document["fields"]
    for field, values in conflict.fields.items():
        name = next((name for name in (".".join(field), field[1]) if name in told), None)
        if name is None:
            lines.append(f"{field} is not recorded")
            continue
        for aspect in ASPECTS:
            if aspect == "result" and conflict.open:
                continue
            value, actual = mirror.real(getattr(values, aspect)), _canonical(field, told[name][aspect])
            if value != actual:
                lines.append(f"{field} {aspect}: expected {value!r}, found {actual!r}")
    return lines


def _canonical(field: Field, value: Any) -> Any:
    """A value in the spelling that the model has."""
    if field[1] in BOOLEANS:
        return {"t": "true", "f": "false"}.get(value, value)
    return canonical_text(value) if isinstance(value, str) and field in JSON_COLUMNS else value
