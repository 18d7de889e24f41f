"""bulkmig bench"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from bulkmig.cli import output
from bulkmig.cli.call import Call, verb
from bulkmig.cli.options import CONNECT
from bulkmig.cli.running import run
from bulkmig.errors import UsageError

# Servers and generator are not loaded by any other verb.
if TYPE_CHECKING:
    from bulkmig.cli import bench

PHASES = ("extract", "validate", "transform", "load", "verify")


@verb(CONNECT)
def command(
    call: Call,
    sizes: Annotated[
        str, typer.Option(metavar="N,N,…", help="Equipment of the vessels to measure.")
    ] = "500,1500,5000",
    repeat: Annotated[int, typer.Option(min=1, help="Runs that count, after one that doesn't.")] = 5,
    seed: Annotated[int, typer.Option(help="The same seed makes the same fleet.")] = 0,
) -> int:
    """Measures migration and sync against the strategy's expectations, on embedded servers or on yours."""
    from bulkmig.cli import bench

    if sys.platform == "win32":
        raise UsageError("bench measures processes as POSIX systems count them", "run it on Linux or macOS")
    wanted = _numbers(sizes)

    def say(text: str) -> None:
        if not (call.json or call.quiet):
            output.console().print(text)

    def measured(servers: bench.Servers) -> tuple[str, list[bench.Result]]:
        postgres = run(lambda stop: bench.version(servers))
        return postgres, run(lambda stop: bench.measure(servers, wanted, seed=seed, repeat=repeat, say=say))

    # Only flags: servers that the environment names are there to be migrated, not to be measured.
    named = [name for name in ("source", "target") if call.origins.get(name) == "flag"]
    if len(named) == 1:
        raise UsageError("bench needs both servers or none", "say --source and --target, or neither")
    if named:
        _ask(call)
        settings = call.settings
        postgres, results = measured(bench.Servers(settings.source, settings.target, settings.allow_insecure))
    else:
        with bench.embedded() as servers:
            postgres, results = measured(servers)
    missed = [result for result in results if not result.met]
    if call.json:
        output.document(
            {
                "command": "bench",
                "status": "completed_with_failures" if missed else "completed",
                "environment": bench.environment(postgres),
                "seed": seed,
                "repeat": repeat,
                "benchmarks": [result.document() for result in results],
            }
        )
    else:
        _show(results)
    return 1 if missed else 0


def _numbers(text: str) -> list[int]:
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UsageError(f"{text!r} is no list of sizes", "e.g. --sizes 500,1500")
    return found


def _ask(call: Call) -> None:
    if call.yes or (sys.stdin.isatty() and typer.confirm("Make databases and drop them on both servers?")):
        return
    raise UsageError("bench makes databases of its own on both servers", "agree to that by --yes")


def _show(results: Sequence[bench.Result]) -> None:
    rows = []
    for result in results:
        phases = result.phases()
        rows.append(
            (
                result.name,
                f"{result.seconds:.2f}",
                f"{result.expected:.0f}",
                "yes" if result.met else "NO",
                *(f"{phases.get(name, 0.0):.2f}" for name in PHASES),
                f"{median(cost.peak for cost in result.costs) / 1e6:.0f}",
            )
        )
    columns = ("", "seconds", "expected", "met", *PHASES, "peak MB")
    title = "From the start of the process to its exit, verified (phases: busy seconds of all workers)"
    output.console().print(output.table(title, columns, rows, numbers=(1, 2, 4, 5, 6, 7, 8, 9)))
    missed = sum(not result.met for result in results)
    output.console().print(f"{missed} of {len(results)} missed" if missed else "all as the strategy expects")


def register(app: typer.Typer) -> None:
    app.command("bench")(command)
