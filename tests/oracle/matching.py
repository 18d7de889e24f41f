"""Which expected unit is which actual one, found by what they hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from tests.oracle.units import Ids, Unit, cells

Key = Callable[[Unit], Hashable | None]

LEAST_LIKENESS = 0.5
MOST_COMPARED = 400  # units left over on one side that are compared with each of the other


@dataclass
class Matching:
    """The pairs so far, and what is left on each side."""

    expected: list[Unit]
    actual: list[Unit]
    pairs: list[tuple[Unit, Unit]] = field(default_factory=list)

    def pair(self, key: Key, *, interchangeable: bool = False) -> None:
        """Pairs units with the same key, where each side has one; or any number of equals."""
        left: dict[Hashable, list[Unit]] = defaultdict(list)
        right: dict[Hashable, list[Unit]] = defaultdict(list)
        for side, found in ((self.expected, left), (self.actual, right)):
            for unit in side:
                value = key(unit)
                if value is not None:
                    found[value].append(unit)
        pairs: list[tuple[Unit, Unit]] = []
        for value, some in left.items():
            others = right[value]
            if interchangeable or len(some) == len(others) == 1:
                pairs += zip(some, others, strict=False)
        self._take(pairs)

    def pair_likest(self, ids: Ids) -> None:
        """Pairs what is left by the share of equal cells, so that one wrong cell is reported as one."""
        if len(self.expected) > MOST_COMPARED or len(self.actual) > MOST_COMPARED:
            return
        left = [set(cells(unit, ids).items()) for unit in self.expected]
        right = [set(cells(unit, ids).items()) for unit in self.actual]
        likeness = [
            (len(one & other) / max(len(one | other), 1), i, j)
            for i, one in enumerate(left)
            for j, other in enumerate(right)
        ]
        used: tuple[set[int], set[int]] = (set(), set())
        found: list[tuple[Unit, Unit]] = []
        for share, i, j in sorted(likeness, key=lambda entry: (-entry[0], entry[1], entry[2])):
            if share >= LEAST_LIKENESS and i not in used[0] and j not in used[1]:
                used[0].add(i)
                used[1].add(j)
                found.append((self.expected[i], self.actual[j]))
        self._take(found)

    def _take(self, found: list[tuple[Unit, Unit]]) -> None:
        self.pairs += found
        gone = {id(unit) for pair in found for unit in pair}
        self.expected = [unit for unit in self.expected if id(unit) not in gone]
        self.actual = [unit for unit in self.actual if id(unit) not in gone]
