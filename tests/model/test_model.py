"""Random sequences of what people and bulkmig do, against the model: no cell, record or figure differs."""

from __future__ import annotations

import pytest

from tests.model.machine import Played, play
from tests.support.servers import EmbeddedServers

# `scripts/model` runs many more, and longer ones.
FEW_SEQUENCES, FEW_STEPS = 6, 7
SEQUENCES, STEPS = 30, 14


@pytest.mark.timeout(300)
def test_a_few_sequences_end_as_the_model_says(embedded_servers: EmbeddedServers) -> None:
    play(embedded_servers, FEW_SEQUENCES, FEW_STEPS, number=1, into=(played := Played()))
    assert played.finished >= FEW_SEQUENCES


@pytest.mark.long
@pytest.mark.timeout(900)
def test_sequences_end_as_the_model_says(embedded_servers: EmbeddedServers) -> None:
    play(embedded_servers, SEQUENCES, STEPS, number=2, into=(played := Played()))
    assert played.finished >= SEQUENCES
