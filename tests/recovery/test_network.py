"""A bad network between the program and either server: slow, silent, cut, refused. The program finishes, or
it stops and the same command again finishes; it never hangs, and never says what is not so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.aftermath import left_behind, marks
from tests.support.programs import Ended, program, run, sentences
from tests.support.proxy import Hold, Proxy, Sender
from tests.support.workloads import Workload, Workloads, told

LIMIT = 100.0  # seconds for a run: all time-outs that are configured below together take a fraction of it
SLOW = 300.0
ENDS = (0, 1, 4)
UNTOUCHED = 3

Ends = Callable[[Proxy, Proxy], Hold]


@pytest.fixture
def hasty(tmp_path: Path) -> str:
    """A configuration with short time-outs, so that tests of them are short."""
    file = tmp_path / "hasty.toml"
    file.write_text("network_timeout = 1.0\nconnect_timeout = 1.0\noutage = 2.0\n")
    return str(file)


async def judged(work: Workload, target: str, ended: Ended) -> None:
    """Checks how a run under trouble ended, what it says, and that the same command again finishes."""
    if ended.status == UNTOUCHED:
        assert not list(await marks(target)), "status 3, and something was touched"
    else:
        assert ended.status in ENDS, sentences([ended])
    lies = await told(ended, target)
    assert not lies, "\n".join([*lies, ended.said[-2000:]])
    assert await left_behind(work.source, target) == []
    await work.again(target)


@pytest.mark.parametrize(
    "latency", [0.01, pytest.param(0.1, marks=[pytest.mark.long, pytest.mark.timeout(400)])]
)
async def test_over_a_slow_network_it_finishes(workloads: Workloads, latency: float) -> None:
    """A latency to both ends, in the long form 200 ms there and back: nothing runs into a time-out."""
    work = await workloads("plain")
    target = work.target()
    async with (
        Proxy(work.source, latency=latency) as left,
        Proxy(target, latency=latency) as right,
        program(left.url, right.url, *work.command) as started,
    ):
        ended = await started.ended(SLOW)
    assert ended.status == 0, sentences([ended])
    assert ended.vessels == work.ended.vessels
    await work.check(target)
    work.drop(target)


MOMENTS: dict[str, Ends] = {
    "as the run begins": lambda _, target: target.before("INSERT bulkmig.runs"),
    "amid a vessel's COPY": lambda _, target: target.amid("COPY equipment", 2),
    "before a vessel's COMMIT": lambda _, target: target.before("COMMIT after INSERT bulkmig.vessels", 2),
    "after a vessel's COMMIT": lambda _, target: target.after("COMMIT after INSERT bulkmig.vessels", 2),
    "as waiting rows are loaded": lambda _, target: target.before("DELETE bulkmig.pending"),
    "as the run ends": lambda _, target: target.after("UPDATE bulkmig.runs", 2),
    "as the source is read": lambda source, _: source.hold(
        lambda m: m.sender == "server" and m.kind == "d" and m.session.number > 1, 3, half=True
    ),
}
SHORT = [("after a vessel's COMMIT", False), ("as the source is read", False), ("amid a vessel's COPY", True)]


@pytest.mark.parametrize(
    ("moment", "everywhere"),
    [
        *SHORT,
        *(
            pytest.param(m, e, marks=pytest.mark.long)
            for m in MOMENTS
            for e in (False, True)
            if (m, e) not in SHORT
        ),
    ],
)
async def test_in_a_black_hole_it_ends_in_time(
    workloads: Workloads, hasty: str, moment: str, everywhere: bool
) -> None:
    """One session falls silent for ever, or all of both ends and whatever connects from then on."""
    work = await workloads("plain")
    target = work.target()
    bystander = work.bystander(target)
    async with bystander.watching():
        async with Proxy(work.source) as left, Proxy(target) as right:
            hold = MOMENTS[moment](left, right)
            async with program(left.url, right.url, *work.command, "--config", hasty) as started:
                session = await hold.reached()
                session.swallowing = True
                left.swallowing = right.swallowing = everywhere
                hold.release()
                ended = await started.ended(LIMIT)
        await judged(work, target, ended)
    work.drop(target)


async def test_into_a_black_hole_it_does_not_begin(workloads: Workloads, hasty: str) -> None:
    """A server that accepts connections and never answers: status 3, and nothing was touched."""
    work = await workloads("plain")
    target = work.target()
    async with (
        Proxy(target, swallowing=True) as proxy,
        program(work.source, proxy.url, *work.command, "--config", hasty) as started,
    ):
        ended = await started.ended(LIMIT)
    assert ended.status == UNTOUCHED, sentences([ended])
    await judged(work, target, ended)
    work.drop(target)


@pytest.fixture(scope="module")
def passed() -> Counter[tuple[str, Sender]]:
    """The bytes that an undisturbed run passes, once a test has counted them."""
    return Counter()


async def streams(work: Workload) -> Counter[tuple[str, Sender]]:
    """How many bytes an undisturbed run passes: (end, sender)."""
    target = work.target()
    async with Proxy(work.source) as left, Proxy(target) as right:
        assert (await run(left.url, right.url, *work.command)).status == 0
        found: Counter[tuple[str, Sender]] = Counter()
        for end, proxy in (("source", left), ("target", right)):
            for sender, stream in proxy.passed.items():
                found[end, sender] = stream.total
    work.drop(target)
    return found


async def cut(work: Workload, end: str, sender: Sender, size: int, *more: str) -> None:
    """Cuts the connection on which a byte passes."""
    target = work.target()
    bystander = work.bystander(target)
    async with bystander.watching():
        async with Proxy(work.source) as left, Proxy(target) as right:
            (left if end == "source" else right).cut_after(size, sender)
            async with program(left.url, right.url, *work.command, *more) as started:
                ended = await started.ended(LIMIT)
        await judged(work, target, ended)
    work.drop(target)


@pytest.mark.parametrize(
    ("end", "sender", "share"),
    [
        ("target", "program", 0.35),
        ("target", "server", 0.5),
        ("source", "program", 0.5),
        ("source", "server", 0.4),
    ],
)
async def test_cut_after_some_bytes_it_finishes_or_a_rerun_does(
    workloads: Workloads, passed: Counter[tuple[str, Sender]], end: str, sender: Sender, share: float
) -> None:
    """Either server, either direction, somewhere in the stream."""
    work = await workloads("plain")
    passed |= passed or await streams(work)
    await cut(work, end, sender, int(passed[end, sender] * share))


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("sender", ["program", "server"])
@pytest.mark.parametrize("end", ["source", "target"])
async def test_cut_after_any_number_of_bytes_it_finishes_or_a_rerun_does(
    workloads: Workloads, end: str, sender: Sender
) -> None:
    """Forty points over the whole stream, and the first and the last byte."""
    work = await workloads("plain")
    total = (await streams(work))[end, sender]
    for size in sorted({0, 1, total - 1, *(total * n // 40 for n in range(1, 40))}):
        await cut(work, end, sender, size)


@pytest.mark.parametrize(
    "away", [2.0, pytest.param(20.0, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
@pytest.mark.parametrize("end", ["source", "target", "both"])
async def test_refused_for_a_while_it_finishes_or_a_rerun_does(
    workloads: Workloads, end: str, away: float
) -> None:
    """All connections are cut in mid-run, further ones refused for so many seconds, then taken again."""
    work = await workloads("plain")
    target = work.target()
    bystander = work.bystander(target)
    async with bystander.watching():
        async with Proxy(work.source) as left, Proxy(target) as right:
            proxies = {"source": [left], "target": [right], "both": [left, right]}[end]
            hold = right.amid("COPY equipment", 2)
            async with program(left.url, right.url, *work.command) as started:
                await hold.reached()
                for proxy in proxies:
                    await proxy.refuse()
                    proxy.cut()
                hold.release()
                await asyncio.sleep(away)  # not to get lucky: this is how long they are away
                for proxy in proxies:
                    await proxy.serve()
                ended = await started.ended(LIMIT)
        await judged(work, target, ended)
    work.drop(target)
