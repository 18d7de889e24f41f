"""Memory that is free goes back to the system, where a run takes more than it should."""

from __future__ import annotations

import platform
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from bulkmig import workers
from bulkmig._core.memory import Memory, give_back, resident
from bulkmig.events import silent

MEBIBYTE = 1024 * 1024


def a_site(bound: int) -> Any:
    return SimpleNamespace(memory=Memory(bound), listen=silent)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep to rules of their own")
def test_the_gaps_between_what_is_in_use_are_given_back() -> None:
    pieces: list[bytes | None] = [b"x" * 100_000 for _ in range(2_000)]
    in_use, pieces[:] = pieces[::100], []
    before = resident()
    give_back()
    assert before - resident() > 100 * MEBIBYTE
    assert sum(piece is not None for piece in in_use) == 20


@pytest.mark.parametrize(("taken", "given"), [(3 * MEBIBYTE, True), (MEBIBYTE, False)])
async def test_a_run_gives_back_what_is_free_while_it_takes_more_than_its_bound_on_top_of_what_it_took_before(
    taken: int, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    seen: list[int] = []
    monkeypatch.setattr(workers, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(workers, "give_back", lambda: asked.append(True))
    site = a_site(2 * MEBIBYTE)
    began = resident()
    monkeypatch.setattr(workers, "resident", lambda: began + taken)
    async with anyio.create_task_group() as group:

        def listen(event: object) -> None:
            seen.append(1)
            if len(seen) > 3:
                group.cancel_scope.cancel()

        site.listen = listen
        group.start_soon(workers.sample, site)
    assert bool(asked) is given
