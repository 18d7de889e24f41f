"""A process of a run keeps the run's window, which began before it did."""

from __future__ import annotations

import pytest

from bulkmig import Settings
from bulkmig.processes import Job, begun


@pytest.mark.parametrize(("window", "left"), [(60.0, 56.5), (2.0, 0.0), (None, None)])
def test_what_it_took_to_start_a_process_is_gone_from_its_window(
    window: float | None, left: float | None
) -> None:
    job = Job("migrate", Settings(window=window), "a snapshot", "a run", sent=100.0)
    assert begun(job, 103.5).window == left
