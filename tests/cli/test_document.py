"""A document arrives whole and in UTF-8, whatever standard output is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PRINT = "from bulkmig.cli.output import document; document({'names': ['\u6f22 \u00e9'] * 50_000})"


def test_a_document_larger_than_a_pipe_arrives_whole_through_one_that_does_not_wait() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    with subprocess.Popen([sys.executable, "-c", PRINT], stdout=write, env=environment) as process:
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            text = b""
            while chunk := pipe.read1(1000):  # it is never as fast as who writes
                text += chunk
    assert process.returncode == 0
    assert json.loads(text)["names"] == ["漢 é"] * 50_000
