"""The board: what it says is done is committed, its figures add up, and its estimate can be relied on."""

from __future__ import annotations

import random

import pytest

from bulkmig.events import (
    Due,
    Event,
    FleetListed,
    PhaseStarted,
    Retrying,
    RunEnded,
    RunStarted,
    Sampled,
    VesselDone,
    VesselFailed,
    VesselReached,
    VesselStarted,
    VesselUndone,
    VesselVerified,
)
from bulkmig.monitor.board import RECENT, Board
from bulkmig.monitor.view import of_board
from bulkmig.pace import ROWS_PER_EQUIPMENT, ROWS_PER_VESSEL
from bulkmig.timeline import MOST, Timeline
from tests.support.clock import Clock


def due(count: int) -> tuple[Due, ...]:
    return tuple(Due(f"v{i}", f"MV {i}", None, 100) for i in range(count))


def started(clock: Clock, vessels: int = 4) -> Board:
    board = Board(clock)
    for event in (
        RunStarted("migrate", "run", vessels, 1, verifies=True),
        FleetListed(due(vessels)),
        PhaseStarted("vessels", vessels),
    ):
        board.hear(event)
    return board


def states(board: Board) -> dict[str, int]:
    assert sum(board.counts.values()) == len(board.vessels)
    return {state: n for state, n in board.counts.items() if n}


def test_a_vessel_is_done_when_it_is_committed_and_not_before() -> None:
    clock = Clock()
    board = started(clock)
    assert states(board) == {"waiting": 4}
    board.hear(VesselStarted("v0", "MV 0"))
    clock.now += 1.5
    board.hear(VesselReached("v0", "MV 0", "load"))
    clock.now += 0.5
    board.hear(VesselReached("v0", "MV 0", "commit"))
    assert states(board) == {"waiting": 3, "running": 1}
    assert (board.rows, of_board(board)["run"]["done"]) == (0, 0)
    board.hear(VesselDone("v0", "MV 0", "migrated", 1200, 2.0, warnings=3, quarantined=2))
    assert states(board) == {"waiting": 3, "migrated": 1}
    assert board.vessels["v0"].spent == {"extract": 1.5, "load": 0.5, "commit": 0.0}
    run = of_board(board)["run"]
    assert (run["done"], run["rows"], run["warnings"], run["quarantined"]) == (1, 1200, 3, 2)
    assert (run["selected"], run["skipped"], run["average_seconds"]) == (5, 1, 2.0)


def test_what_a_crash_undoes_is_not_done_any_more() -> None:
    board = started(Clock())
    board.hear(VesselDone("v0", "MV 0", "migrated", 1200, 2.0))
    board.hear(VesselUndone("v0", "MV 0"))
    assert states(board) == {"waiting": 4}
    assert board.rows == 0
    board.hear(VesselDone("v0", "MV 0", "migrated", 1200, 2.0))
    assert board.rows == 1200


def test_verification_makes_a_vessel_active_and_leaves_its_state() -> None:
    board = started(Clock())
    board.hear(VesselDone("v0", "MV 0", "migrated", 1200, 2.0))
    board.hear(PhaseStarted("verification", 1))
    board.hear(VesselReached("v0", "MV 0", "verify"))
    assert [seen.id for seen in board.active] == ["v0"]
    assert states(board)["migrated"] == 1
    board.hear(VesselVerified("v0", "MV 0", 2))
    assert board.active == []
    assert (board.verified, board.differences, board.vessels["v0"].differences) == (1, 2, 2)


def test_the_last_errors_are_kept_by_kind() -> None:
    board = started(Clock())
    for number in range(RECENT):
        board.hear(Retrying(f"vessel v{number}", 1, "deadlock"))
    board.hear(VesselFailed("v1", "MV 1", "validate", "2 errors"))
    assert len(board.troubles) == RECENT
    assert (board.troubles[-1].kind, board.troubles[-1].cause) == ("validate", "2 errors")
    assert board.trouble_kinds == {"retry": RECENT, "validate": 1}
    assert states(board) == {"waiting": 3, "failed": 1}


def test_memory_is_that_of_all_processes_that_are_there() -> None:
    clock = Clock()
    board = started(clock)
    for event in (Sampled(1, 10, 100, 1000), Sampled(2, 20, 100, 2000), Sampled(1, 5, 100, 1500)):
        board.hear(event)
    assert board.bound == 200
    assert board.timeline.now[2:] == (25, 3500)
    clock.now += 5
    board.hear(Sampled(3, 1, 100, 500))  # of a later phase, whose processes are others
    assert (board.bound, board.timeline.now[2:]) == (100, (1, 500))


