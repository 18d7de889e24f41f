"""Writes docs/licences.md: what the tests install, and under which licence each says that it is.

.venv/bin/python scripts/licences.py        what is installed in .venv counts
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINS = ROOT / "requirements" / "tests.txt"
PAGE = ROOT / "docs" / "licences.md"
HEAD = """\
# Licences of what bulkmig is built on

Made by `scripts/pins` of what the packages say of themselves. *Needed* is what an installation of bulkmig
takes along; everything else is of tests, demo and dashboard.

| package | version | licence | needed |
|---|---|---|---|
"""


def pinned() -> dict[str, str]:
    """Name -> version of every package in the requirements; several where Pythons differ."""
    found: dict[str, str] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", PINS.read_text(), re.MULTILINE):
        found[name] = f"{found[name]}, {version}" if name in found else version
    return found


def licence(of: Distribution) -> str:
    """What a package says of its licence: an SPDX expression, classifiers, a line of text, or the
    first one of its file."""
    said = of.metadata.json
    if expression := said.get("license_expression"):
        return str(expression)
    classified = [str(c).rpartition(" :: ")[2] for c in said.get("classifier", ()) if "License ::" in c]
    if named := [c for c in classified if c != "OSI Approved"]:
        return ", ".join(named)
    texts = [str(said.get("license", ""))]
    texts += [file.read_text() for file in of.files or () if file.name.upper().startswith("LICENSE")]
    lines = [line.strip(" #") for text in texts for line in text.splitlines() if line.strip(" #")]
    return lines[0][:60] if lines else "not said"


def needed() -> set[str]:
    """What bulkmig itself requires, and what that requires."""
    found: set[str] = set()
    waiting = ["bulkmig"]
    while waiting:
        for line in distribution(waiting.pop()).requires or ():
            name = re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-")
            if "extra ==" in line or name in found:
                continue
            try:
                distribution(name)
            except PackageNotFoundError:
                continue
            found.add(name)
            waiting.append(name)
    return found


def page() -> str:
    """The page as it should be."""
    mine, rows = needed(), []
    for name, version in sorted(pinned().items()):
        try:
            said = licence(distribution(name))
        except PackageNotFoundError:
            said = "of other systems or Pythons: not installed here"
        rows.append(f"| {name} | {version} | {said} | {'yes' if name in mine else ''} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
