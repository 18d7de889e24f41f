"""bulkmig checkpoints list, show, prune"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from msgspec.structs import asdict

from bulkmig._core.stop import Stop
from bulkmig.checkpoint import changes
from bulkmig.checkpoint.changes import Change
from bulkmig.checkpoint.contents import Contents, contents
from bulkmig.checkpoint.retention import Pruned, prune
from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.config import MOST_DAYS, Settings, made
from bulkmig.ledger import access, audit, schema
from bulkmig.preflight import target_only

group = typer.Typer(
    help="What vessels were before a change, and for how long that is kept.", no_args_is_help=True
)


def _document(change: Change, *, restorable: bool) -> dict[str, Any]:
    return {
        "id": change.id,
        "run_id": change.run_id,
        "vessel_id": change.vessel_id,
        "created_at": change.created_at.isoformat(),
        "bytes": change.bytes,
        "rows": change.rows,
        "encrypted": change.encrypted,
        "restorable": restorable,
        "command": change.command,
        "absent": change.absent,
        "together": list(change.together),
    }


@verb(CONNECT)
def list_command(
    call: Call,
    vessel: Annotated[str | None, typer.Option(metavar="ID", help="Of one vessel.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", metavar="RUN", help="Of one run.")] = None,
) -> int:
    """Lists checkpoints, the oldest first."""

    async def look(stop: Stop) -> list[dict[str, Any]]:
        async with target_only(call.settings) as target:
            found = await changes.find(
                target,
                "($1::text IS NULL OR c.vessel_id::text = lower($1))"
                " AND ($2::text IS NULL OR substr(c.run_id::text, 1, length($2)) = lower($2))",
                vessel,
                run_id,
            )
            whole = await changes.whole(target)
            in_force = {one.id for one in await changes.all_in_force(target)}
            return [
                _document(one, restorable=one.id in whole) | {"in_force": one.id in in_force} for one in found
            ]

    found = run(look)
    if call.json:
        output.document({"checkpoints": found})
        return 0
    output.console().print(
        output.table(
            f"{len(found):,} checkpoints",
            ("id", "taken", "vessel", "before", "rows", "bytes", ""),
            [
                (
                    c["id"], c["created_at"][:19], c["vessel_id"] or "companies and users", c["command"],
                    c["rows"], c["bytes"],
                    ", ".join(
                        ([] if c["in_force"] else ["undone"])
                        + ([] if c["restorable"] else ["can't be restored"])
                    ),
                )
                for c in found
            ],
            (4, 5),
        )
    )  # fmt: skip
    return 0


@verb(CONNECT)
def show_command(
    call: Call,
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Its id, or the beginning of it.")],
) -> int:
    """Shows what a checkpoint holds, and reads all of it to see that it is unharmed."""

    async def look(stop: Stop) -> tuple[Change, Contents]:
        async with target_only(call.settings) as target:
            change = await changes.by_id(target, checkpoint)
            return change, await contents(target, change)

    change, held = run(look)
    if call.json:
        document = _document(change, restorable=not held.problem)
        output.document(document | {"tables": held.tables, "problem": held.problem})
    else:
        out = output.console()
        facts = _document(change, restorable=not held.problem).items()
        out.print(output.table("Checkpoint", ("", ""), [(k, "" if v is None else v) for k, v in facts]))
        out.print(output.table("Rows", ("table", "rows"), list(held.tables.items()), (1,)))
        if held.problem:
            out.print(output.plain(held.problem))
    return 1 if held.problem else 0


async def pruned(settings: Settings, keep: int, days: float) -> Pruned:
    """Prunes as an operator who may."""
    async with target_only(settings, unsealed=True, writing=True) as target:
        await access.check(target, settings.operator, "administer", "checkpoints prune")
        await schema.upgrade(target)
        return await prune(target, audit.who(settings.operator), keep=keep, days=days)


@verb(CONNECT)
def prune_command(
    call: Call,
    keep: Annotated[int | None, typer.Option(min=0, help="Of every vessel at least so many.")] = None,
    days: Annotated[
        float | None, typer.Option(min=0, max=MOST_DAYS, help="And all that are younger.")
    ] = None,
) -> int:
    """Deletes old checkpoints by the rule of retention; --keep and --days override the configuration."""
    settings = made(
        asdict(call.settings)
        | ({} if keep is None else {"keep_checkpoints": keep})
        | ({} if days is None else {"keep_days": days})
    )
    gone = run(lambda stop: pruned(settings, settings.keep_checkpoints, settings.keep_days))
    if call.json:
        output.document({"pruned": list(gone.checkpoints)})
    else:
        output.console().print(f"{len(gone.checkpoints):,} checkpoints deleted")
    return 0


group.command("list")(list_command)
group.command("show")(show_command)
group.command("prune")(prune_command)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="checkpoints")
