"""Imports go one way: from left to right in the package's docstring, downwards in the table of its layers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import bulkmig
from tests.support.sources import parse

ROOT = Path(bulkmig.__file__).parent


def module_name(path: Path) -> str:
    """`bulkmig.source.queries` for its file; a package's name for its `__init__.py`."""
    parts = ("bulkmig", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """The modules of the package that a file imports; not those that only type checkers see."""
    found: set[str] = set()
    for node in _statements(parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else node.module)
    return {name for name in found if name.partition(".")[0] == "bulkmig"}


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """What isn't part of an expression, and isn't for type checkers alone."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.If) and ast.unparse(inner.test).endswith("TYPE_CHECKING"):
            continue
        if not isinstance(inner, ast.expr):
            yield inner
            yield from _statements(inner)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache  # and not when it is collected, which every process does that runs tests
def graph() -> dict[str, set[str]]:
    """Module -> those of the package that it imports."""
    return {name: imports(path) - {name} for name, path in MODULES.items()}


def layers() -> list[set[str]]:
    """The diagram of the package's docstring: the names of each layer, from left to right."""
    lines = (bulkmig.__doc__ or "").splitlines()
    drawn = " ".join(line.strip() for line in lines if "▶" in line)
    return [set(re.findall(r"\w+", layer)) for layer in drawn.split("▶")]


def place(module: str, drawn: list[set[str]]) -> int | None:
    """The number of the layer that a module belongs to; None where the diagram doesn't name it."""
    part = [*module.split("."), ""][1]
    return next((number for number, names in enumerate(drawn) if part in names), None)


def reached(module: str, drawn: list[set[str]]) -> set[str]:
    """The drawn modules that a module imports, itself or through modules that aren't drawn."""
    found: set[str] = set()
    todo, seen = list(graph()[module]), {module}
    while todo:
        name = todo.pop()
        if name in seen or name == "bulkmig":
            continue
        seen.add(name)
        if place(name, drawn) is None:
            todo += graph().get(name, ())
        else:
            found.add(name)
    return found


def test_the_diagram_names_modules_that_exist() -> None:
    drawn = layers()
    assert len(drawn) > 5
    missing = {name for names in drawn for name in names if f"bulkmig.{name}" not in MODULES}
    assert missing == set()


def test_imports_go_from_left_to_right_only() -> None:
    drawn = layers()
    wrong = [
        f"{module} imports {name}"
        for module in graph()
        for name in sorted(reached(module, drawn))
        if (of := place(module, drawn)) is not None and (to := place(name, drawn)) is not None and to < of
    ]
    assert wrong == []


def test_entities_import_nothing_but_the_core_and_each_other() -> None:
    wrong = {
        f"{module} imports {name}"
        for module, names in graph().items()
        if module.startswith("bulkmig.entities")
        for name in names
        if not re.match(r"bulkmig\.(_core|entities)(\.|$)", name)
    }
    assert wrong == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for name in sorted(graph().get(module, ())):
                if not module.startswith(f"{name}."):  # its own package, which is there before it
                    visit(name, (*trail, module))
            done.add(module)

    for module in sorted(graph()):
        visit(module, ())


def test_nothing_imports_the_command_line_or_the_generator_but_the_command_line() -> None:
    wrong = {
        f"{module} imports {name}"
        for module, names in graph().items()
        if not module.startswith(("bulkmig.cli", "bulkmig.generate", "bulkmig.__main__"))
        for name in names
        if re.match(r"bulkmig\.(cli|generate)(\.|$)", name)
    }
    assert wrong == set()


#: What the page names as going the other way.
UPWARDS = {
    ("fleet", "cluster.submit"),
    ("sync", "cluster.submit"),
    ("sync", "cluster.plan"),
}
#: What has no line there: the package itself, and what the demo, tests and benchmarks need.
APART = {"", "__main__", "_version", "embedded", "generate", "schemas"}


def lines() -> dict[str, int]:
    """Module or subpackage, directly in the package -> the line of the page's table that has it."""
    page = (ROOT.parent / "docs/architecture.md").read_text(encoding="utf-8")
    table = re.findall(
        r"^\| [^|]+ \| (`[^|]+) \|", page.partition("## Layers")[2].partition("\n## ")[0], re.M
    )
    return {
        name: number
        for number, cell in enumerate(table)
        for name in re.findall(r"`(?:bulkmig/)?(\w+)(?:/|\.py)`", cell)
    }


def test_every_module_has_its_line_on_the_page_and_imports_from_it_and_from_lower_ones() -> None:
    line = lines()
    top = {module: [*module.split("."), ""][1] for module in graph()}
    assert set(top.values()) - line.keys() == APART
    assert line.keys() <= set(top.values())
    upwards = {
        (top[module], name.removeprefix("bulkmig."))
        for module, names in graph().items()
        for name in names
        if line.get(top[name], 99) < line.get(top[module], -1)
    }
    assert upwards == UPWARDS
