"""A real browser for the page: Debian's chromium, or the one that BULKMIG_CHROMIUM names."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from tests.support import cores

NAMES = ("chromium", "chromium-browser", "google-chrome")
NEEDED = "BULKMIG_NEEDS_BROWSER"
PATIENCE = 30  # seconds that a page may take to show what happened

Open = Callable[..., Coroutine[Any, Any, "Tab"]]


class Tab:
    """A page, and what it asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self._note(line.type, line.text))

    def _note(self, kind: str, text: str) -> None:
        # A server that is away for a moment is what a test is about, and the browser says so.
        if kind == "error" and "ERR_CONNECTION_REFUSED" not in text and "ERR_INCOMPLETE_CHUNKED" not in text:
            self.complaints.append(text)

    async def figure(self, name: str) -> str:
        """What the page shows as one of the run's figures."""
        return await self._figure(name).inner_text()

    async def number(self, name: str) -> int:
        return _number(await self.figure(name))

    async def reached(self, name: str, least: int) -> int:
        """Waits until the page shows at least so much as one of the run's figures; returns what it shows.
        Raises TimeoutError or AssertionError where it never does."""
        async with asyncio.timeout(PATIENCE):
            while _number(shown := await self.figure(name)) < least:
                await expect(self._figure(name)).not_to_have_text(shown, timeout=PATIENCE * 1000)
        return _number(shown)

    def _figure(self, name: str) -> Locator:
        return self.page.locator(f'#figures [data-figure="{name}"] dd')


def _number(figure: str) -> int:
    return int(figure.replace(",", "").replace("–", "-1"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One for a module, whose tests run on one loop; each has pages, cookies and storage of its own."""
    path = os.environ.get("BULKMIG_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        why = "NO BROWSER, the page is not tested: apt-get install chromium, or set BULKMIG_CHROMIUM"
        if os.environ.get(NEEDED):
            pytest.fail(why)
        pytest.skip(why)
    with cores.all_of_them():
        playwright = await async_playwright().start()
        running = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
    try:
        yield running
    finally:
        await running.close()
        await playwright.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser: Browser) -> AsyncIterator[Open]:
    """Opens a page: `await tab(url, width=360, dark=True)`. At the end nothing may have gone wrong on it."""
    opened: list[Tab] = []
    async with AsyncExitStack() as stack:

        async def open_(url: str, *, width: int = 1280, dark: bool = False) -> Tab:
            context = await browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
            )
            stack.push_async_callback(context.close)
            made = Tab(await context.new_page())
            opened.append(made)
            await made.page.goto(url)
            return made

        yield open_
    assert [complaint for one in opened for complaint in one.complaints] == []