def test_a_command_that_lists_no_fleet_is_followed_all_the_same() -> None:
    board = Board(Clock())
    events: list[Event] = [RunStarted("rollback", "run", 1, 0), VesselDone("v", "MV", "rolled back", 5, 0.0)]
    for event in (*events, RunEnded("rollback", "run", "completed")):
        board.hear(event)
    run = of_board(board)["run"]
    assert (run["status"], run["done"], run["rows"]) == ("completed", 1, 5)
    assert board.estimate.left is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("verifies", [True, False], ids=["verified", "unverified"])
def test_from_the_middle_of_a_run_on_the_estimate_is_within_thirty_percent(seed: int, verifies: bool) -> None:
    """A fleet of very different sizes, four at once, largest first, with noise in what each takes."""
    random_ = random.Random(seed)
    clock = Clock()
    board = Board(clock)
    fleet = [Due(f"v{i}", f"MV {i}", None, int(random_.lognormvariate(5, 1))) for i in range(120)]
    fleet.sort(key=lambda vessel: -vessel.equipment)
    board.hear(RunStarted("migrate", "run", len(fleet), 0, verifies=verifies))
    board.hear(FleetListed(tuple(fleet)))
    told: list[tuple[float, float]] = []  # when, how much was said to be left

    def work(events: tuple[type, ...], pace: float) -> None:
        ends: list[tuple[float, Due]] = []
        waiting = list(fleet)
        while waiting or ends:
            while waiting and len(ends) < 4:
                vessel = waiting.pop(0)
                begin = (
                    VesselStarted(vessel.id, "")
                    if VesselDone in events
                    else VesselReached(vessel.id, "", "verify")
                )
                board.hear(begin)
                rows = ROWS_PER_VESSEL + vessel.equipment * ROWS_PER_EQUIPMENT
                ends.append((clock.now + rows * pace * random_.uniform(0.7, 1.3), vessel))
            ends.sort(key=lambda end: end[0])
            clock.now, vessel = ends.pop(0)
            board.hear(
                VesselDone(vessel.id, "", "migrated", 10, 1.0)
                if VesselDone in events
                else VesselVerified(vessel.id, "", 0)
            )
            if board.estimate.left is not None:
                told.append((clock.now, board.estimate.left))

    began = clock.now
    board.hear(PhaseStarted("vessels", len(fleet)))
    work((VesselDone,), 0.001)
    if verifies:
        board.hear(PhaseStarted("verification", len(fleet)))
        work((VesselVerified,), 0.001 * random_.uniform(0.8, 1.2))
    total = clock.now - began
    for when, left in told:
        if (when - began) / total >= 0.5:
            said = when - began + left
            assert abs(said - total) / total <= 0.3


def test_after_a_sync_of_all_rows_comparing_is_expected_to_take_longer_than_after_one_of_changes() -> None:
    def left(*, full: bool) -> float:
        clock = Clock()
        board = Board(clock)
        fleet = [Due(f"v{i}", f"MV {i}", None, 100) for i in range(10)]
        board.hear(RunStarted("sync", "run", len(fleet), 0, verifies=True, full=full))
        board.hear(FleetListed(tuple(fleet)))
        board.hear(PhaseStarted("vessels", len(fleet)))
        for vessel in fleet[:5]:
            clock.now += 1
            board.hear(VesselDone(vessel.id, "", "migrated", 10, 1.0))
        said = board.estimate.left
        assert said is not None
        return said

    assert left(full=True) > left(full=False) > 5


def test_the_pace_of_comparing_is_that_from_its_first_vessel_on_and_not_guessed_from_too_few() -> None:
    clock = Clock()
    board = Board(clock)
    fleet = [Due(f"v{i}", f"MV {i}", None, 100) for i in range(100)]
    board.hear(RunStarted("verify", "run", len(fleet), 0, verifies=True))
    board.hear(FleetListed(tuple(fleet)))
    board.hear(PhaseStarted("verification", len(fleet)))
    clock.now += 1000  # further processes start
    said = []
    for vessel in fleet[:10]:
        board.hear(VesselReached(vessel.id, "", "verify"))
        clock.now += 10
        board.hear(VesselVerified(vessel.id, "", 0))
        said.append(board.estimate.left)
    assert said[:5] == [None] * 5
    assert said[5:] == pytest.approx([940, 930, 920, 910, 900])


def test_a_long_run_has_no_more_points_than_a_short_one() -> None:
    clock = Clock()
    timeline = Timeline(clock)
    for second in range(40_000):
        clock.now += 0.5
        if second % 10 == 0:
            timeline.hear(VesselDone(f"v{second}", "", "migrated", 10, 0.1))
        timeline.hear(Sampled(1, 100, 200, 300))
    assert MOST / 2 <= len(timeline.points) <= MOST
    assert timeline.points[-1].seconds == pytest.approx(20_000, rel=0.02)
    assert timeline.rows == 40_000
    assert timeline.rate() == pytest.approx(2, rel=0.2)
    gaps = {round(b.seconds - a.seconds) for a, b in zip(timeline.points, timeline.points[1:], strict=False)}
    assert len(gaps) == 1
