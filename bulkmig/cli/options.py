"""The options that verbs share, each declared once, in groups: name, type with its help, default."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from bulkmig.monitor import serve
from bulkmig.sync.strategies import STRATEGIES

_Option = typer.Option
_Conflict: Any = cast("Any", Literal)[tuple(sorted(STRATEGIES))]
_CONNECT = "Connections"
_HOW = "How"
_CLUSTER = "More machines than one"

CONNECT: dict[str, tuple[Any, Any]] = {
    "source": (
        Annotated[
            str | None,
            _Option(
                envvar="ONBOARDING_DB_URL", show_envvar=True, metavar="URL", rich_help_panel=_CONNECT,
                help="The Onboarding Portal: postgresql://…",
            ),
        ],
        None,
    ),
    "target": (
        Annotated[
            str | None,
            _Option(
                envvar="MAINTENANCE_DB_URL", show_envvar=True, metavar="URL", rich_help_panel=_CONNECT,
                help="The Maintenance Portal: postgresql://… or sqlite:///path",
            ),
        ],
        None,
    ),
    "config": (
        Annotated[
            Path | None,
            _Option(metavar="FILE", rich_help_panel=_CONNECT, help="Settings; default: bulkmig.toml"),
        ],
        None,
    ),
    "allow_insecure": (
        Annotated[
            bool,
            _Option(
                "--allow-insecure",
                rich_help_panel=_CONNECT,
                help="Allow less than sslmode=verify-full on connections that leave this machine.",
            ),
        ],
        False,
    ),
    "key_file": (
        Annotated[
            str | None,
            _Option(metavar="FILE", rich_help_panel=_CONNECT, help="Keys of the ledger: the first encrypts."),
        ],
        None,
    ),
    "operator": (
        Annotated[
            str | None,
            _Option(metavar="EMAIL", rich_help_panel=_CONNECT, help="Who does this; default: the user."),
        ],
        None,
    ),
    "json": (Annotated[bool, _Option("--json", help="One JSON document on standard output.")], False),
    "yes": (Annotated[bool, _Option("--yes", "-y", help="Don't ask.")], False),
    "quiet": (Annotated[bool, _Option("--quiet", "-q", help="Only the result and errors.")], False),
    "log_format": (
        Annotated[Literal["text", "json"], _Option(help="Of the lines on standard error.")],
        "text",
    ),
    "log_level": (
        Annotated[
            Literal["debug", "info", "warning", "error"],
            _Option(case_sensitive=False, help="Least level of these lines."),
        ],
        "info",
    ),
    "reveal": (
        Annotated[bool, _Option("--reveal", help="Show personal values instead of masking them.")],
        False,
    ),
}  # fmt: skip
# Verbs that bring their own databases still print as all others do.
PRINT = {name: CONNECT[name] for name in ("json", "quiet", "log_format", "log_level")}
SELECT: dict[str, tuple[Any, Any]] = {
    "vessels": (Annotated[list[str] | None, typer.Argument(metavar="[VESSEL]…", help="Vessel ids.")], None),
    "imo": (Annotated[list[str] | None, _Option(metavar="NUMBER", help="A vessel by IMO number.")], None),
    "company": (
        Annotated[list[str] | None, _Option(metavar="CODE_OR_ID", help="All approved vessels of a company.")],
        None,
    ),
    "all": (Annotated[bool, _Option("--all", help="Every approved vessel.")], False),
    "allow_unapproved": (
        Annotated[bool, _Option("--allow-unapproved", help="Named vessels need not be approved.")],
        False,
    ),
}
PARALLEL: dict[str, tuple[Any, Any]] = {
    "processes": (
        Annotated[int | None, _Option(min=1, rich_help_panel=_HOW, help="Processes; default: 1.")],
        None,
    ),
    "parallel_vessels": (
        Annotated[
            int | None, _Option(min=1, rich_help_panel=_HOW, help="Vessels at once, per process; default: 4.")
        ],
        None,
    ),
    "attempts": (
        Annotated[
            int | None,
            _Option(
                min=1, rich_help_panel=_HOW, help="How often what fails in passing is tried; default: 5."
            ),
        ],
        None,
    ),
    "memory": (
        Annotated[
            str | None,
            _Option(
                metavar="BYTES", rich_help_panel=_HOW, help="Bound on all rows in flight; default: 256MB."
            ),
        ],
        None,
    ),
}
DASHBOARD: dict[str, tuple[Any, Any]] = {
    "dashboard": (
        Annotated[
            str | None,
            _Option(
                metavar="[HOST:PORT]",
                rich_help_panel=_HOW,
                help=f"Serve the dashboard meanwhile; where nothing else is said on {serve.DEFAULT}.",
            ),
        ],
        None,
    ),
}
ERRORS: dict[str, tuple[Any, Any]] = {
    "on_error": (
        Annotated[
            Literal["fail", "quarantine"] | None,
            _Option(
                rich_help_panel=_HOW,
                help="A row with an error fails its vessel (default), or is put aside.",
            ),
        ],
        None,
    ),
    "continue_on_error": (
        Annotated[
            bool | None,
            _Option("--continue-on-error", rich_help_panel=_HOW, help="Go on after a failed vessel."),
        ],
        None,
    ),
}
SYNC: dict[str, tuple[Any, Any]] = {
    "full": (
        Annotated[bool, _Option("--full", rich_help_panel=_HOW, help="Compare every row of every vessel.")],
        False,
    ),
    "no_new": (
        Annotated[bool, _Option("--no-new", rich_help_panel=_HOW, help="Leave out newly approved vessels.")],
        False,
    ),
    "allow_deletions": (
        Annotated[
            bool | None,
            _Option("--allow-deletions", rich_help_panel=_HOW, help="Release the deletion brake."),
        ],
        None,
    ),
}
LOAD: dict[str, tuple[Any, Any]] = {
    "conflict": (
        Annotated[
            _Conflict | None,
            _Option(
                rich_help_panel=_HOW,
                help="What becomes of rows that both sides changed; default: source_wins.",
            ),
        ],
        None,
    ),
    "dry_run": (
        Annotated[bool, _Option("--dry-run", rich_help_panel=_HOW, help="Load each vessel, then roll back.")],
        False,
    ),
    "no_verify": (
        Annotated[
            bool, _Option("--no-verify", rich_help_panel=_HOW, help="Leave out the comparison at the end.")
        ],
        False,
    ),
    "rollback_on_error": (
        Annotated[
            bool | None,
            _Option(
                "--rollback-on-error",
                rich_help_panel=_HOW,
                help="Roll a vessel back if its verification fails.",
            ),
        ],
        None,
    ),
    "fk_check": (
        Annotated[
            Literal["row", "set"] | None,
            _Option(
                rich_help_panel=_HOW,
                help="Foreign keys row by row (default), or by one query per reference.",
            ),
        ],
        None,
    ),
    "max_rows_per_second": (
        Annotated[int | None, _Option(min=1, rich_help_panel=_HOW, help="Target rows; default: no limit.")],
        None,
    ),
    "window": (
        Annotated[
            str | None,
            _Option(
                metavar="DURATION",
                rich_help_panel=_HOW,
                help="Start no vessel that would end after it, e.g. 90m.",
            ),
        ],
        None,
    ),
    "until": (
        Annotated[
            str | None,
            _Option(metavar="HH:MM", rich_help_panel=_HOW, help="The same by the clock, e.g. 05:30."),
        ],
        None,
    ),
}
QUEUE: dict[str, tuple[Any, Any]] = {
    "queue": (
        Annotated[
            bool,
            _Option("--queue", rich_help_panel=_CLUSTER, help="Let workers on any machine take the vessels."),
        ],
        False,
    ),
    "max_source_connections": (
        Annotated[
            int | None,
            _Option(min=1, rich_help_panel=_CLUSTER, help="Sessions for vessels, over all workers."),
        ],
        None,
    ),
    "max_target_connections": (
        Annotated[int | None, _Option(min=1, rich_help_panel=_CLUSTER, help="The same on the target.")],
        None,
    ),
    "heartbeat": (
        Annotated[
            float | None,
            _Option(
                metavar="SECONDS",
                rich_help_panel=_CLUSTER,
                help="Silence after which a worker counts as dead; default: 30.",
            ),
        ],
        None,
    ),
}
WORKER = {name: PARALLEL[name] for name in ("parallel_vessels", "attempts", "memory")} | {
    "max_rows_per_second": LOAD["max_rows_per_second"]
}


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The arguments, `--dashboard` with its value where that was left out."""
    words = list(arguments)
    for index in [i for i, word in enumerate(words) if word == "--dashboard"]:
        following = words[index + 1] if index + 1 < len(words) else ""
        if not re.fullmatch(r"(.*:)?\d+", following):
            words[index] = f"--dashboard={serve.DEFAULT}"
    return words
