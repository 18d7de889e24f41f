"""What the tests install is pinned by hashes, wherever it is had from, and its licences are listed."""

from __future__ import annotations

import re
import runpy
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LICENCES = runpy.run_path(str(ROOT / "scripts" / "licences.py"))
PINS = LICENCES["PINS"].read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_file_is_named_by_its_hash_and_by_no_place() -> None:
    entries = re.split(r"^(?=[a-z])", PINS, flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    for entry in entries:
        assert re.match(
            r"[a-z0-9.-]+==[^ ]+ (; .+ )?\\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+\Z", entry
        ), entry
    assert not re.search("://|--index|--find-links|file:", PINS)


def test_the_pins_are_what_the_project_asks_for() -> None:
    pinned = LICENCES["pinned"]()
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]
    for line in asked:
        wanted = Requirement(line)
        if wanted.name != "bulkmig":
            for version in pinned[wanted.name].split(", "):
                assert wanted.specifier.contains(version), line


def test_the_page_of_licences_is_true() -> None:
    page = LICENCES["PAGE"].read_text().partition("|---|")[2]
    rows = dict(re.findall(r"^\| ([a-z0-9.-]+) \| ([^|]+ \| [^|]+) \|", page, re.MULTILINE))
    pinned = LICENCES["pinned"]()
    assert {name: row.split(" | ")[0] for name, row in rows.items()} == pinned
    for name, row in rows.items():
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if found.version == row.split(" | ")[0]:
            assert row.split(" | ")[1] == LICENCES["licence"](found), name
