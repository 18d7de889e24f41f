"""JSON as text: repaired and checked without ever parsing a number or losing a digit.

PostgreSQL's `json` keeps what was written, `jsonb` refuses some of it. What a target can't store is
repaired (escapes of U+0000 and of lone surrogates become U+FFFD) or refused (nesting deeper than
`MAX_DEPTH`, numbers beyond `numeric`): mapping.md, "JSON". Input is valid JSON text, as the source
database guarantees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec
import polars as pl

MAX_DEPTH = 900
MAX_BEFORE_POINT = 131_072
MAX_AFTER_POINT = 16_383
_MAX_EXPONENT = 2**31 // 2 - 1  # PostgreSQL's numeric refuses larger exponents even of zero

_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([0-9a-fA-F]{4})|.)", re.DOTALL
)
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NUMBER = re.compile(r"-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_BRACKET = re.compile(r"[\[\]{}]")
# A number that could leave numeric's range has an exponent of four digits or is itself that long. What
# follows it tells it from a piece of a UUID.
_SUSPECT_NUMBER = r"[0-9][eE][+-]?0*[1-9][0-9]{3,}(?:[\s,\]}]|$)"
_LONG = 15_000


def suspicious(column: str) -> pl.Expr:
    """True where a text needs the slow look of `repair`: cheap, never false for one that does."""
    text = pl.col(column)
    length = text.str.len_bytes()
    return (
        text.str.contains("\\u", literal=True) | (length > 2 * MAX_DEPTH) | text.str.contains(_SUSPECT_NUMBER)
    ).fill_null(value=False)


def repair(text: str) -> tuple[str, bool, bool]:
    """Returns the storable text, whether it was repaired, and whether it can't be stored at all."""
    repaired = False

    def mend(match: re.Match[str]) -> str:
        nonlocal repaired
        digits = match.group(1)
        if digits is None:
            return match.group()
        code = int(digits, 16)
        if code == 0 or 0xD800 <= code <= 0xDFFF:
            repaired = True
            return "\\ufffd"
        return match.group()

    if "\\u" in text:
        text = _ESCAPE.sub(mend, text)
    return text, repaired, not storable(text)


def storable(text: str) -> bool:
    """Whether nesting and numbers are within what every target can hold."""
    bare = _STRING.sub('""', text)
    depth = 0
    for match in _BRACKET.finditer(bare):
        if match.group() in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return False
        else:
            depth -= 1
    return _in_ranges(bare)


def numbers_storable(text: str) -> bool:
    """Whether numbers are, however deep the nesting."""
    return _in_ranges(_STRING.sub('""', text))


def _in_ranges(bare: str) -> bool:
    """Whether all numbers of a JSON text without its strings are within numeric's range."""
    if len(bare) < _LONG and not re.search(_SUSPECT_NUMBER, bare):
        return True
    return all(_in_range(match) for match in _NUMBER.finditer(bare))


def _in_range(match: re.Match[str]) -> bool:
    whole, fraction, digits = match.group(1), match.group(2) or "", (match.group(3) or "0").lstrip("+-0")
    if len(digits) > 12:
        return False
    exponent = int(digits or "0") * (-1 if (match.group(3) or "").startswith("-") else 1)
    if abs(exponent) >= _MAX_EXPONENT or len(fraction) - exponent > MAX_AFTER_POINT:
        return False
    significant = (whole + fraction).lstrip("0")
    if not significant:
        return True
    before_point = len(significant) - len(fraction) + exponent
    return before_point <= MAX_BEFORE_POINT


def is_object(text: str) -> bool:
    """Whether a JSON text is an object."""
    return text.lstrip(" \t\r\n").startswith("{")


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def members(text: str | None) -> dict[str, str]:
    """The members of a repaired JSON object, values as JSON text, the last of duplicates; else empty."""
    if text is None or not is_object(text):
        return {}
    return {key: bytes(value).decode() for key, value in _members.decode(text).items()}


def string(text: str | None) -> str | None:
    """The value of a JSON string; None for any other JSON value."""
    if text is None or not text.startswith('"'):
        return None
    value = msgspec.json.decode(text)
    return value if isinstance(value, str) else None


def quote(text: str) -> str:
    """A text as a JSON string."""
    return msgspec.json.encode(text).decode()


_exact = msgspec.json.Decoder(float_hook=Decimal)
_sorted = msgspec.json.Encoder(order="sorted", decimal_format="number")
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]|[^\s\[\]{},:"]+', re.DOTALL)


def same(one: str | None, other: str | None) -> bool:
    """Whether two JSON texts mean the same to `jsonb`: key order, spacing and the spelling of a number don't
    count, its value and scale do; of duplicate keys the last counts. What is no JSON means only itself."""
    if one is None or other is None or one == other:
        return one == other
    try:
        # Members that are spelled alike, in whatever order: all that differs as a rule.
        if members(one) == members(other) != {}:
            return True
        if _sorted.encode(_exact.decode(one)) == _sorted.encode(_exact.decode(other)):
            return True
    except (RecursionError, ValueError):
        pass  # e.g. integers of thousands of digits, or what is no JSON
    meant = _meaning(one)
    return meant is not None and meant == _meaning(other)


def _meaning(text: str) -> str | None:
    """The canonical spelling; None of what is no JSON, which a portal may have put into a file's column."""
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except RecursionError:
        pass  # nested as deep as what bulkmig writes
    except ValueError:
        return None
    try:
        return canonical(text)
    except (ArithmeticError, IndexError, ValueError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def unlike(ones: Sequence[str | None], others: Sequence[str | None]) -> list[int]:
    """Where two columns of JSON texts don't mean the same. Objects whose members are spelled alike are told
    from others all at once."""
    try:
        pairs: Iterable[tuple[object, object]] = zip(_decoded(ones), _decoded(others), strict=True)
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError):
        pairs = ((False, True) for _ in ones)  # not all are objects
    return [
        place
        for place, (one, other) in enumerate(pairs)
        if one != other and not same(ones[place], others[place])
    ]


def _decoded(texts: Sequence[str | None]) -> list[dict[str, msgspec.Raw]]:
    found = _objects.decode(f"[{','.join(texts)}]")  # type: ignore[arg-type] # TypeError where one is null
    if len(found) != len(texts):
        raise ValueError("these are not JSON texts")
    return found


def canonical(text: str) -> str:
    """A spelling that is the same for the same JSON: sorted keys, no space, numbers as `jsonb` prints them.

    An array's or object's items are joined as its bracket closes, so no nesting is too deep for it."""
    stack: list[list[str]] = [[]]
    opened: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in "[{":
            opened.append(token)
            stack.append([])
        elif token in "]}":
            items = stack.pop()
            opened.pop()
            stack[-1].append(_object(items) if token == "}" else "[" + ",".join(items) + "]")
        else:
            stack[-1].append(_scalar(token))
    return stack[0][0]


def _object(items: list[str]) -> str:
    members = dict(zip(items[::2], items[1::2], strict=True))
    return "{" + ",".join(f"{key}:{members[key]}" for key in sorted(members)) + "}"


def _scalar(token: str) -> str:
    if token[0] == '"':
        return quote(msgspec.json.decode(token))
    if token in ("true", "false", "null"):
        return token
    number = format(Decimal(token), "f")
    return number.lstrip("-") if not number.strip("-0.") else number
