"""Patience: how often, for whom, and how it ends."""

from __future__ import annotations

import anyio
import pytest

from bulkmig.postgres import again
from bulkmig.postgres.again import Patience


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT", "LONGEST_WAIT", "LONGEST_WAIT_FOR_SERVER", "JITTER"):
        monkeypatch.setattr(again, name, 0.0)


async def failing(times: int, error: Exception, calls: list[int], number: int) -> str:
    calls.append(number)
    if len(calls) <= times:
        raise error
    return "done"


async def test_work_is_tried_until_it_succeeds_and_each_failure_is_told() -> None:
    calls: list[int] = []
    told: list[tuple[str, int]] = []
    patience = Patience(5, tell=lambda what, attempt, error: told.append((what, attempt)))
    result = await patience.work("it", lambda n: failing(3, ConnectionResetError(), calls, n))
    assert (result, calls) == ("done", [1, 2, 3, 4])
    assert told == [("it", 1), ("it", 2), ("it", 3)]


async def test_the_last_failure_is_raised_as_it_is() -> None:
    calls: list[int] = []
    error = ConnectionResetError("the third")
    with pytest.raises(ConnectionResetError, match="the third"):
        await Patience(3).work("it", lambda n: failing(9, error, calls, n))
    assert calls == [1, 2, 3]


async def test_what_would_fail_again_is_tried_once() -> None:
    calls: list[int] = []
    with pytest.raises(ValueError, match="final"):
        await Patience(3).work("it", lambda n: failing(9, ValueError("final"), calls, n))
    assert calls == [1]


async def test_nothing_is_tried_again_that_may_not_start_any_more() -> None:
    calls: list[int] = []
    with pytest.raises(ConnectionResetError):
        await Patience(3).work("it", lambda n: failing(9, ConnectionResetError(), calls, n), go=lambda: False)
    assert calls == [1]


async def test_a_server_is_waited_for_as_long_as_an_outage_may_last_and_that_is_told_once() -> None:
    calls: list[int] = []
    told: list[str] = []
    patience = Patience(2, outage=60, tell=lambda what, attempt, error: told.append(what))
    assert await patience.server("it", lambda: failing(20, ConnectionRefusedError(), calls, 0)) == "done"
    assert (len(calls), told) == (21, ["it"])


async def test_a_server_that_stays_away_is_given_up() -> None:
    with pytest.raises(ConnectionRefusedError):
        await Patience(2, outage=0).server("it", lambda: failing(99, ConnectionRefusedError(), [], 0))


async def test_a_back_off_ends_at_once_when_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST_WAIT", "LONGEST_WAIT"):
        monkeypatch.setattr(again, name, 3600.0)
    calls: list[int] = []
    with anyio.CancelScope() as scope:
        patience = Patience(3, tell=lambda what, attempt, error: scope.cancel())
        await patience.work("it", lambda n: failing(9, ConnectionResetError(), calls, n))
    assert scope.cancelled_caught
    assert calls == [1]
