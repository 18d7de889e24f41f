"""One value, two spellings: as PostgreSQL prints it, which is how bulkmig's core and ledger have it, and as
maintenance.sqlite.sql stores it.

    timestamptz   2024-05-01 07:30:00.12+00      2024-05-01T07:30:00.120000Z
    boolean       t, f                           1, 0
    uuid          of keys and references         the integer that the table of ids has for it

Both ways are exact inverses of each other. What one side can't say in its form stands in the other's as it
is: `infinity`, years BC and beyond 9999; times that the portal wrote in a form of its own. A value whose
type isn't its column's (a blob in a text column) travels as text after MARK.
"""

from __future__ import annotations

import hashlib
from typing import Any

import polars as pl

MARK = "\ufdd0sqlite:"  # begins with a code point that stands for no character
_D = "[0-9]"
_DATE = f"{_D * 4}-{_D * 2}-{_D * 2}"
_TIME = f"{_D * 2}:{_D * 2}:{_D * 2}"
_STORED = f"{_DATE}T{_TIME}.{_D * 6}Z"
_USUAL = rf"^{_STORED}$".replace(".", r"\.")
_PRINTED = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?\+00$"
_NO_FRACTION = len("2024-05-01 07:30:00+00")
_WITH_FRACTION = len("2024-05-01 07:30:00.120000")


def own_uuid(table: str, number: int) -> str:
    """The UUID of a row that bulkmig didn't create: its table and its integer id, told apart from all derived
    ids by the entity's digit 0 (`_core/ids.py`)."""
    o = hashlib.sha256(f"row of {table}".encode()).hexdigest()
    h = f"{number & 0xFFFFFFFFFFFFFFFF:017x}"
    return f"{o[:8]}-{o[8:12]}-80{h[:2]}-8{h[2:5]}-{h[5:17]}"


def own_number(table: str, uuid: str | None) -> int | None:
    """The integer id in a UUID of `own_uuid`; None for any other."""
    if uuid is None or len(uuid) != 36 or uuid[:16] != own_uuid(table, 0)[:16]:
        return None
    number = int(uuid[16:18] + uuid[20:23] + uuid[24:], 16)
    if number >= 2**64:
        return None
    return number - 2**64 if number >= 2**63 else number


def printed(kind: str, column: str) -> str:
    """SQL: what is stored in a column, as PostgreSQL prints a value of that kind."""
    if kind == "timestamptz":
        digits = f"substr({column}, 21, 6)"
        fraction = f"CASE {digits} WHEN '000000' THEN '' ELSE '.' || rtrim({digits}, '0') END"
        plain = (
            f"CASE WHEN {column} GLOB '{_STORED}' THEN substr({column}, 1, 10) || ' ' ||"
            f" substr({column}, 12, 8) || {fraction} || '+00' ELSE {column} END"
        )
    elif kind == "bool":
        plain = f"CASE {column} WHEN 1 THEN 't' WHEN 0 THEN 'f' ELSE CAST({column} AS TEXT) END"
        return f"CASE WHEN typeof({column}) IN ('integer', 'null') THEN {plain} ELSE odd({column}) END"
    elif kind == "integer":
        return (
            f"CASE WHEN typeof({column}) IN ('integer', 'null') THEN CAST({column} AS TEXT)"
            f" ELSE odd({column}) END"
        )
    else:
        plain = column
    return f"CASE WHEN typeof({column}) IN ('text', 'null') THEN {plain} ELSE odd({column}) END"


def stored(kind: str, value: str) -> str:
    """SQL: the inverse of `printed`, over an expression that yields text."""
    if kind == "timestamptz":
        plain = (
            f"CASE WHEN {value} GLOB '{_DATE} {_TIME}*+00' AND length({value}) BETWEEN 22 AND 29"
            f" THEN substr({value}, 1, 10) || 'T' || substr({value}, 12, 8) || '.' ||"
            f" substr(substr({value}, 21, max(length({value}) - 23, 0)) || '000000', 1, 6) || 'Z'"
            f" ELSE {value} END"
        )
    elif kind == "bool":
        plain = f"CASE {value} WHEN 't' THEN 1 WHEN 'f' THEN 0 ELSE {value} END"
    else:
        plain = value
    return f"CASE WHEN substr({value}, 1, {len(MARK)}) = '{MARK}' THEN plain({value}) ELSE {plain} END"


def store(kind: str, name: str) -> pl.Expr:
    """The same for a whole column of values that bulkmig's transform made."""
    column = pl.col(name).cast(pl.String)
    if kind == "timestamptz":
        plain = column.str.strip_suffix("+00")
        dotted = pl.when(column.str.len_bytes() == _NO_FRACTION).then(plain + ".").otherwise(plain)
        made = dotted.str.pad_end(_WITH_FRACTION, "0").str.replace(" ", "T", literal=True) + "Z"
        return pl.when(column.str.contains(_PRINTED)).then(made).otherwise(column).alias(name)
    if kind == "bool":
        return column.replace({"t": "1", "f": "0"}).alias(name)
    return column


def show(name: str) -> pl.Expr:
    """`printed` of a whole column of times: the inverse of `store`."""
    column = pl.col(name)
    plain = column.str.strip_suffix("Z").str.replace("T", " ", literal=True).str.strip_chars_end("0")
    return (
        pl.when(column.str.contains(_USUAL))
        .then(plain.str.strip_suffix(".") + "+00")
        .otherwise(column)
        .alias(name)
    )


def odd(value: Any) -> str | None:
    """A value whose type isn't its column's, as text."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return f"{MARK}blob:{value.hex()}"
    if isinstance(value, int):
        return f"{MARK}int:{value}"
    if isinstance(value, float):
        return f"{MARK}float:{value.hex()}"
    return f"{MARK}text:{value}"


def text(data: bytes) -> str:
    """What is stored as a text; as `odd` has bytes where it is none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"{MARK}blob:{data.hex()}"


def plain(text: str) -> Any:
    """The value that `odd` made a text of."""
    kind, _, value = text.removeprefix(MARK).partition(":")
    if kind == "blob":
        return bytes.fromhex(value)
    if kind == "int":
        return int(value)
    if kind == "float":
        return float.fromhex(value)
    return value
