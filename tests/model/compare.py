"""The model's state against what the target and bulkmig's records really hold."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.mirror import Actual, Mirror
from tests.model.state import State
from tests.oracle.contract import TABLES


async def differences(state: State, mirror: Mirror) -> list[str]:
    """Whatever is not as the model has it; empty if all is well."""
    actual = await mirror.read()
    lines = mirror.learn(state, actual)
    lines += _cells(state, mirror, actual)
    if await mirror.target.fetchval("SELECT to_regclass('bulkmig.quarantine')") is not None:
        lines += await _records(state, mirror)
    return lines


def _cells(state: State, mirror: Mirror, actual: Actual) -> Iterator[str]:
    for table in TABLES:
        wanted = {
            tuple(mirror.real(cell) for cell in key): {c: mirror.real(cell) for c, cell in row.items()}
            for key, row in state.tables.of[table].items()
        }
        names = {tuple(mirror.real(cell) for cell in key): key for key in state.tables.of[table]}
        for key in wanted.keys() - actual[table].keys():
            yield f"{table} {names[key]}: missing, expected {wanted[key]}"
        for key in actual[table].keys() - wanted.keys():
            yield f"{table} {key}: not expected: {actual[table][key]}"
        for key in wanted.keys() & actual[table].keys():
            for column, value in wanted[key].items():
                found = actual[table][key][column]
                if found != value:
                    yield f"{table} {names[key]} {column}: expected {value!r}, found {found!r}"


async def _records(state: State, mirror: Mirror) -> list[str]:
    return [*await _quarantine(state, mirror), *await _pending(state, mirror), *await _marks(state, mirror)]


async def _quarantine(state: State, mirror: Mirror) -> list[str]:
    rows = await mirror.target.fetch("SELECT entity, source_id::text, code FROM bulkmig.quarantine")
    found = {(row["entity"], row["source_id"]): row["code"] for row in rows}
    lines = [
        f"not in quarantine: {ref}, {set(listed.codes)}"
        for ref, listed in state.quarantine.items()
        if listed.sure and ref not in found
    ]
    for ref, code in found.items():
        listed = next((one for key, one in state.quarantine.items() if key == ref), None)
        if listed is None:
            lines.append(f"in quarantine: {ref} {code}")
        elif code not in listed.codes:
            lines.append(f"in quarantine: {ref} under {code}, expected {set(listed.codes)}")
    return lines


async def _pending(state: State, mirror: Mirror) -> list[str]:
    rows = await mirror.target.fetch("SELECT source_id::text FROM bulkmig.pending")
    found = {row["source_id"] for row in rows}
    either = {ref.source_id for ref, listed in state.quarantine.items() if not listed.sure}
    return [f"should wait: {id_}" for id_ in state.pending.keys() - found - either] + [
        f"should not wait: {id_}" for id_ in found - state.pending.keys() - either
    ]


async def _marks(state: State, mirror: Mirror) -> list[str]:
    rows = await mirror.target.fetch("SELECT vessel_id::text, state FROM bulkmig.vessels")
    found = {row["vessel_id"]: row["state"] for row in rows}
    return [
        f"vessel {vessel}: marked {found.get(vessel)}, expected {state.marks.get(vessel)}"
        for vessel in sorted(found.keys() | state.marks.keys())
        if found.get(vessel) != state.marks.get(vessel)
    ]
