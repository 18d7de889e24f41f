"""The pictures of a benchmark, as SVG without a library: bars, and lines over time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS

_INK, _BAR, _GRID = "#1f2933", "#2f6f9f", "#d5dce3"
_LINES = ("#2f6f9f", "#c2571a", "#3f8f4f", "#7a4fa3", "#8a6d1d", "#444444")
_WIDTH, _LEFT, _TOP = 720, 260, 44

Bar = tuple[str, float]


def bars(title: str, found: Sequence[Bar], unit: str, mark: tuple[str, float] | None = None) -> str:
    """Horizontal bars; `mark`: a line at a value, with what it means."""
    top = max([value for _, value in found] + ([mark[1]] if mark else [])) or 1.0
    scale = (_WIDTH - _LEFT - 90) / top
    parts = []
    for number, (name, value) in enumerate(found):
        y = _TOP + number * 26
        parts += [
            f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{y}" width="{max(value * scale, 1):.1f}" height="18" fill="{_BAR}"/>',
            f'<text x="{_LEFT + value * scale + 6:.1f}" y="{y + 14}">{value:,.2f} {escape(unit)}</text>',
        ]
    height = _TOP + len(found) * 26 + 24
    if mark:
        x = _LEFT + mark[1] * scale
        parts += [
            f'<line x1="{x:.1f}" y1="{_TOP - 6}" x2="{x:.1f}" y2="{height - 20}" stroke="#c2571a"/>',
            f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{escape(mark[0])}</text>',
        ]
    return _svg(title, height, parts)


def lines(title: str, found: dict[str, list[tuple[float, float]]], x_unit: str, y_unit: str) -> str:
    """One line for each name: (x, y) points."""
    points = [point for line in found.values() for point in line]
    right, top = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    left, bottom, width, height = 60, 300, _WIDTH - 220, 240
    parts = []
    for step in range(5):
        y = bottom - height * step / 4
        parts += [
            f'<line x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke="{_GRID}"/>',
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{top * step / 4:,.0f}</text>',
        ]
    for number, (name, line) in enumerate(found.items()):
        colour = _LINES[number % len(_LINES)]
        path = " ".join(f"{left + x / right * width:.1f},{bottom - y / top * height:.1f}" for x, y in line)
        y = _TOP + 20 + 20 * number
        parts += [
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
            f'<text x="{left + width + 14}" y="{y}" fill="{colour}">{escape(name)}</text>',
        ]
    parts += [
        f'<text x="{left + width}" y="{bottom + 18}" text-anchor="end">{right:,.0f} {escape(x_unit)}</text>',
        f'<text x="{left}" y="{bottom - height - 8}">{escape(y_unit)}</text>',
    ]
    return _svg(title, bottom + 30, parts)


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img"'
        f' font-family="sans-serif" font-size="12" fill="{_INK}">'
        f"<title>{escape(title)}</title>"
        f'<rect width="100%" height="100%" fill="white"/>'
        f'<text x="16" y="24" font-size="15">{escape(title)}</text>'
    )
    return head + "".join(parts) + "</svg>\n"


def draw(
    pipe: dict[str, Any], scaling: dict[str, Any], peers: dict[str, Any], *, suffix: str = ""
) -> list[Path]:
    """Writes the pictures of these results; returns where."""
    phases = [(name, seconds["median"]) for name, seconds in pipe["phases"]["bulkmig"].items()]
    wall = [(name, spread["median"]) for name, spread in pipe["wall"].items()]
    each = [
        (f"{one['vessels']:,} vessels of {one['equipment']}", one["milliseconds_per_vessel"])
        for one in scaling["fleets"]
    ]
    memory = {
        f"{one['vessels']:,} of {one['equipment']:,}": [(at[0], at[3] / 1e6) for at in one["timeline"]]
        for one in (*scaling["fleets"], *scaling["large"])
        if one["timeline"]
    }
    rates = list(peers["source_rows_per_second"].items())
    found = {
        "wall": bars("The same target rows, wall time", wall, "s"),
        "phases": bars("bulkmig migrate: busy seconds of all workers by phase", phases, "s"),
        "scaling": bars("Cost per vessel", each, "ms", ("at most 12 ms", 12.0)),
        "peers": bars("Source rows a second", rates, "rows/s"),
    }
    if memory:
        found["memory"] = lines("Resident memory over time", memory, "s", "MB")
    paths = []
    for name, content in found.items():
        path = RESULTS / f"{name}{suffix}.svg"
        path.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths
