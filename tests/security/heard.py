"""The program in this process, and all that it says: no canary is in it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import asyncpg
import pytest

from bulkmig.cli import app
from tests.support.canaries import SECRET, in_text


def execute(url: str, *statements: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(work())


def with_password(url: str) -> str:
    return url.replace("postgres@", f"postgres:{SECRET}@")


class Heard:
    """What the program says, all of it, at its most talkative."""

    def __init__(self, capfd: pytest.CaptureFixture[str], source: str, target: str) -> None:
        self.capfd, self.source, self.target = capfd, source, target
        self.commands: set[str] = set()  # that were run, by their first two words

    def __call__(self, *words: str, clean: bool = True) -> tuple[int, str]:
        """Runs a command; its exit status and its whole output, in which there is no canary."""
        self.commands |= {words[0], " ".join(words[:2])}
        ends = ["--source", self.source, "--target", self.target]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["bulkmig", *words, "--log-level", "debug", *ends])
            for verbs in ("registered_commands", "registered_groups"):  # none yet, as when a process starts
                patch.setattr(app.app, verbs, [])
            with pytest.raises(SystemExit) as ended:
                app.main()
        said = "\n".join(self.capfd.readouterr())
        assert not clean or not in_text(said), (words, in_text(said))
        status = ended.value.code
        assert isinstance(status, int)
        return status, said

    def document(self, *words: str) -> dict[str, Any]:
        """The JSON document that a command prints."""
        found: dict[str, Any] = json.JSONDecoder().raw_decode(self(*words, "--json")[1])[0]
        return found

    def in_each_form(self, *words: str) -> set[int]:
        """A command that changes nothing, for people and for programs; its exit statuses."""
        return {self(*words)[0], self(*words, "--json", "--log-format", "json")[0]}
