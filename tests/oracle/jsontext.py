"""JSON read exactly: numbers stay text, the last of duplicate keys counts, nothing recurses.

`read` applies the mapping's repair and refusal; `canonical` spells a value in one way (keys sorted, numbers
as PostgreSQL's jsonb prints them), so that two values are equal when their spellings are.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TypeAlias

MAX_DEPTH = 900
MAX_DIGITS_BEFORE_POINT = 131_072
MAX_DIGITS_AFTER_POINT = 16_383
MAX_EXPONENT = 2**30 - 1  # above it PostgreSQL refuses the text of a number, a zero's too
REPLACEMENT = "\ufffd"


@dataclass(frozen=True)
class Number:
    """A number as jsonb prints it."""

    text: str


Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | Number | bool | None


@dataclass(frozen=True)
class Reading:
    """A JSON cell. `value` is None also for JSON null; `sql_null` tells the two apart."""

    value: Json = None
    sql_null: bool = False
    repaired: bool = False
    unstorable: bool = False

    @functools.cached_property
    def canonical(self) -> str:
        """The one spelling of the value."""
        return canonical(self.value)


class MalformedError(ValueError):
    """Text that PostgreSQL would not have taken as json."""


_TOKEN = re.compile(
    r"[ \t\n\r]*(?:"
    r"(?P<mark>[{}\[\],:])"
    r'|(?P<string>"[^"\\]*(?:\\.[^"\\]*)*")'
    r"|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>true|false|null)"
    r"|(?P<end>\Z))"
)
_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?)0*([0-9]*))?")
_ESCAPE = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u([0-9a-fA-F]{4})"
    r"|\\(.)"
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}
_quoted = json.JSONEncoder(ensure_ascii=False).encode
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


def number(text: str) -> Number | None:
    """A JSON number as jsonb prints it, None where it lies beyond numeric's range."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise MalformedError(text[:50])
    sign, whole, fraction, exponent_sign, exponent_digits = found.groups(default="")
    if len(exponent_digits) > 10 or int(exponent_digits or "0") > MAX_EXPONENT:
        return None
    exponent = int(exponent_sign + (exponent_digits or "0"))
    scale = len(fraction) - exponent
    if scale > MAX_DIGITS_AFTER_POINT:
        return None
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return Number("0." + "0" * scale if scale > 0 else "0")
    if len(digits) - scale > MAX_DIGITS_BEFORE_POINT:
        return None
    if scale <= 0:
        return Number(sign + digits + "0" * -scale)
    digits = digits.rjust(scale + 1, "0")
    return Number(f"{sign}{digits[:-scale]}.{digits[-scale:]}")


def _unescape(body: str) -> tuple[str, bool]:
    """The text inside a string literal, and whether an escape in it had to be repaired."""
    if "\\" not in body:
        return body, False
    repaired = False

    def one(found: re.Match[str]) -> str:
        nonlocal repaired
        high, low, single, short = found.groups()
        if high is not None:
            return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00))
        if single is not None:
            code = int(single, 16)
            if code == 0 or 0xD800 <= code <= 0xDFFF:
                repaired = True
                return REPLACEMENT
            return chr(code)
        return _SHORT[short]

    return _ESCAPE.sub(one, body), repaired


class _Builder:
    """Takes values in the order of the text and hangs each where it belongs."""

    def __init__(self) -> None:
        self.open: list[dict[str, Json] | list[Json]] = []
        self.keys: list[str | None] = []  # of each open container, the key that waits for its value
        self.root: list[Json] = []
        self.depth = 0

    def wants_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1], dict) and self.keys[-1] is None

    def put(self, value: Json) -> None:
        if not self.open:
            self.root.append(value)
            return
        holder = self.open[-1]
        if isinstance(holder, list):
            holder.append(value)
            return
        key = self.keys[-1]
        if key is None:
            raise MalformedError("a value without a key")
        holder[key] = value
        self.keys[-1] = None

    def begin(self, container: dict[str, Json] | list[Json]) -> None:
        self.put(container)
        self.open.append(container)
        self.keys.append(None)
        self.depth = max(self.depth, len(self.open))

    def end(self) -> None:
        self.open.pop()
        self.keys.pop()


@functools.lru_cache(maxsize=1000)
def read(text: str | None, levels: int = MAX_DEPTH) -> Reading:
    """Reads a cell of a json or jsonb column, nested at most so many levels. What it returns is shared."""
    if text is None:
        return Reading(sql_null=True)
    builder = _Builder()
    repaired = unstorable = False
    position = 0
    while True:
        found = _TOKEN.match(text, position)
        if found is None:
            raise MalformedError(text[position : position + 50])
        position = found.end()
        kind, token = str(found.lastgroup), found.group(str(found.lastgroup))
        if kind == "end":
            break
        if kind == "string":
            string, mended = _unescape(token[1:-1])
            repaired = repaired or mended
            if builder.wants_key():
                builder.keys[-1] = string
            else:
                builder.put(string)
        elif kind == "number":
            value = number(token)
            unstorable = unstorable or value is None
            builder.put(value)
        elif kind == "word":
            builder.put(_WORDS[token])
        elif token in "{[":
            builder.begin({} if token == "{" else [])
        elif token in "}]":
            builder.end()
    if len(builder.root) != 1 or builder.open:
        raise MalformedError(text[:50])
    if unstorable or builder.depth > levels:
        return Reading(unstorable=True)
    return Reading(builder.root[0], repaired=repaired)


def canonical(value: Json) -> str:
    """The one spelling of a value."""
    out: list[str] = []
    todo: list[Json | tuple[str]] = [value]  # a tuple is a piece of the spelling itself
    while todo:
        item = todo.pop()
        if isinstance(item, tuple):
            out.append(item[0])
        elif isinstance(item, dict):
            pieces: list[Json | tuple[str]] = []
            for key in sorted(item):
                name = _quoted(key)
                pieces += [(", " if pieces else "",), (f"{name}: ",), item[key]]
            todo += [("}",), *reversed(pieces), ("{",)]
        elif isinstance(item, list):
            pieces = []
            for element in item:
                pieces += [(", " if pieces else "",), element]
            todo += [("]",), *reversed(pieces), ("[",)]
        elif isinstance(item, Number):
            out.append(item.text)
        elif isinstance(item, str):
            out.append(_quoted(item))
        else:
            out.append(json.dumps(item))
    return "".join(out)


def canonical_text(text: str) -> str:
    """The one spelling of JSON text as a database gave it; text that `read` would refuse is left as it is.
    A target's specifications can have one level more than a source's: `{"value": …}`."""
    reading = read(text, MAX_DEPTH + 1)
    return text if reading.unstorable else reading.canonical


def member(value: Json, key: str) -> Json:
    """`value.key`, None where there is none or the value is not an object."""
    return value.get(key) if isinstance(value, dict) else None


def text_or(value: Json, default: str) -> str:
    """The value if it is a non-empty string, else the default."""
    return value if isinstance(value, str) and value else default
