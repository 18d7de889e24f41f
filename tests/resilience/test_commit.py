"""A connection that is lost while COMMIT is under way, before and after it has happened."""

from __future__ import annotations

import asyncpg
import pytest

from bulkmig import Report
from tests.resilience.conftest import Migrate, figures
from tests.resilience.gate import CUT, CUT_AFTER, PASS, Gate

BEFORE = 2  # commits before the run has begun: the ledger's tables, what the target holds


class AtCommit:
    """Cuts everything at the `occurrence`-th COMMIT: before the server gets it, or when it has answered."""

    def __init__(self, occurrence: int, *, answered: bool) -> None:
        self.left, self.answered = occurrence, answered
        self.waiting = False

    def __call__(self, sender: str, data: bytes) -> str:
        if sender == "server":
            if self.waiting and b"COMMIT\0" in data:
                self.waiting = False
                return CUT
            return PASS
        if b"COMMIT\0" in data and self.left:
            self.left -= 1
            if not self.left:
                self.waiting = self.answered
                return PASS if self.answered else CUT
        return PASS


# In the order in which a run commits: its companies and users, then vessels, then what waits.
@pytest.mark.parametrize("answered", [False, True], ids=["not committed", "committed"])
@pytest.mark.parametrize("occurrence", [1, 2, 3, 4])
async def test_a_lost_answer_to_commit_changes_nothing_that_is_reported(
    occurrence: int, answered: bool, run: Migrate, maintenance_url: str, undisturbed: Report
) -> None:
    async with Gate(maintenance_url) as gate:
        gate.rule = rule = AtCommit(occurrence + BEFORE, answered=answered)
        report = await run(target=gate.url, parallel_vessels=1)
    assert rule.left == 0
    assert not rule.waiting
    assert figures(report) == figures(undisturbed)


async def test_units_of_one_vessel_settle_their_commits_as_well(
    run: Migrate, maintenance_url: str, undisturbed: Report
) -> None:
    async with Gate(maintenance_url) as gate:
        gate.rule = AtCommit(3 + BEFORE, answered=True)
        report = await run(target=gate.url, parallel_vessels=1, memory=1024 * 1024)
    assert figures(report) == figures(undisturbed)
    connection = await asyncpg.connect(maintenance_url)
    try:
        marks = await connection.fetch("SELECT state, source_snapshot FROM bulkmig.vessels")
        assert all(mark["source_snapshot"] for mark in marks)
    finally:
        await connection.close()


async def test_a_connection_cut_after_the_server_got_everything(
    run: Migrate, maintenance_url: str, undisturbed: Report
) -> None:
    commits = 0

    def rule(sender: str, data: bytes) -> str:
        nonlocal commits
        if sender == "program" and b"COMMIT\0" in data:
            commits += 1
            if BEFORE < commits <= BEFORE + 2:
                return CUT_AFTER
        return PASS

    async with Gate(maintenance_url) as gate:
        gate.rule = rule
        report = await run(target=gate.url)
    assert figures(report) == figures(undisturbed)
