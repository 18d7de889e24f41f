"""A statement's arrays, which SQLite has as JSON: `= ANY`, `&&` and `unnest`."""

from __future__ import annotations

import json
import re

from bulkmig.sqlite.literals import Literals

CAST = r"(?:::[a-z_0-9]+(?:\[\])*)"

_UNNEST = re.compile(r"unnest\(([^()]*)\)(?:\s+AS\s+(\w+)\s*\(([^()]*)\))?(\s+ON\s+CONFLICT)?")
_ANY = re.compile(rf"=\s*ANY\s*\(\s*([^()\s]+?){CAST}*\s*\)")
_OVERLAP = re.compile(rf"([\w.]+)\s*&&\s*(\$\d+){CAST}*")


class Arrays:
    """The arrays of one statement, whose literals are held and which has `given` parameters.

    Several that are unnested side by side become one parameter more, behind those given: `zipped` has the
    numbers of which it is made."""

    def __init__(self, literals: Literals, given: int) -> None:
        self._literals, self._given = literals, given
        self.zipped: list[tuple[int, ...]] = []

    def as_json(self, text: str) -> str:
        """The statement with JSON for arrays."""
        return _OVERLAP.sub(_overlap, _ANY.sub(self._is_in, _UNNEST.sub(self._unnest, text)))

    def _unnest(self, match: re.Match[str]) -> str:
        arguments = re.findall(r"\$(\d+)", match[1])
        names = [n.strip() for n in (match[3] or ",".join(f"c{n}" for n in arguments)).split(",")]
        blobs = [piece.strip().endswith("bytea[]") for piece in match[1].split(",")]
        ending = f" WHERE 1{match[4]}" if match[4] else ""
        alias = match[2] or "u"
        if len(names) == 1:
            source = f"${arguments[0]}" if arguments else match[1].partition("::")[0]
            return f"(SELECT value AS {names[0]} FROM json_each({source})) AS {alias}{ending}"
        self.zipped.append(tuple(int(number) for number in arguments))
        columns = ", ".join(
            f"{f'unpack(value ->> {n})' if blob else f'value ->> {n}'} AS {name}"
            for n, (name, blob) in enumerate(zip(names, blobs, strict=True))
        )
        return f"(SELECT {columns} FROM json_each(${self._given + len(self.zipped)})) AS {alias}{ending}"

    def _is_in(self, match: re.Match[str]) -> str:
        value = "unpack(value)" if "bytea[]" in match[0] else "value"
        return f" IN (SELECT {value} FROM json_each({self._array(match[1])}))"

    def _array(self, argument: str) -> str:
        """An array that stands in the statement itself is a literal."""
        literal = self._literals.of(argument)
        if literal is None:
            return argument
        items = literal[1:-1].strip("{}").split(",")
        return self._literals.mark("'" + json.dumps([item for item in items if item]) + "'")


def _overlap(match: re.Match[str]) -> str:
    return f"EXISTS (SELECT 1 FROM json_each({match[1]}) l JOIN json_each({match[2]}) r ON l.value = r.value)"
