"""The page: its files, as the dashboard serves them, and as one file with the data in it."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson

TYPES = {
    "index.html": "text/html; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "uPlot.min.css": "text/css; charset=utf-8",
    "uPlot.iife.min.js": "text/javascript; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "grafana.json": "application/json",
}
# What the page may load: itself. Nothing leaves the machine.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILE_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


def asset(name: str) -> bytes:
    """A file of the page."""
    return files("bulkmig.monitor").joinpath("assets", name).read_bytes()


def alone(data: dict[str, Any]) -> str:
    """The page with everything in it: one file that needs neither a server nor a network."""
    page = asset("index.html").decode()
    # In JSON a "<" only stands in strings, and there it may be written so: no tag can begin in the data.
    embedded = orjson.dumps(data).decode().replace("<", "\\u003c")
    last = f'<script type="application/json" id="data">{embedded}</script>\n'
    for name, kind in TYPES.items():
        if kind.startswith("text/css"):
            style = f"<style>\n{asset(name).decode()}\n</style>"
            page = page.replace(f'<link rel="stylesheet" href="{name}">', style)
        elif kind.startswith("text/javascript"):
            page = page.replace(f'<script defer src="{name}"></script>\n', "")
            last += f"<script>\n{asset(name).decode()}\n</script>\n"
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_FILE_POLICY}">'
    return page.replace("<!-- policy -->", policy).replace("<!-- data -->", last)
