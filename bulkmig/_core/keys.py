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

Array = npt.NDArray[Any]

# Bytes, compared as such. numpy takes the zeros at the end of a text for padding, which changes nothing where
# all are equally long.
_ID = np.dtype("S16")


@dataclass
class Keys:
    """Added to batch by batch; asked once all are there, or in between."""

    _owners: dict[str, int] = field(default_factory=dict)
    _pieces: list[tuple[Array, ...]] = field(default_factory=list)
    _in_order: bool = False

    def add(self, ids: pl.Series, owners: pl.Series, alike: pl.Series, out: pl.Series) -> None:
        """Ids and the vessels they belong to, a hash that those have in common which look alike (null where
        there is none), and whether the row is kept out."""
        if not len(ids):
            return
        for owner in owners.unique():
            self._owners.setdefault(owner, len(self._owners))
        self._in_order = False
        self._pieces.append(
            (
                _bytes(ids),
                self._numbers(owners).to_numpy(),
                alike.cast(pl.UInt64).fill_null(0).to_numpy(),
                alike.is_not_null().to_numpy(),
                out.to_numpy(),
            )
        )

    def find(self, ids: pl.Series, owners: pl.Series) -> pl.Series:
        """For each id whether it is kept out; null where that vessel has no such id."""
        unknown = pl.Series([None], dtype=pl.Boolean).new_from_index(0, len(ids))
        if not self._pieces or not len(ids):
            return unknown
        keys, belongs, _, _, out = self._all()
        wanted = _bytes(ids)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        there = pl.Series(keys[places] == wanted) & ids.is_not_null()
        there &= (pl.Series(belongs[places]) == self._numbers(owners)).fill_null(value=False)
        return pl.select(pl.when(there).then(pl.Series(out[places]))).to_series()

    def repeated(self) -> pl.DataFrame:
        """Those that look like another one of their vessel, but for the first by id: id and vessel_id."""
        found: list[tuple[str, str]] = []
        if self._pieces:
            keys, belongs, alike, has, _ = self._all()
            some = np.flatnonzero(has)
            firsts = np.unique(alike[some], return_index=True)[1]
            later = np.delete(some, firsts)
            owners = list(self._owners)
            found = [
                (str(UUID(bytes=bytes(keys[place]).ljust(16, b"\0"))), owners[belongs[place]])
                for place in later.tolist()
            ]
        return pl.DataFrame(found, schema={"id": pl.String, "vessel_id": pl.String}, orient="row")

    def _numbers(self, owners: pl.Series) -> pl.Series:
        return owners.replace_strict(self._owners, default=None, return_dtype=pl.UInt16)

    def _all(self) -> tuple[Array, ...]:
        """Everything in order of the ids; sorted when first asked for."""
        if not self._in_order:
            columns = [np.concatenate(column) for column in zip(*self._pieces, strict=True)]
            order = np.argsort(columns[0])
            self._pieces = [tuple(column[order] for column in columns)]
            self._in_order = True
        return self._pieces[0]


def _bytes(ids: pl.Series) -> Array:
    """Each id as its 16 bytes; zeros where it is null."""
    plain = ids.fill_null("00000000000000000000000000000000").str.replace_all("-", "", literal=True)
    return np.frombuffer(b"".join(plain.str.decode("hex").to_list()), dtype=_ID)
