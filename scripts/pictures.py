"""Makes the pictures of the documentation: a migration of a made-up fleet, in a terminal and in a browser.

.venv/bin/python scripts/pictures.py        needs the extra `test` and a chromium
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright
from rich.console import Console

from bulkmig import Selection, Settings, migrate
from bulkmig.cli.progress import View
from bulkmig.embedded import server
from bulkmig.generate import FleetSpec, create_schema, generate_fleet
from bulkmig.monitor import history, page, serve
from bulkmig.monitor.board import Board
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import TARGET, session
from bulkmig.schemas import read

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
FLEET = FleetSpec(seed=1, vessels=120, equipment=150, nasty=0.02, least=0)
WIDTH, HEIGHT = 1280, 1000


async def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    chromium = os.environ.get("BULKMIG_CHROMIUM") or shutil.which("chromium")
    with server() as embedded:
        for name in ("onboarding", "maintenance"):
            embedded.create_database(name)
        source, target = embedded.url("onboarding"), embedded.url("maintenance")
        await create_schema(source)
        async with session(parse(target), TARGET, role="target") as connection:
            await connection.execute(read("maintenance.postgres.sql"))
        await generate_fleet(source, FLEET)
        settings = Settings(
            source=source, target=target, on_error="quarantine", continue_on_error=True,
            memory=16 * 2**20, max_rows_per_second=20_000,
        )  # fmt: skip
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            run_id = await photograph(browser, settings)
            async with session(parse(target), TARGET, role="target") as connection:
                found = await history.run(connection, run_id)
                assert found is not None
                found["ledger"] = await history.records(connection, run_id)
            phone = await new_page(browser, width=400, dark=True)
            await phone.set_content(page.alone(found))
            await phone.screenshot(path=PICTURES / "report-phone.png")
            await browser.close()


async def photograph(browser: Browser, settings: Settings) -> str:
    """Pictures of a run in its middle; returns its id."""
    board = Board()
    with serve.serving(serve.place("127.0.0.1:0"), settings, board) as url:
        task = asyncio.create_task(migrate(settings, Selection(all=True), listen=board.hear))
        light, dark = await new_page(browser), await new_page(browser, dark=True)
        for shown in (light, dark):
            await shown.goto(url)
        while board.estimate.share < 0.3 and not task.done():  # noqa: ASYNC110 - the board tells nobody
            await asyncio.sleep(0.1)
        (PICTURES / "terminal.svg").write_text(terminal(board), encoding="utf-8")
        await asyncio.sleep(1.2)
        await light.screenshot(path=PICTURES / "dashboard.png")
        await dark.screenshot(path=PICTURES / "dashboard-dark.png")
        await task
    return board.run_id


async def new_page(browser: Browser, *, width: int = WIDTH, dark: bool = False) -> Page:
    return await browser.new_page(
        viewport={"width": width, "height": HEIGHT}, color_scheme="dark" if dark else "light"
    )


def terminal(board: Board) -> str:
    """What a terminal shows, as a drawing that loads no font from anywhere."""
    console = Console(record=True, width=84, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(View(board))
    drawing = console.export_svg(title="bulkmig migrate --all", unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL).replace("Fira Code", "monospace")


if __name__ == "__main__":
    asyncio.run(main())
