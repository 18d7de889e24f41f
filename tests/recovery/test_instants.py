"""SIGKILL at instants spread over the whole run, from its first to its last commit. An instant is a message
between program and target, counted from the beginning of its phase, so it depends on no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.support.aftermath import left_behind
from tests.support.programs import Program, program
from tests.support.proxy import Moment, Proxy
from tests.support.workloads import Workload, Workloads

KILLS, LEAST = 200, 20
PHASES = ("companies and users", "vessels", "waiting rows", "verification", "end")
FIRST = "COMMIT after INSERT bulkmig.migrations"  # a run's first commit
LAST = "INSERT bulkmig.audit"  # and what its last one begins with: how it ended


@dataclass
class Count:
    """Counts the messages of each phase between the first and the last commit."""

    running: Program | None = None
    seen: Counter[str] = field(default_factory=Counter)
    phase: str = ""

    def __call__(self, moment: Moment) -> None:
        key = moment.statement.key if moment.statement is not None else ""
        if not self.phase:
            self.phase = PHASES[0] if key == FIRST else ""
        elif self.phase != PHASES[-1] and self.running is not None:
            self.phase = self.running.phase if self.running.phase in PHASES else self.phase
            # Not those of the run's beginning and of its vessels: these come in other phases.
            if self.phase == "verification" and key == LAST:
                self.phase = PHASES[-1]
        if self.phase:
            self.seen[self.phase] += 1

    def at(self, phase: str, number: int) -> Callable[[Moment], bool]:
        """The message of this number in a phase."""
        return lambda moment: self.phase == phase and self.seen[phase] == number


async def messages(work: Workload) -> Counter[str]:
    """The messages of an undisturbed run, by phase."""
    target, count = work.target(), Count()
    async with (
        Proxy(target, watchers=[count]) as proxy,
        program(work.source, proxy.url, *work.command) as count.running,
    ):
        assert (await count.running.ended()).status == 0
    work.drop(target)
    return count.seen


def spread(found: Counter[str], kills: int, least: int) -> list[tuple[str, int]]:
    """So many instants evenly over all messages, or `least` of them evenly over those of a phase that is
    short, as (phase, number)."""
    total = found.total()
    chosen = []
    for phase in PHASES:
        share = max(least, round(kills * found[phase] / total))
        chosen += [(phase, 1 + int(found[phase] * (n + 0.5) / share)) for n in range(share)]
    return chosen


async def kill(work: Workload, phase: str, number: int, *, half: bool) -> bool:
    """Kills the run at an instant and runs it again; whether it had not ended before. `half`: with half of
    the message delivered."""
    target, count = work.target(), Count()
    bystander = work.bystander(target)
    async with bystander.watching():
        async with Proxy(target, watchers=[count]) as proxy:
            hold = proxy.hold(count.at(phase, number), half=half)
            async with program(work.source, proxy.url, *work.command) as count.running:
                reached = await hold.reached_or(count.running.ended())
                await bystander.look()
                await count.running.kill()
        assert await left_behind(work.source, target) == []
        await work.again(target)
    work.drop(target)
    return reached


async def kill_all(work: Workload, instants: list[tuple[str, int]]) -> Counter[str]:
    """Kills a run at each instant. Runs differ by a few messages: one that ends before its instant comes is
    killed a little earlier instead."""
    killed: Counter[str] = Counter()
    for n, (phase, number) in enumerate(instants):
        while not await kill(work, phase, number, half=n % 2 == 1):
            assert number > 1, f"no message of {phase}"
            number -= max(1, number // 10)
        killed[phase] += 1
    return killed


def histogram(killed: Counter[str], found: Counter[str]) -> str:
    """Kills by phase, for people."""
    bars = [
        f"  {phase:<20}{killed[phase]:>4} in {found[phase]:>5} messages  {'█' * killed[phase]}"
        for phase in PHASES
    ]
    head = f"{killed.total()} kills between the first and the last commit, by phase:"
    return "\n".join([head, *bars])


@pytest.fixture(scope="module")
def counted() -> Counter[str]:
    """The messages of an undisturbed run by phase, once a test has counted them."""
    return Counter()


@pytest.mark.parametrize("phase", PHASES)
async def test_killed_in_each_phase_the_same_command_again_ends_undisturbed(
    workloads: Workloads, counted: Counter[str], phase: str
) -> None:
    """One instant in the midst of each phase."""
    work = await workloads("plain")
    found = counted or await messages(work)
    counted |= found
    assert found[phase] > 1
    assert await kill_all(work, [(phase, 1 + found[phase] // 2)]) == {phase: 1}


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_killed_at_200_instants_the_same_command_again_ends_undisturbed(
    workloads: Workloads,
) -> None:
    """Instants spread evenly over the run, at least 20 in each phase; the histogram is printed."""
    work = await workloads("plain")
    found = await messages(work)
    instants = spread(found, KILLS, LEAST)
    assert len(instants) >= KILLS
    killed = await kill_all(work, instants)
    print(histogram(killed, found))  # noqa: T201 - scripts/recovery shows it
    assert min(killed[phase] for phase in PHASES) >= LEAST
