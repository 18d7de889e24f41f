"""The keys of a unit's equipment: what later tables need to know of it, in 28 bytes each.

All else of an equipment flows past. These stay until the last table is through, so that a part, a document, a
score or a reference finds out whether its equipment is there; a vessel of a million takes 28 MB.
"""

from __future__ import annotations

from uuid import UUID

import polars as pl
from msgspec import Struct, field

from bulkmig._core.frames import runs, spread
from bulkmig._core.ids import raw

_STRANGER = 2**16 - 1  # the number of every owner that has no keys here


class Keys(Struct):
    """Added to batch by batch; asked once all are there, or in between.

    An id's two halves are held as `low` and `mixed` = high ^ low * factor, in order of `mixed`: numbers are
    found ten times as fast as texts, and ids that begin or end alike differ in it. Should two ids have the
    same one, another factor parts them."""

    _owners: dict[str, int] = field(default_factory=dict)
    _pieces: list[pl.DataFrame] = field(default_factory=list)
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
        self._pieces.append(
            self._asked(ids, owners).with_columns(alike.cast(pl.UInt64).alias("alike"), out.alias("out"))
        )

    def find(self, ids: pl.Series, owners: pl.Series) -> pl.Series:
        """For each id whether it is kept out; null where that vessel has no such id."""
        if not self._pieces or not len(ids):
            return pl.Series([None], dtype=pl.Boolean).new_from_index(0, len(ids))
        known, asked = self._all(), self._asked(ids, owners)
        places = known["mixed"].search_sorted(asked["mixed"]).clip(upper_bound=known.height - 1)
        near = known.select("mixed", "low", "owner", "out")[places]
        there = ids.is_not_null()
        for column in asked.columns:
            there &= near[column] == asked[column]
        return pl.select(pl.when(there).then(near["out"])).to_series()

    def repeated(self) -> pl.DataFrame:
        """Those that look like another one of their vessel, but for the first by id: id and vessel_id."""
        found: list[tuple[str, str]] = []
        if self._pieces:
            some = self._all().filter(pl.col("alike").is_not_null())
            some = some.select(self._high(), "low", "owner", "alike").sort("high", "low")
            later = some.filter(~pl.col("alike").is_first_distinct())
            owners = list(self._owners)
            found = [
                (str(UUID(int=high << 64 | low)), owners[owner])
                for high, low, owner in later.select("high", "low", "owner").iter_rows()
            ]
        return pl.DataFrame(found, schema={"id": pl.String, "vessel_id": pl.String}, orient="row")

    def _asked(self, ids: pl.Series, owners: pl.Series) -> pl.DataFrame:
        """The ids' halves, mixed, and the numbers of their owners; zeros where an id is null."""
        halves = pl.Series([raw(ids)], dtype=pl.Binary)
        halves = halves.bin.reinterpret(dtype=pl.Array(pl.UInt64, 2 * len(ids)), endianness="big").explode()
        found = runs(owners)
        numbers = [self._owners.get(owner or "", _STRANGER) for owner, _ in found]
        low = halves.gather_every(2, offset=1)
        return pl.DataFrame(
            {
                "mixed": halves.gather_every(2) ^ low * self._factor,
                "low": low,
                "owner": spread(pl.Series(numbers, dtype=pl.UInt16), [length for _, length in found]),
            }
        )

    def _high(self) -> pl.Expr:
        return (pl.col("mixed") ^ pl.col("low") * self._factor).alias("high")

    def _all(self) -> pl.DataFrame:
        """Everything in order of the mixed halves; sorted when first asked for."""
        if not self._in_order:
            known = pl.concat(self._pieces).sort("mixed")
            while _ambiguous(known):
                known = known.with_columns(self._high())
                self._factor += 2
                known = known.with_columns(mixed=pl.col("high") ^ pl.col("low") * self._factor)
                known = known.drop("high").sort("mixed")
            self._pieces, self._in_order = [known], True
        return self._pieces[0]


def _ambiguous(known: pl.DataFrame) -> bool:
    """Whether two ids have the same mixed half."""
    alike = (pl.col("mixed") == pl.col("mixed").shift()) & (pl.col("low") != pl.col("low").shift())
    return bool(known.select(alike.any()).item())
