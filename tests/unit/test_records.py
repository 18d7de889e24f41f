"""Records are structs: they have the attributes that they declare, which a type checker takes on trust."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from msgspec import Struct

import bulkmig
from tests.support.sources import parse

ROOT = Path(bulkmig.__file__).parent


def records() -> Iterator[tuple[type[Struct], ast.ClassDef]]:
    for path in ROOT.rglob("*.py"):
        parts = (part for part in path.relative_to(ROOT.parent).with_suffix("").parts if part != "__init__")
        name = ".".join(parts)
        for node in parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.bases:
                made = getattr(import_module(name), node.name)
                if issubclass(made, Struct):
                    yield made, node


def test_no_method_gives_a_record_an_attribute_that_it_does_not_declare() -> None:
    found = list(records())
    assert len(found) > 100
    wrong = [
        f"{record.__module__}.{record.__name__}.{node.attr}, line {node.lineno}"
        for record, tree in found
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and node.attr not in record.__struct_fields__
    ]
    assert wrong == []
