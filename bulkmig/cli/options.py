"""The options that verbs share, declared once, and how they become settings:
flags beat the environment, that beats the file, that beats the defaults."""

from __future__ import annotations

import difflib
import inspect
import re
import tomllib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from bulkmig import config
from bulkmig.cli.output import warn
from bulkmig.config import Settings
from bulkmig.errors import UsageError
from bulkmig.monitor import serve
from bulkmig.postgres.dsn import masked
from bulkmig.selection import Selection
from bulkmig.sync.strategies import STRATEGIES, named

DEFAULT_FILE = Path("bulkmig.toml")
_LARGEST_FILE = 1024 * 1024  # bytes

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
                help="The Maintenance Portal: postgresql://…",
            ),
        ],
        None,
    ),
    "config": (
        Annotated[
            Path | None, _Option(metavar="FILE", rich_help_panel=_CONNECT, help="Default: bulkmig.toml")
        ],
        None,
    ),
    "allow_insecure": (
        Annotated[
            bool,
            _Option(
                "--allow-insecure", rich_help_panel=_CONNECT, help="Less than verify-full off this machine."
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
        Annotated[str | None, _Option(metavar="EMAIL", rich_help_panel=_CONNECT, help="Who does this.")],
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
        Annotated[Literal["debug", "info", "warning", "error"], _Option(case_sensitive=False)],
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
    "processes": (Annotated[int | None, _Option(min=1, rich_help_panel=_HOW, help="Side by side.")], None),
    "parallel_vessels": (
        Annotated[int | None, _Option(min=1, rich_help_panel=_HOW, help="At once, per process.")],
        None,
    ),
    "attempts": (
        Annotated[
            int | None,
            _Option(min=1, rich_help_panel=_HOW, help="How often what fails in passing is tried."),
        ],
        None,
    ),
    "memory": (
        Annotated[
            str | None,
            _Option(metavar="BYTES", rich_help_panel=_HOW, help="Bound on all rows in flight, e.g. 256MB."),
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
                help="Serve the dashboard, by default on loopback.",
            ),
        ],
        None,
    ),
}
ERRORS: dict[str, tuple[Any, Any]] = {
    "on_error": (
        Annotated[
            Literal["fail", "quarantine"] | None,
            _Option(rich_help_panel=_HOW, help="A row with an error fails its vessel, or is put aside."),
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
        Annotated[bool, _Option("--full", rich_help_panel=_HOW, help="Compare every row.")],
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
            _Option(rich_help_panel=_HOW, help="What becomes of rows that both sides changed."),
        ],
        None,
    ),
    "dry_run": (
        Annotated[bool, _Option("--dry-run", rich_help_panel=_HOW, help="Load, then roll back.")],
        False,
    ),
    "no_verify": (
        Annotated[bool, _Option("--no-verify", rich_help_panel=_HOW, help="Leave out the comparison.")],
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
            _Option(rich_help_panel=_HOW, help="Foreign keys row by row, or by one query per reference."),
        ],
        None,
    ),
    "max_rows_per_second": (Annotated[int | None, _Option(min=1, rich_help_panel=_HOW)], None),
    "window": (
        Annotated[
            str | None,
            _Option(
                metavar="DURATION", rich_help_panel=_HOW, help="Start nothing that ends after, e.g. 90m."
            ),
        ],
        None,
    ),
    "until": (
        Annotated[str | None, _Option(metavar="HH:MM", rich_help_panel=_HOW, help="The same, by the clock.")],
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
            _Option(min=1, rich_help_panel=_CLUSTER, help="For vessels, over all workers."),
        ],
        None,
    ),
    "max_target_connections": (
        Annotated[int | None, _Option(min=1, rich_help_panel=_CLUSTER, help="The same.")],
        None,
    ),
    "heartbeat": (
        Annotated[
            float | None,
            _Option(metavar="SECONDS", rich_help_panel=_CLUSTER, help="Silence that means: dead."),
        ],
        None,
    ),
}


WORKER = {name: PARALLEL[name] for name in ("parallel_vessels", "attempts", "memory")} | {
    "max_rows_per_second": LOAD["max_rows_per_second"]
}


@dataclass(frozen=True)
class Call:
    """What a verb gets: settings in force and where each is from (flag, environment, file; nothing: the
    default), the selection if the verb takes one, and how to print."""

    settings: Settings
    selection: Selection | None
    json: bool
    quiet: bool
    reveal: bool
    log_format: str
    log_level: str
    origins: dict[str, str]
    dashboard: str | None = None
    yes: bool = False

    @property
    def selected(self) -> Selection:
        assert self.selection is not None
        return self.selection


