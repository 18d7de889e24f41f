"""Every example in Python on a page does what the page says, and together they use every public name."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import bulkmig
from bulkmig import Settings, UsageError, migrate
from bulkmig.generate import FleetSpec
from tests.checkpoint.support import execute, fetchval, settings
from tests.support.fleets import Fleets
from tests.support.sources import parse
from tests.sync.scene import ALL

ROOT = Path(__file__).parents[2]
SPEC = FleetSpec(seed=21, vessels=2, companies=1, users_per_company=2, equipment=8, nasty=0.0, least=0)


def examples(page: str) -> list[str]:
    """The page's blocks of Python."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.M)


def of(page: str, name: str) -> Any:
    """What the example that defines it has under this name."""
    (source,) = (source for source in examples(page) if f"def {name}(" in source)
    made: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, page, "exec"), made)
    return made[name]


def test_the_examples_use_every_public_name() -> None:
    trees = [parse(source) for page in ("README.md", "docs/reference.md") for source in examples(page)]
    imports = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    used = {name.name for node in imports if node.module == "bulkmig" for name in node.names}
    assert used == set(bulkmig.__all__)


async def test_the_readmes_program_migrates_a_company_and_verifies_it(
    fleets: Fleets, maintenance_url: str, capsys: Any
) -> None:
    origin = await fleets(SPEC, fresh=True)
    await execute(origin.url, "UPDATE companies SET code = 'ACME'")
    main = of("README.md", "main")
    ends = {"source": origin.url, "target": maintenance_url}
    main.__globals__["Settings"] = lambda **others: Settings(**{**others, **ends})
    await main()
    assert capsys.readouterr().out == "completed 2 0\n"
    assert await fetchval(maintenance_url, "SELECT count(*) FROM vessels") == 2


async def test_a_night_a_morning_and_the_way_back_are_as_the_reference_has_them(
    fleets: Fleets, maintenance_url: str, capsys: Any
) -> None:
    origin = await fleets(SPEC, fresh=True)
    config = settings(origin, maintenance_url, conflict="manual")
    report = await of("docs/reference.md", "night")(config)
    assert (report.status, report.done) == ("completed", 2)
    assert capsys.readouterr().out.startswith("0 errors,")
    both = "UPDATE equipment SET name = '{}', updated_at = now()"
    await execute(origin.url, both.format("of the source"))
    await execute(
        maintenance_url,
        both.format("of the portal") + " WHERE id = (SELECT min(id::text)::uuid FROM equipment)",
    )
    assert await of("docs/reference.md", "morning")(config) == []
    assert "1 conflicts" in capsys.readouterr().out
    names = "SELECT string_agg(DISTINCT name, ', ') FROM equipment"
    assert await fetchval(maintenance_url, names) == "of the source"
    back = of("docs/reference.md", "back")
    assert await back(config, report.run_id) == 0
    assert await fetchval(maintenance_url, "SELECT count(*) FROM vessels") == 0
    assert await back(config, "00000000-0000-4000-8000-000000000000") == UsageError.exit_status
    assert (await migrate(config, ALL)).done == 2
