"""bulkmig conflicts list, show, resolve"""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.errors import UsageError
from bulkmig.sync.resolve import listed, resolve

group = typer.Typer(
    help="Rows that both sides changed: what they did, and who decides.", no_args_is_help=True
)


@verb(CONNECT)
def list_command(
    call: Call,
    status: Annotated[
        Literal["open", "resolved"] | None, typer.Option(help="Only those; default: all.")
    ] = None,
) -> int:
    """Lists conflicts, the oldest first."""
    found = run(lambda stop: listed(call.settings, status))
    if call.json:
        output.document({"conflicts": found})
        return 0
    output.console().print(
        output.table(
            f"{len(found):,} conflicts",
            ("id", "status", "strategy", "kind", "entity", "row", "fields"),
            [
                (
                    c["id"], c["status"], c["strategy"], c["kind"], c["entity"], c["source_id"],
                    ", ".join(c["fields"]),
                )
                for c in found
            ],
        )
    )  # fmt: skip
    return 0


@verb(CONNECT)
def show_command(
    call: Call, conflict: Annotated[str, typer.Argument(metavar="ID", help="As the list shows it.")]
) -> int:
    """Shows one conflict, field by field."""
    found = [one for one in run(lambda stop: listed(call.settings)) if one["id"] == conflict.lower()]
    if not found:
        raise UsageError(f"there is no conflict {conflict}", "see `bulkmig conflicts list`")
    if call.json:
        output.document(found[0])
        return 0
    one = found[0]
    out = output.console()
    facts = [
        (k, one[k] or "") for k in ("id", "kind", "status", "strategy", "entity", "source_id", "vessel_id")
    ]
    out.print(output.table("Conflict", ("", ""), facts))
    rows = [
        (name, *("NULL" if sides[s] is None else sides[s] for s in ("base", "source", "target", "result")))
        for name, sides in one["fields"].items()
    ]
    out.print(output.table("Fields", ("field", "base", "source", "target", "result"), rows))
    return 0


@verb(CONNECT)
def resolve_command(
    call: Call,
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="As the list shows them.")],
    take: Annotated[
        Literal["source", "target", "merge"] | None, typer.Option(help="Whose row stands.")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(metavar="NAME=source|target", help="Whose value of a field stands.")
    ] = None,
) -> int:
    """Decides open conflicts; fields that are not named are taken as --take says, else merged."""
    fields = dict(_field(text) for text in field or ())
    report = run(lambda stop: resolve(call.settings, [one.lower() for one in ids], take=take, fields=fields))
    call.tell(report)
    return report.exit_status


def _field(text: str) -> tuple[str, Literal["source", "target"]]:
    name, _, side = text.partition("=")
    if side == "source":
        return name, "source"
    if side == "target":
        return name, "target"
    raise UsageError(f"{text!r} doesn't say whose value of a field stands", "e.g. --field name=source")


group.command("list")(list_command)
group.command("show")(show_command)
group.command("resolve")(resolve_command)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="conflicts")
