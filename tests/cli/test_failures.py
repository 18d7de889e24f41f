"""However a command ends: one document on standard output, one JSON object a line on standard error where
that was asked for, and nothing touched where the status says so."""

from __future__ import annotations

import json
from uuid import uuid4

import asyncpg
import pytest

from tests.support.programs import run

NOWHERE = "postgresql://127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("migrate", "--all", "--nonsense"), 2),
        (("migrate", str(uuid4())), 2),
        (("sync", str(uuid4())), 2),
        (("verify", "--all"), 3),
        (("migrate", "--all", "--source", NOWHERE), 3),
    ],
)
async def test_a_refused_command_says_so_in_one_document_and_touches_nothing(
    onboarding_url: str, maintenance_url: str, arguments: tuple[str, ...], status: int
) -> None:
    ended = await run(onboarding_url, maintenance_url, *arguments)
    assert ended.status == status
    assert (ended.document["command"], ended.document["status"]) == (arguments[0], "failed")
    assert ended.document["error"]
    assert [json.loads(line)["level"] for line in ended.said.splitlines()] == ["error"]
    target = await asyncpg.connect(maintenance_url)
    try:
        assert await target.fetchval("SELECT to_regnamespace('bulkmig')") is None
    finally:
        await target.close()
