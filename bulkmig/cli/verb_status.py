"""bulkmig status"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import anyio
import typer

from bulkmig._core.stop import Stop
from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.cluster import roster
from bulkmig.errors import Stopped
from bulkmig.ledger import read
from bulkmig.preflight import target_only

EVERY = 2.0  # seconds between two looks with --watch


@verb(CONNECT)
def command(
    call: Call,
    run_id: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's id or its beginning.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,
) -> int:
    """Shows runs, their vessels and phases, rates and errors."""

    async def look() -> dict[str, Any]:
        async with target_only(call.settings) as target:
            chosen = await read.one_run(target, run_id) if run_id else None
            runs = await read.run_list(target, chosen)
            found = {"runs": runs, "vessels": await read.vessel_list(target, chosen)}
            return found | await roster.queue(target)

    async def show() -> None:
        found = await look()
        if call.json:
            output.document(found)
        else:
            _show(found)
        sys.stdout.flush()  # whoever watches through a pipe sees it now

    async def keep_showing(stop: Stop) -> int:
        if not watch:
            await show()
            return 0
        with stop.scope():
            while True:
                await show()
                await anyio.sleep(EVERY)
        return Stopped.exit_status

    return run(keep_showing)


def _show(found: dict[str, Any]) -> None:
    out = output.console()
    out.print(
        output.table(
            "Runs",
            ("run", "command", "status", "started", "vessels done", "failed", "seconds"),
            [
                (
                    r["id"][:8], r["command"], r["status"], r["started_at"][:19],
                    (r["report"] or {}).get("vessels", {}).get("done", ""),
                    (r["report"] or {}).get("vessels", {}).get("failed", ""),
                    (r["report"] or {}).get("seconds", ""),
                )
                for r in found["runs"]
            ],
            (4, 5, 6),
        )
    )  # fmt: skip
    if found["workers"]:
        out.print()
        jobs = found["queue"]
        out.print(
            output.table(
                f"Workers; {jobs['waiting']:,} jobs wait, {jobs['at_work']:,} are at work",
                ("worker", "host", "state", "jobs", "run", "seen"),
                [
                    (w["tag"], w["host"], w["state"], w["jobs"], (w["run_id"] or "")[:8], w["seen_at"][:19])
                    for w in found["workers"]
                ],
                (3,),
            )
        )
    out.print()
    out.print(
        output.table(
            "Vessels",
            ("vessel", "state", "phase", "rows", "seconds", "error"),
            [
                (v["name"], v["state"], v["phase"], v["rows"], f"{v['seconds']:.2f}", v["error"] or "")
                for v in found["vessels"]
            ],
            (3, 4),
        )
    )


def register(app: typer.Typer) -> None:
    app.command("status")(command)
