"""The keys of a unit's equipment: what later tables need to know of it, in 28 bytes each.

All else of an equipment flows past. These stay until the last table is through, so that a part, a document, a
score or a reference finds out whether its equipment is there; a vessel of a million takes 28 MB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import polars as pl

from bulkmig._core.frames import runs
from bulkmig._core.ids import raw

Array = npt.NDArray[Any]

_STRANGER = 2**16 - 1  # the number of every owner that has no keys here


@dataclass
class Keys:
    """Added to batch by batch; asked once all are there, or in between.

    An id's two halves are held as `low` and `mixed` = high ^ low * factor, in order of `mixed`: numbers are
    found ten times as fast as texts, and ids that begin or end alike differ in it. Should two ids have the
    same one, another factor parts them."""

    _owners: dict[str, int] = field(default_factory=dict)
    _pieces: list[tuple[Array, ...]] = field(default_factory=list)
    _factor: int = 0x9E3779B97F4A7C15
    _in_order: bool = False

    def add(self, ids: pl.Series, owners: pl.Series, alike: pl.Series, out: pl.Series) -> None:
        """Ids and the vessels they belong to, a hash that those have in common which look alike (null where
        there is none), and whether the row is kept out."""
        if not len(ids):
            return
        for owner, _ in runs(owners):
            self._owners.setdefault(owner or "", len(self._owners))
        self._in_order = False
        high, low = _halves(ids)
        self._pieces.append(
            (
                high ^ low * self._factor,
                low,
                self._numbers(owners),
                alike.cast(pl.UInt64).fill_null(0).to_numpy(),
                alike.is_not_null().to_numpy(),
                out.to_numpy(),
            )
        )

    def find(self, ids: pl.Series, owners: pl.Series) -> pl.Series:
        """For each id whether it is kept out; null where that vessel has no such id."""
        if not self._pieces or not len(ids):
            return pl.Series([None], dtype=pl.Boolean).new_from_index(0, len(ids))
        mixed, lows, belongs, _, _, out = self._all()
        high, low = _halves(ids)
        wanted = high ^ low * self._factor
        places = np.minimum(np.searchsorted(mixed, wanted), len(mixed) - 1)
        there = (mixed[places] == wanted) & (lows[places] == low) & (belongs[places] == self._numbers(owners))
        found = pl.Series(out[places])
        return pl.select(pl.when(pl.Series(there) & ids.is_not_null()).then(found)).to_series()

    def repeated(self) -> pl.DataFrame:
        """Those that look like another one of their vessel, but for the first by id: id and vessel_id."""
        found: list[tuple[str, str]] = []
        if self._pieces:
            mixed, lows, belongs, alike, has, _ = self._all()
            some = np.flatnonzero(has)
            highs = mixed[some] ^ lows[some] * self._factor
            some = some[np.lexsort((lows[some], highs))]
            firsts = np.unique(alike[some], return_index=True)[1]
            later = np.delete(some, firsts)
            highs = mixed[later] ^ lows[later] * self._factor
            owners = list(self._owners)
            found = [
                (str(UUID(int=high << 64 | low)), owners[owner])
                for high, low, owner in zip(highs.tolist(), lows[later].tolist(), belongs[later], strict=True)
            ]
        return pl.DataFrame(found, schema={"id": pl.String, "vessel_id": pl.String}, orient="row")

    def _numbers(self, owners: pl.Series) -> Array:
        found = runs(owners)
        numbers = [self._owners.get(owner or "", _STRANGER) for owner, _ in found]
        return np.repeat(np.array(numbers, dtype=np.uint16), [length for _, length in found])

    def _all(self) -> tuple[Array, ...]:
        """Everything in order of the mixed halves; sorted when first asked for."""
        if not self._in_order:
            columns = [np.concatenate(column) for column in zip(*self._pieces, strict=True)]
            while True:
                order = np.argsort(columns[0])
                mixed, low = columns[0][order], columns[1][order]
                if not ((mixed[1:] == mixed[:-1]) & (low[1:] != low[:-1])).any():
                    break
                high = columns[0] ^ columns[1] * self._factor
                self._factor += 2
                columns[0] = high ^ columns[1] * self._factor
            self._pieces = [tuple(column[order] for column in columns)]
            self._in_order = True
        return self._pieces[0]


def _halves(ids: pl.Series) -> tuple[Array, Array]:
    """The upper and the lower 64 bits of each id; zeros where it is null."""
    both = np.frombuffer(raw(ids), dtype=">u8").reshape(-1, 2).astype(np.uint64)
    return both[:, 0], both[:, 1]
