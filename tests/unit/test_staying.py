"""Rows that stay on the vessel that they would leave, without a database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from bulkmig.sync import conflicts, staying
from bulkmig.sync.gather import Gather
from bulkmig.sync.moves import Moves

SCORE = "quality_score"


async def test_they_count_as_rows_of_that_vessel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are kept as they were last written, and those about which a conflict is open: the brake
    holds by a share of what each vessel has."""

    async def open_ones(target: object, vessels: list[str]) -> dict[tuple[str, str], str]:
        assert vessels == ["old"]
        return {(SCORE, "disputed"): "1"}

    async def fetch(_: str, ids: list[str]) -> list[tuple[str]]:
        return [(id_,) for id_ in ids]

    monkeypatch.setattr(conflicts, "open_ones", open_ones)
    moves, target = Moves(), cast(Any, SimpleNamespace(fetch=fetch))
    moves.ids[SCORE] = {name: f"id of {name}" for name in ("held", "disputed", "moving")}
    moves.came["new"][SCORE] = {"held": "old", "disputed": "old", "moving": "old"}
    moves.left["old"][SCORE] = {"held", "disputed", "moving"}
    old, new = (
        Gather(target, cast(Any, SimpleNamespace(vessels=(id_,))), moves, "", keeps=False)
        for id_ in ("old", "new")
    )
    here, there = old.found[SCORE], new.found[SCORE]
    there.held["held"] = "new"
    here.written["old"], there.written["new"] = 5, 7
    await staying.settle(target, [old, new], moves)
    assert (here.written, there.written) == ({"old": 7}, {"new": 5})
    assert (here.held, there.held) == ({"held": "old"}, {})
    assert there.back == {"held", "disputed"}
    assert moves.came["new"][SCORE] == {"moving": "old"}
    assert there.left == {"disputed"}
