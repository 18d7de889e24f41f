"""The dashboard in a real browser: what it shows is what the ledger says, and anybody can use it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from bulkmig import Report, Selection, Settings, migrate
from bulkmig.events import (
    Due,
    Event,
    FleetListed,
    PhaseStarted,
    RunStarted,
    Sampled,
    VesselDone,
    VesselFailed,
    VesselReached,
    VesselStarted,
)
from bulkmig.generate import FleetSpec, generate_fleet
from bulkmig.monitor import serve
from bulkmig.monitor.board import Board
from tests.checkpoint.support import execute, fetchval
from tests.monitor.conftest import Open
from tests.support.programs import Program, program, run
from tests.support.servers import Databases

SPEC = FleetSpec(seed=3, vessels=14, equipment=12, nasty=0.05, least=0)
ALL = Selection(all=True)
EVIL = "<script>document.title = 'taken'</script><b>&amp; Co"
LIMIT = 300  # milliseconds of script an update may take

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def empty(onboarding_url: str, maintenance_url: str) -> Settings:
    """Databases without rows, for what the board alone is asked."""
    return Settings(
        source=onboarding_url, target=maintenance_url, on_error="quarantine", continue_on_error=True
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def source(lasting: Databases) -> str:
    """A fleet with a vessel whose name is HTML, which no test changes."""
    url = lasting("onboarding")
    await generate_fleet(url, SPEC)
    await execute(
        url,
        f"UPDATE vessels SET name = $evil${EVIL}$evil$ WHERE id = (SELECT min(id::text)::uuid FROM vessels)",
    )
    return url


@pytest.fixture
def settings(source: str, empty: Settings) -> Settings:
    """For a migration of that fleet."""
    return msgspec.structs.replace(empty, source=source)


@dataclass
class Migrated:
    """That fleet, migrated; what was heard of it."""

    settings: Settings
    board: Board
    report: Report


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def migrated(source: str, lasting: Databases) -> Migrated:
    """No test writes into it."""
    settings = Settings(
        source=source, target=lasting("maintenance"), on_error="quarantine", continue_on_error=True,
        operator="karen.operator@example.org",
    )  # fmt: skip
    board = Board()
    return Migrated(settings, board, await migrate(settings, ALL, listen=board.hear))


@dataclass
class Watched:
    """A migration in progress: its dashboard, its end, and a word for each vessel done, None for the end."""

    url: str
    task: asyncio.Task[Report]
    done: asyncio.Queue[VesselDone | None]


@asynccontextmanager
async def watched(settings: Settings) -> AsyncIterator[Watched]:
    """A migration slow enough to be watched."""
    slow = msgspec.structs.replace(settings, max_rows_per_second=700, parallel_vessels=2, memory=2**21)
    board, done = Board(), asyncio.Queue[VesselDone | None]()

    def hear(event: Event) -> None:
        board.hear(event)
        if isinstance(event, VesselDone):
            done.put_nowait(event)

    with serve.serving(serve.place("127.0.0.1:0"), settings, board) as url:
        task = asyncio.create_task(migrate(slow, ALL, listen=hear))
        task.add_done_callback(lambda _: done.put_nowait(None))
        try:
            yield Watched(url, task, done)
            await task
        finally:
            task.cancel()


async def test_figures_of_a_run_in_progress_and_of_its_end_are_the_ledgers(
    settings: Settings, tab: Open
) -> None:
    async def done() -> int:
        return int(
            await fetchval(
                settings.target,
                "SELECT count(*) FROM bulkmig.vessels WHERE state IN ('migrated', 'quarantined')",
            )
        )

    async with watched(settings) as running:
        one = await tab(running.url)
        await expect(one.page.locator("#connection")).to_have_text("live", timeout=20_000)
        seen = set()
        while await running.done.get() is not None:
            before = await done()
            shown = await one.reached("done", before)
            assert before <= shown <= await done()
            seen.add(shown)
        assert seen
        report = await running.task
        await expect(one.page.locator("#title")).to_contain_text("completed", timeout=20_000)
        await one.reached("done", report.done)
        assert await one.number("done") == report.done == await done()
        assert await one.number("failed") == report.failed
        assert await one.number("differences") == 0
        # Cross references that waited are of no vessel: they are in the ledger's figure only.
        assert await one.number("target rows") <= report.inserted.total() + report.updated.total()
        await _has_tables_like(one.page, report)
        assert all(request.startswith((running.url, "data:")) for request in one.requests)


async def _has_tables_like(page: Page, report: Report) -> None:
    await _has_rows(page, "t-findings", len(report.findings))
    rows = await page.locator("#t-findings tbody tr").all_inner_texts()
    shown = sum(int(row.split("\t")[3].replace(",", "")) for row in rows)
    assert shown == report.errors + report.warnings
    for table in ("quarantine", "checkpoints", "audit", "history"):
        assert await page.locator(f"#t-{table} tbody tr").count() > 0, table


async def _has_rows(page: Page, table: str, least: int) -> None:
    await expect(page.locator(f"#{table} tbody tr").nth(least - 1)).to_be_attached(timeout=30_000)


async def test_texts_of_databases_are_text(migrated: Migrated, tab: Open) -> None:
    with serve.serving(serve.place("127.0.0.1:0"), migrated.settings, migrated.board) as url:
        one = await tab(url)
        cell = one.page.get_by_role("option", name=EVIL)
        await cell.click()
        await expect(one.page.locator("#vessel")).to_contain_text(EVIL)
        assert "taken" not in await one.page.title()
        assert await one.page.locator("#main script, #main b").count() == 0


async def test_nothing_personal_reaches_the_dashboard_or_the_report(
    migrated: Migrated, tab: Open, tmp_path: Path
) -> None:
    settings, report = migrated.settings, migrated.report
    query = "SELECT string_agg(email, ' ') FROM users WHERE email ~ '^[^ ]+@[^ ]+$'"
    emails = (await fetchval(settings.source, query)).split()
    assert len(emails) > 5
    with serve.serving(serve.place("127.0.0.1:0"), settings, migrated.board) as url:
        one = await tab(url)
        texts = [await (await one.page.request.get(url + path)).text() for path in ("api/state", "metrics")]
    file = tmp_path / "run.html"
    ended = await run(settings.source, settings.target, "report", report.run_id, "--html", str(file))
    assert ended.status == 0, ended.said
    texts.append(file.read_text())
    assert all("k…@example.org" in text for text in (texts[0], texts[2]))
    assert [e for e in [*emails, "karen.operator"] for text in texts if len(e) > 5 and e in text] == []


async def test_the_page_survives_a_server_that_comes_back(empty: Settings, tab: Open) -> None:
    board = fleet_of(20)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    where = serve.place(f"127.0.0.1:{port}")
    with serve.serving(where, empty, board) as url:
        one = await tab(url)
        await expect(one.page.locator("#connection")).to_have_text("live")
    await expect(one.page.locator("#connection")).to_contain_text("lost", timeout=15_000)
    board.hear(VesselDone("v00001", "MV 1", "migrated", 10, 0.5))
    with serve.serving(where, empty, board):
        await expect(one.page.locator("#connection")).to_have_text("live", timeout=30_000)
        await expect(one.page.locator('#legend [data-state="migrated"]')).to_have_text("1 migrated")


def fleet_of(size: int) -> Board:
    board = Board()
    board.hear(RunStarted("migrate", "11111111-2222-8333-8444-555555555555", size, 0, verifies=True))
    board.hear(FleetListed(tuple(Due(f"v{i:05}", f"MV {i}", None, 1000) for i in range(size))))
    board.hear(PhaseStarted("vessels", size))
    return board


async def test_two_thousand_vessels_stay_fluid(empty: Settings, tab: Open) -> None:
    board = fleet_of(2000)
    with serve.serving(serve.place("127.0.0.1:0"), empty, board) as url:
        one = await tab(url)
        await expect(one.page.locator("#fleet [role=option]")).to_have_count(2000)
        took = [await one.page.evaluate("Number(document.body.dataset.script)")]
        for i in range(2000):
            board.hear(VesselStarted(f"v{i:05}", f"MV {i}"))
            board.hear(VesselReached(f"v{i:05}", f"MV {i}", "load"))
            if i % 100 == 7:
                board.hear(VesselFailed(f"v{i:05}", f"MV {i}", "load", "refused"))
            elif i % 10 or i < 1900:
                board.hear(VesselDone(f"v{i:05}", f"MV {i}", "migrated", 12_000, 0.5))
            if i % 400 == 0:
                board.hear(Sampled(1, 50_000_000, 268_435_456, 300_000_000))
                await one.reached("done", board.counts["migrated"])
                took.append(await one.page.evaluate("Number(document.body.dataset.script)"))
        await expect(one.page.locator('#legend [data-state="failed"]')).to_have_text("20 failed")
        took.append(await one.page.evaluate("Number(document.body.dataset.script)"))
        assert max(took) < LIMIT, took


async def test_the_fleet_is_gone_through_by_keyboard(empty: Settings, tab: Open) -> None:
    with serve.serving(serve.place("127.0.0.1:0"), empty, fleet_of(200)) as url:
        one = await tab(url)
        await expect(one.page.locator("#fleet [role=option]")).to_have_count(200)
        for _ in range(12):
            await one.page.keyboard.press("Tab")
            if await one.page.evaluate("document.activeElement.id") == "fleet":
                break
        for key, shown in (
            ("ArrowRight", "MV 0 "),
            ("ArrowRight", "MV 1 "),
            ("End", "MV 199 "),
            ("ArrowLeft", "MV 198 "),
        ):
            await one.page.keyboard.press(key)
            await expect(one.page.locator("#vessel")).to_contain_text(re.compile(f"^{shown}"))
        await one.page.keyboard.press("ArrowUp")
        above = await one.page.inner_text("#vessel")
        await one.page.keyboard.press("ArrowDown")
        await expect(one.page.locator("#vessel")).to_contain_text(re.compile("^MV 19[89] "))
        assert above != await one.page.inner_text("#vessel")
        await one.page.keyboard.press("Tab")
        assert await one.page.evaluate("document.activeElement.closest('#fleet')") is None


@pytest.mark.parametrize(
    "dark", [pytest.param(False, id="light"), pytest.param(True, id="dark", marks=pytest.mark.long)]
)
async def test_there_is_no_serious_accessibility_fault_and_no_scrolling_sideways(
    migrated: Migrated, tab: Open, tmp_path: Path, dark: bool
) -> None:
    settings, report = migrated.settings, migrated.report
    with serve.serving(serve.place("127.0.0.1:0"), settings, migrated.board) as url:
        file = tmp_path / "run.html"
        await run(settings.source, settings.target, "report", report.run_id, "--html", str(file))
        for address in (url, file.as_uri()):
            one = await tab(address, width=360, dark=dark)
            await expect(one.page.locator("#fleet [role=option]")).to_have_count(report.done)
            found = (await Axe().run(one.page)).response["violations"]
            serious = [
                (v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")
            ]
            assert serious == []
            assert await one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            ground = await one.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (ground == "rgb(15, 20, 26)") == dark


async def test_a_report_is_one_file_with_the_figures_of_the_run(
    migrated: Migrated, tab: Open, tmp_path: Path
) -> None:
    settings, report = migrated.settings, migrated.report
    file = tmp_path / "run.html"
    ended = await run(settings.source, settings.target, "report", report.run_id[:8], "--html", str(file))
    assert (ended.status, ended.document["run_id"]) == (0, report.run_id), ended.said
    one = await tab(file.as_uri())
    assert await one.number("done") == report.done
    assert await one.number("target rows") == report.inserted.total() + report.updated.total()
    assert await one.number("warnings") == report.warnings
    assert await one.page.locator("#rate canvas, #memory canvas").count() == 2
    await _has_rows(one.page, "t-audit", report.done)
    assert [r for r in one.requests if not r.startswith(("data:", file.as_uri()))] == []
    assert len(re.findall(r"https?://(?!www\.w3\.org|github\.com/leeoniya)", file.read_text())) == 0


async def test_the_dashboard_alone_shows_the_ledger_and_its_history(
    migrated: Migrated, databases: Databases, tab: Open
) -> None:
    first = migrated.report
    settings = msgspec.structs.replace(migrated.settings, target=databases.copy(migrated.settings.target))
    async with program(settings.source, settings.target, "dashboard", "--listen", "127.0.0.1:0") as started:
        url = await _url(started)
        one = await tab(url)
        await expect(one.page.locator("#connection")).to_have_text("from the ledger")
        assert await one.number("done") == first.done
        again = await migrate(settings, ALL)  # another process's run is seen as it ends
        await expect(one.page.locator("#title")).to_contain_text(again.run_id[:8], timeout=20_000)
        await one.page.select_option("#runs", first.run_id)
        await expect(one.page.locator("#title")).to_contain_text(first.run_id[:8])
        await one.reached("done", first.done)
        await started.kill(2)
        assert (await started.ended()).status == 0


async def _url(started: Program) -> str:
    await started.until(lambda: "}" in started.printed)
    return str(json.loads(started.printed)["url"])
