"""One line on standard error an event, whatever a value holds."""

from __future__ import annotations

import json
import re

import pytest

from bulkmig.cli.lines import listener
from bulkmig.events import RunStarted, VesselFailed

NAME = "two\nlines \x1b[31m=\"'"


def said(log_format: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    listen = listener(log_format=log_format, log_level="info", quiet=False)
    listen(RunStarted("migrate", "run-1", 2, 0))
    listen(VesselFailed("v-1", NAME, "load", ""))
    out, error = capsys.readouterr()
    assert out == ""
    return error.splitlines()


def test_a_line_of_text_has_time_level_event_and_the_fields_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = said("text", capsys)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \[info    +\] run started ", first)
    assert re.search(r"Z \[error   +\] vessel failed error= name=", second)
    assert "\x1b" not in second
    assert second.endswith(" phase=load run_id=run-1 vessel_id=v-1")


def test_a_line_of_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    _, second = (json.loads(line) for line in said("json", capsys))
    assert second.pop("timestamp").endswith("Z")
    assert second == {
        "level": "error", "event": "vessel failed", "run_id": "run-1", "vessel_id": "v-1",
        "name": NAME.replace("\n", "\ufffd").replace("\x1b", "\ufffd"), "phase": "load", "error": "",
    }  # fmt: skip