def verb(*groups: dict[str, tuple[Any, Any]]) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Gives a function the options of some groups: it is called with a `Call` and its own parameters, and
    returns the exit status."""

    def decorate(function: Callable[..., int]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = {name: spec for group in groups for name, spec in group.items()}

        def command(context: typer.Context, **given: Any) -> None:
            mine = {parameter.name: given.pop(parameter.name) for parameter in own}
            set_by = {name: context.get_parameter_source(name) for name in given}
            from_environment = {name for name, by in set_by.items() if by and by.name == "ENVIRONMENT"}
            call = _call(given, from_environment)
            _caution(call)
            raise typer.Exit(function(call, **mine))

        parameters = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in shared.items()
        ]
        own_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        signature = inspect.Signature([context, *own_only, *parameters])
        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        command.__name__, command.__doc__ = function.__name__, function.__doc__
        return command

    return decorate


def _call(given: dict[str, Any], from_environment: Collection[str]) -> Call:
    selection = None
    if "imo" in given:
        selection = Selection(
            vessels=tuple(given["vessels"] or ()),
            imo=tuple(given["imo"] or ()),
            company=tuple(given["company"] or ()),
            all=given["all"],
            allow_unapproved=given["allow_unapproved"],
        )
    found, origins = settings(given, from_environment)
    return Call(
        found, selection, given["json"], given["quiet"], given.get("reveal", False),
        given["log_format"], given["log_level"], origins, given.get("dashboard"),
        given.get("yes", False),
    )  # fmt: skip


def _caution(call: Call) -> None:
    """Says what is legal and ought to be known."""
    for end in ("source", "target"):
        url: str = getattr(call.settings, end)
        if call.origins.get(end) == "flag" and not call.quiet and masked(url) != url:
            warn(
                f"everyone on this machine can read the password in --{end} while the command runs:"
                " use the passfile, the environment, or password_command",
                as_json=call.log_format == "json",
            )


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """The arguments, `--dashboard` with its value where that was left out."""
    words = list(arguments)
    for index in [i for i, word in enumerate(words) if word == "--dashboard"]:
        following = words[index + 1] if index + 1 < len(words) else ""
        if not re.fullmatch(r"(.*:)?\d+", following):
            words[index] = f"--dashboard={serve.DEFAULT}"
    return words


def settings(
    given: dict[str, Any], from_environment: Collection[str] = ()
) -> tuple[Settings, dict[str, str]]:
    """Flags and environment over the file over the defaults, and where each that is set is from. Raises
    UsageError."""
    path = given.get("config")
    values = _from_file(path)
    origins = dict.fromkeys(values, f"file {path or DEFAULT_FILE}")

    def put(name: str, value: Any, origin: str = "flag") -> None:
        values[name], origins[name] = value, origin

    for name in Settings.__struct_fields__:
        value = given.get(name)
        if value is not None and value is not False:
            put(name, value, "environment" if name in from_environment else "flag")
    for flag, name in (("no_verify", "verify"), ("no_new", "new")):
        if given.get(flag):
            put(name, False)
    if given.get("until") is not None:
        put("window", _seconds_until(given["until"], datetime.now().astimezone()))
    if isinstance(values.get("memory"), str):
        values["memory"] = config.size(values["memory"])
    if isinstance(values.get("window"), str):
        values["window"] = config.duration(values["window"])
    found = config.made(values)
    named(found.conflict)
    return found, origins


def _from_file(path: Path | None) -> dict[str, Any]:
    file = path or DEFAULT_FILE
    if path is None and not file.is_file():
        return {}
    try:
        with file.open("rb") as opened:
            text = opened.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise UsageError(f"{file} is too large for a configuration file", "check --config")
        values = tomllib.loads(text.decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"can't read {file}: {error.strerror}", "check --config") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is no TOML: {error}", "correct the file") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{file} is no TOML", "correct the file") from None
    for key in values:
        if key not in Settings.__struct_fields__:
            near = difflib.get_close_matches(key, Settings.__struct_fields__, 1)
            raise UsageError(
                f"{file}: unknown key {key!r}", f"did you mean {near[0]!r}?" if near else "remove it"
            )
    return values


def _seconds_until(text: str, now: datetime) -> float:
    if not re.fullmatch("(?:[01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise UsageError(f"{text!r} is no time of day", "e.g. --until 05:30")
    end = now.replace(hour=int(text[:2]), minute=int(text[3:]), second=0, microsecond=0)
    if end <= now:
        end += timedelta(days=1)
    return (end - now).total_seconds()
