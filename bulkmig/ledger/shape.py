"""Which tables and columns the ledger of a version has, by the numbered files, and which there are: something
else may bear their names, or some of them may be lost."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from bulkmig.postgres.session import Connection
from bulkmig.sqlite.session import on_file

Tables = dict[str, set[str]]  # table -> its columns, without the ledger's schema or prefix

_STATEMENT = re.compile(r"(CREATE|ALTER) TABLE bulkmig[._](\w+)\s(.*?);\n", re.DOTALL)
_NO_COLUMN = ("PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT")
_THERE = """
SELECT c.relname::text, a.attname::text FROM pg_class c
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relnamespace = to_regnamespace('bulkmig') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
# Names without regard to case, as SQLite takes them.
_IN_FILE = """
SELECT substr(lower(t.name), 9), lower(c.name) FROM main.sqlite_schema t, pragma_table_info(t.name, 'main') c
 WHERE t.type IN ('table', 'view') AND lower(t.name) LIKE 'bulkmig~_%' ESCAPE '~'
"""


def due(files: Iterable[str]) -> Tables:
    """What these files, one after the other, make."""
    tables: defaultdict[str, set[str]] = defaultdict(set)
    for sql in files:
        for verb, table, body in _STATEMENT.findall(re.sub(r"--.*", "", sql)):
            if verb == "CREATE":
                names = re.findall(r"^ {4}(\w+)", body, re.MULTILINE)
                tables[table] = {name for name in names if name not in _NO_COLUMN}
            else:
                tables[table] |= set(re.findall(r"ADD COLUMN (\w+)", body))
                tables[table] -= set(re.findall(r"DROP COLUMN (\w+)", body))
    return dict(tables)


async def there(connection: Connection) -> Tables:
    """What the target has under such names."""
    file = on_file(connection)
    rows = await file.pragma(_IN_FILE) if file is not None else await connection.fetch(_THERE)
    tables: defaultdict[str, set[str]] = defaultdict(set)
    for table, column in rows:
        tables[table].add(column)
    return dict(tables)


def lacks(found: Tables, wanted: Tables) -> list[str]:
    """The tables and columns that are wanted and aren't there."""
    missing = []
    for table, columns in sorted(wanted.items()):
        if table not in found:
            missing.append(f"table {table}")
        else:
            missing += [f"column {table}.{column}" for column in sorted(columns - found[table])]
    return missing
