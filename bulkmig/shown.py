"""Rows of a SQLite portal under the numbers that the portal knows them by, where people read of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from bulkmig.postgres.session import Connection
from bulkmig.report import Report
from bulkmig.sqlite.session import on_file

_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOTED = ("discarded", "stayed")  # lists of rows that only some commands have


async def in_report(target: Connection, report: Report) -> None:
    """Puts numbers for the UUIDs of rows into what a report lists. Nothing on PostgreSQL."""
    found = report.verified
    listed = [*found.differences, *found.drifted]
    known = await numbers(
        target,
        [v for one in listed for v in (one.id, one.expected, one.actual)]
        + [row.id for row in report.refused]
        + [row["id"] for note in _NOTED for row in report.notes.get(note, ())],
    )
    if not known:
        return
    found.differences = [_deviation(one, known) for one in found.differences]
    found.drifted = [_deviation(one, known) for one in found.drifted]
    report.refused = [replace(row, id=_key(row.id, known)) for row in report.refused]
    for note in _NOTED:
        if note in report.notes:
            report.notes[note] = [{**row, "id": _key(row["id"], known)} for row in report.notes[note]]


async def in_text(target: Connection, text: str) -> str:
    """The same for the rows that a message names."""
    known = await numbers(target, _UUID.findall(text))
    return _UUID.sub(lambda found: known.get(found[0], found[0]), text)


async def in_conflicts(target: Connection, listed: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same for conflicts as they are listed."""
    rows = list(listed)
    values = [row["target_id"] for row in rows]
    values += [v for row in rows for sides in row["fields"].values() for v in sides.values()]
    known = await numbers(target, values)
    return [
        {
            **row,
            "target_id": known.get(row["target_id"], row["target_id"]),
            "fields": {
                name: {side: known.get(value, value) for side, value in sides.items()}
                for name, sides in row["fields"].items()
            },
        }
        for row in rows
    ]


async def numbers(target: Connection, uuids: Iterable[str | None]) -> dict[str | None, str]:
    """UUID -> number, of rows of a SQLite portal."""
    file = on_file(target)
    wanted = {part for uuid in uuids if uuid for part in uuid.split("/") if len(part) == 36}
    if file is None or not wanted:
        return {}
    return {uuid: str(number) for uuid, number in await file.work(lambda: file.ids.known(wanted))}


def _deviation(one: Any, known: Mapping[str | None, str]) -> Any:
    return replace(
        one,
        id=_key(one.id, known),
        expected=known.get(one.expected, one.expected),
        actual=known.get(one.actual, one.actual),
    )


def _key(id_: str, known: Mapping[str | None, str]) -> str:
    return "/".join(known.get(part, part) for part in id_.split("/"))
