"""The short form of the fuzzing: a few inputs for each target, which `scripts/fuzz` has an hour for."""

from __future__ import annotations

import pytest

from tests.security.fuzz.run import fuzz
from tests.security.fuzz.target import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused(name: str) -> None:
    fuzz(name, 100)
