"""bulkmig demo"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from rich.console import Console

from bulkmig import config
from bulkmig.cli import output, summary
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import PRINT
from bulkmig.cli.running import run
from bulkmig.cli.watching import watching
from bulkmig.errors import UsageError
from bulkmig.fleet.migrate import migrate
from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import TARGET, session
from bulkmig.report import Report
from bulkmig.schemas import read
from bulkmig.selection import Selection
from bulkmig.sync.run import sync
from bulkmig.verification import verify

# Servers and generator are the demo's alone: every other verb starts without loading them.
if TYPE_CHECKING:
    from bulkmig.embedded import Server
    from bulkmig.generate import FleetSpec, FleetSummary

SOURCE, PORTAL = "onboarding", "maintenance"
# What people do to an Onboarding Portal between two maintenance windows. A made-up name may have all the 255
# characters that there is room for.
_CHANGES = """
UPDATE equipment SET name = left(name, 252) || ' II', updated_at = now()
 WHERE id IN (SELECT id FROM equipment ORDER BY id LIMIT 25);
DELETE FROM critical_parts WHERE id IN (SELECT id FROM critical_parts ORDER BY id LIMIT 25);
UPDATE locations SET name = left(name, 251) || ' aft', updated_at = now()
 WHERE id IN (SELECT id FROM locations ORDER BY id LIMIT 25);
"""


@verb(PRINT)
def command(
    call: Call,
    vessels: Annotated[int, typer.Option(min=1, help="How many vessels to make up.")] = 20,
    equipment: Annotated[int, typer.Option(min=0, help="Equipment per vessel, on average.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed makes the same fleet.")] = 1,
    nasty: Annotated[float, typer.Option(min=0, max=1, help="Share of rows with something wrong.")] = 0.02,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running; print both URLs.")] = False,
) -> int:
    """Starts PostgreSQL, makes up a fleet, migrates, verifies and syncs it: nothing else is needed."""

    from bulkmig.embedded import server
    from bulkmig.generate import FleetSpec

    def say(text: str) -> None:
        if not (call.json or call.quiet):
            output.console().print(text)

    if not 0 <= nasty <= 1:  # no number at all passes the option's bounds
        raise UsageError("--nasty is a share", "e.g. --nasty 0.02")
    spec = FleetSpec(seed=seed, vessels=vessels, equipment=equipment, nasty=nasty, least=0)
    with server() as embedded:
        say(f"PostgreSQL {embedded.install.release} runs on port {embedded.port} ({embedded.install.origin})")
        for name in (SOURCE, PORTAL):
            embedded.create_database(name)
        source, target = embedded.url(SOURCE), embedded.url(PORTAL)
        made = anyio.run(_prepare, source, target, spec)
        say(f"made up an onboarding fleet: {made.rows['vessels']} vessels, {sum(made.rows.values()):,} rows")
        settings = config.Settings(
            source=source, target=target, on_error="quarantine", continue_on_error=True, verify=True
        )
        with watching(call) as listen:
            report = run(lambda stop: migrate(settings, Selection(all=True), listen=listen, stop=stop))
        again = run(lambda stop: verify(settings, Selection(all=True), stop=stop))
        embedded.execute(_CHANGES, SOURCE)
        synced = run(lambda stop: sync(settings, Selection(all=True), stop=stop))
        _print(call, report, again, synced)
        if keep:
            _keep(embedded, source, target, Console(stderr=call.json, highlight=False))
    return report.exit_status or again.exit_status or synced.exit_status


async def _prepare(source: str, target: str, spec: FleetSpec) -> FleetSummary:
    from bulkmig.generate import create_schema, generate_fleet

    await create_schema(source)
    async with session(parse(target), TARGET, role="target") as connection:
        await connection.execute(read("maintenance.postgres.sql"))
    return await generate_fleet(source, spec)


def _print(call: Call, report: Report, again: Report, synced: Report) -> None:
    if call.json:
        parts = {"migrate": report, "verify": again, "sync": synced}
        output.document({"command": "demo", **{name: part.document() for name, part in parts.items()}})
        return
    summary.show(report)
    verified = again.verified
    output.console().print(
        f"\n`bulkmig verify --all` looked once more, on its own: {sum(verified.rows.values()):,} rows,"
        f" {verified.difference_count} differences, {again.seconds:.1f} s"
    )
    changed = synced.inserted.total(), synced.updated.total(), synced.deleted.total()
    output.console().print(
        "Then some equipment was renamed in the source, some parts went and some places got new names;\n"
        f"`bulkmig sync --all` inserted {changed[0]:,}, updated {changed[1]:,} and deleted {changed[2]:,}"
        f" rows, {synced.verified.difference_count} differences, {synced.seconds:.1f} s"
    )


def _keep(embedded: Server, source: str, target: str, out: Console) -> None:
    stop = embedded.leave_running()
    out.print("\nThe server with both databases goes on running. To look around:")
    out.print(output.plain(f"  export ONBOARDING_DB_URL={source}"))
    out.print(output.plain(f"  export MAINTENANCE_DB_URL={target}"))
    out.print("  bulkmig status")
    out.print(output.plain(f"To stop them: {stop}"))


def register(app: typer.Typer) -> None:
    app.command("demo")(command)
