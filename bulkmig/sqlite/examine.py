"""What a file is asked about itself: its own checks, and bulkmig's tables in it."""

from __future__ import annotations

from bulkmig.sqlite.session import Session

Lost = tuple[str, int, str, str]  # table, number of the row, column, parent


async def broken(file: Session) -> tuple[list[str], list[Lost]]:
    """What the file's own checks find: damage, and references that lead nowhere."""
    damage = [text for (text,) in await file.pragma("PRAGMA main.integrity_check") if text != "ok"]
    lost = []
    for table, number, parent, _ in await file.pragma("PRAGMA main.foreign_key_check"):
        known = file.tables.get(table)
        column = next((c for c, p, *_ in known.references if p == parent), "") if known else ""
        lost.append((table, number, column, parent))
    return damage, lost


async def ledger(file: Session) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """bulkmig's own tables: name, columns, primary key."""
    rows = await file.pragma(
        "SELECT substr(m.name, 9), c.name, c.pk FROM main.sqlite_master m, pragma_table_info(m.name) c"
        " WHERE m.type = 'table' AND m.name LIKE 'bulkmig\\_%' ESCAPE '\\' ORDER BY m.name, c.cid"
    )
    names = sorted({name for name, *_ in rows})
    return [
        (
            of,
            tuple(column for name, column, _ in rows if name == of),
            tuple(c for _, c in sorted((key, c) for name, c, key in rows if name == of and key)),
        )
        for of in names
    ]
