"""Python sources as syntax trees."""

from __future__ import annotations

import ast
import gc


def parse(text: str) -> ast.Module:
    """The tree of a source. CPython 3.11 fails now and then (gh-106905) where one collects in between."""
    was = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        if was:
            gc.enable()
