"""`python -m bulkmig` in small, where the command line itself is not to be measured: the same options, the
same document on standard output.

    python -m benchmarks.through_api migrate|verify --source URL --target URL [--fk-check set] …
"""

from __future__ import annotations

import argparse
import sys

import anyio
import orjson

import bulkmig


async def _run(arguments: argparse.Namespace) -> bulkmig.Report:
    settings = bulkmig.Settings(
        source=arguments.source,
        target=arguments.target,
        parallel_vessels=arguments.parallel_vessels,
        memory=arguments.memory,
        fk_check=arguments.fk_check,
        verify=False,
    )
    command = {"migrate": bulkmig.migrate, "verify": bulkmig.verify}[arguments.command]
    return await command(settings, bulkmig.Selection(all=True))


def main() -> int:
    defaults = bulkmig.Settings()
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["migrate", "verify"])
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--parallel-vessels", type=int, default=defaults.parallel_vessels)
    parser.add_argument("--memory", type=bulkmig.config.size, default=defaults.memory)
    parser.add_argument("--fk-check", choices=["row", "set"], default=defaults.fk_check)
    for flag in ("--all", "--no-verify", "--json", "--quiet"):
        parser.add_argument(flag, action="store_true")
    report = anyio.run(_run, parser.parse_args(), backend_options={"use_uvloop": True})
    sys.stdout.buffer.write(orjson.dumps(report.document()))
    return report.exit_status


if __name__ == "__main__":
    sys.exit(main())
