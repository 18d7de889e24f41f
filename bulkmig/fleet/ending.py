"""How a run ends: whatever ends it, report and ledger say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import asyncpg

from bulkmig import shown
from bulkmig.errors import BulkmigError, PreflightError, UsageError
from bulkmig.events import RunEnded
from bulkmig.fleet.run import Run
from bulkmig.ledger import runs
from bulkmig.postgres.errors import describe
from bulkmig.recount import recount

END_SECONDS = 10  # for the last words of a run that was asked to stop
AGAIN = "run the same command again to go on"


@asynccontextmanager
async def to_its_end(run: Run) -> AsyncIterator[None]:
    """Runs a block that whoever stops the run cancels. Errors that tell of a server or of data that gave up
    are in the report, others are raised."""
    report = run.report
    try:
        with run.stop.scope() as scope:
            yield
        if scope.cancelled_caught:
            report.status = "stopped"
    except (UsageError, PreflightError, asyncpg.InsufficientPrivilegeError):
        report.status = "failed"
        raise
    except (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        report.fail(describe(error), getattr(error, "hint", "") or AGAIN)
    except BaseException:
        report.status = "failed"
        raise
    finally:
        await _end(run)
        run.listen(RunEnded(report.command, report.run_id, report.status))


async def _end(run: Run) -> None:
    """Records how the run ended, as far as the target lets it."""
    try:
        if run.report.status != "failed":
            with run.stop.scope():
                await run.step("the end", lambda: _record(run))
                return
        with anyio.fail_after(END_SECONDS, shield=True):
            await run.reopen()
            await _record(run)
    except (BulkmigError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        run.counted.take_back(list(run.counted.done) if not run.confirmed else [])
        run.report.fail(f"how the run ended could not be recorded: {describe(error)}", AGAIN)


async def _record(run: Run) -> None:
    report, target = run.report, run.ends.target
    if run.crew is not None:
        await run.crew.close(run)
    if not run.settings.dry_run:
        if not run.confirmed:
            counted = run.counted
            unheard = [vessel for vessel in run.dealt.values() if vessel.id not in counted.ended]
            for result in await recount(target, report.run_id, unheard):
                counted.add(result)
            safe = await runs.durable(target, report.run_id)
            counted.take_back([result for result in counted.done if result.vessel.id not in safe])
        run.confirmed = True
        report.conflicts["open"] = await runs.open_conflicts(target)
        await shown.in_report(target, report)
        report.finish()
        await runs.end(target, report.run_id, report.status, report.document())
    report.finish()
