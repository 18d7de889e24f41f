"""README and docs name only what exists, and all that a user can meet is in docs/reference.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

import bulkmig
from bulkmig import Report, Settings, errors, report
from bulkmig.cli import app as program
from bulkmig.cli.settings import DEFAULT_FILE
from bulkmig.entities import ENTITIES
from bulkmig.ledger import schema
from bulkmig.transform import LOSSY_CODES, MESSAGES
from tests.support.sources import parse

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bulkmig"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TOP = {"bulkmig", "docs", "tests", "scripts", "benchmarks", ".ci"}

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def code(path: Path) -> Iterator[str]:
    """The page's lines of code blocks and its code spans."""
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        yield from (line.strip() for line in block.splitlines())
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`([^`]+)`", prose)


def sections(path: Path) -> dict[str, str]:
    """Anchor of each heading -> the text below it, up to the next heading."""
    parts = re.split(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in parts[1::2]]
    return dict(zip(anchors, parts[2::2], strict=True))


REFERENCE = sections(ROOT / "docs/reference.md")


def rows(section: str) -> list[list[str]]:
    """The cells of a section's tables, without their heads."""
    lines = [line for line in REFERENCE[section].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row[0].startswith(("`", "VESSEL")) or row[0].isdigit()]


def named(section: str) -> set[str]:
    """What the first column of a section's tables names."""
    return {name for row in rows(section) for name in re.findall(r"`([^`]+)`", row[0])}


def commands() -> dict[str, set[str]]:
    """Every command of the program -> its long options."""
    program._register()
    found: dict[str, set[str]] = {}

    def walk(group: TyperGroup, prefix: str) -> None:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                walk(command, f"{prefix}{name} ")
            else:
                options = {option for parameter in command.params for option in parameter.opts}
                found[prefix + name] = {option for option in options if option.startswith("--")}

    root = typer.main.get_command(program.app)
    assert isinstance(root, TyperGroup)
    walk(root, "")
    return found


def alone() -> set[str]:
    """The long options of the program without a command, and the one that every command has."""
    context = typer.main.get_command(program.app).make_context("bulkmig", [], resilient_parsing=True)
    options = {option for parameter in context.command.get_params(context) for option in parameter.opts}
    return {option for option in options if option.startswith("--")}


COMMANDS = commands()
ALONE = alone()
RULES = [(entity, rule) for entity in ENTITIES for rule in entity.rules]
PREFIXES = "|".join(sorted({name.partition(".")[0] for name in (*MESSAGES, *(r.code for _, r in RULES))}))
CODE = re.compile(rf"(?:{PREFIXES})\.[a-z_]+")


@cache
def codes() -> set[str]:
    """Every finding code that the package's sources name."""
    trees = [
        parse(file.read_text(encoding="utf-8"))
        for file in PACKAGE.rglob("*.py")
        if "generate" not in file.parts
    ]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and CODE.fullmatch(text)}


def paths(span: str) -> Iterator[tuple[Path, str]]:
    """The paths that a piece of code names, each with the directory it counts from."""
    for token in re.findall(r"(?<![\w:/.@-])[\w.*-]+(?:/[\w.*-]*)+", span):
        if token.split("/")[0] in TOP:
            yield ROOT, token.rstrip("/.")
    if re.fullmatch(r"\w+\.(py|md|toml|sql)", span) and span != DEFAULT_FILE.name:
        yield ROOT if (ROOT / span).exists() else PACKAGE, span


@page
def test_paths_in_prose_exist(page: Path) -> None:
    found = [path for span in code(page) for path in paths(span)]
    assert [path for base, path in found if not any(base.glob(path))] == []


@page
def test_links_lead_to_a_page_and_a_heading(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if file.startswith("https://"):
            continue
        if not target.exists() or (anchor and anchor not in sections(target)):
            broken.append(link)
    assert broken == []


@page
def test_commands_and_options_in_prose_exist(page: Path) -> None:
    wrong = []
    for span in code(page):
        line = re.sub(r"^scripts/demo", "bulkmig demo", span)
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", line))
        known = ALONE.union(*COMMANDS.values())
        if call := re.match(r"bulkmig ([a-z]+)(?: ([a-z]+))?", line):
            verb = next((v for v in (f"{call[1]} {call[2]}", call[1]) if v in COMMANDS), None)
            known = COMMANDS[verb] if verb else set()
            wrong += [] if verb else [span]
        wrong += sorted(options - known)
    assert wrong == []


@page
def test_finding_codes_in_prose_exist(page: Path) -> None:
    assert {span for span in code(page) if CODE.fullmatch(span)} <= codes()


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_is_documented_with_all_its_options(command: str) -> None:
    section = f"bulkmig-{command.replace(' ', '-')}"
    groups = re.findall(r"\]\(#([a-z-]+)\)", REFERENCE[section])
    documented = set().union(*(named(name) for name in (section, *groups)))
    assert {name for name in documented if name.startswith("--")} == COMMANDS[command]


def test_the_program_without_a_command_is_documented() -> None:
    assert {name for name in named("bulkmig") if name.startswith("--")} == ALONE


def test_every_finding_code_is_documented_as_its_rule_has_it() -> None:
    table = {tuple(cell.strip("`") for cell in row[:5]) for row in rows("finding-codes")}
    expected = {
        (rule.code, rule.severity, entity.name, rule.field, "loss" if rule.lossy else "")
        for entity, rule in RULES
        if rule.reported
    }
    late = {row for row in table if row[0] not in {rule.code for _, rule in RULES}}
    assert table - late == expected
    assert {row[0] for row in late if row[4]} == set(LOSSY_CODES)
    bookkeeping = {(rule.code, entity.name, rule.field) for entity, rule in RULES if not rule.reported}
    assert {tuple(cell.strip("`") for cell in row[:3]) for row in rows("lossiness-ledger")} == bookkeeping
    documented = {span for span in code(ROOT / "docs/reference.md") if CODE.fullmatch(span)}
    assert documented == codes()


def test_the_configuration_file_has_every_setting() -> None:
    assert named("configuration-file") == set(Settings.__struct_fields__)


def test_the_json_document_is_documented_key_by_key() -> None:
    keys = Report("plan", findings_list=[], estimate={"seconds": 0.0}).document().keys()
    assert named("json-document") == set(keys)


def test_every_exit_status_is_documented() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    statuses = {kind.exit_status for kind in kinds if issubclass(kind, errors.BulkmigError)}
    statuses |= {*report.EXIT.values(), program.INTERNAL}
    assert {int(row[0]) for row in rows("exit-statuses")} == statuses


def test_every_table_of_the_ledger_is_documented() -> None:
    sql = "".join(text for _, text in schema.migrations())
    tables = set(re.findall(r"CREATE TABLE (bulkmig\.\w+)", sql)) | {"bulkmig.migrations"}
    assert named("the-ledgers-tables") == tables


def test_every_public_name_is_documented() -> None:
    assert named("python") == set(bulkmig.__all__)
