"""bulkmig quarantine list, show, retry"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bulkmig._core.stop import Stop
from bulkmig.cli import lines, output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT, PARALLEL
from bulkmig.cli.running import run
from bulkmig.errors import UsageError
from bulkmig.ledger import read
from bulkmig.preflight import target_only
from bulkmig.retry.run import retry

group = typer.Typer(help="Rows that were not loaded: why, and what the source held.", no_args_is_help=True)


def _entries(call: Call, **filters: str | None) -> list[dict[str, Any]]:
    async def look(stop: Stop) -> list[dict[str, Any]]:
        async with target_only(call.settings, unsealed=True) as target:
            return await read.quarantine_list(target, reveal=call.settings.reveal, **filters)

    return run(look)


@verb(CONNECT)
def list_command(
    call: Call,
    vessel: Annotated[str | None, typer.Option(metavar="ID", help="Of one vessel.")] = None,
    code: Annotated[str | None, typer.Option(help="With one reason.")] = None,
) -> int:
    """Lists quarantined rows."""
    entries = _entries(call, vessel_id=vessel and vessel.lower(), code=code)
    if call.json:
        output.document({"quarantine": entries})
        return 0
    output.console().print(
        output.table(
            f"{len(entries):,} quarantined rows",
            ("id", "vessel", "code", "message"),
            [(e["id"], e["vessel_id"] or "", e["code"], e["message"]) for e in entries],
        )
    )
    return 0


@verb(CONNECT)
def show_command(
    call: Call, entry: Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.")]
) -> int:
    """Shows one quarantined row with the source's values."""
    entries = _entries(call, entry=entry)
    if not entries:
        raise UsageError(f"nothing is quarantined under {entry}", "see `bulkmig quarantine list`")
    if call.json:
        output.document(entries[0])
        return 0
    found = entries[0]
    out = output.console()
    out.print(
        output.table(
            found["id"],
            ("", ""),
            [(k, found[k] or "") for k in ("code", "message", "vessel_id", "run_id", "since")]
            + [(f"row.{k}", "NULL" if v is None else v) for k, v in found["row"].items()],
        )
    )
    return 0


@verb(PARALLEL, CONNECT)
def retry_command(
    call: Call,
    vessels: Annotated[list[str] | None, typer.Argument(metavar="[VESSEL]…", help="Default: all.")] = None,
) -> int:
    """Looks again at quarantined rows and loads those that are in order now."""
    listen = lines.listener(log_format=call.log_format, log_level=call.log_level, quiet=call.quiet)
    report = run(lambda stop: retry(call.settings, vessels or (), listen=listen, stop=stop))
    call.tell(report)
    return report.exit_status


group.command("list")(list_command)
group.command("show")(show_command)
group.command("retry")(retry_command)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="quarantine")
