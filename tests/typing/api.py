"""The public API as programs use it: only type-checked (`scripts/check`), never run. What stops fitting here
breaks somebody's program."""

from __future__ import annotations

from typing import Any, assert_type

from bulkmig import (
    BulkmigError,
    Deviation,
    Failure,
    Report,
    Selection,
    Settings,
    Stop,
    Verified,
    migrate,
    plan,
    remigrate,
    resolve,
    retry,
    rollback,
    sync,
    validate,
    verify,
)
from bulkmig.events import Event, VesselFailed


def hear(event: Event) -> None:
    if isinstance(event, VesselFailed):
        assert_type(event.error, str)


async def every_command() -> None:
    settings = Settings(source="postgresql://", target="sqlite:///portal.db", on_error="quarantine")
    everything, stop = Selection(all=True), Stop()
    assert_type(await plan(settings, everything), Report)
    assert_type(await validate(settings, Selection(imo=("9074729",))), Report)
    assert_type(await migrate(settings, everything, listen=hear, stop=stop), Report)
    assert_type(await remigrate(settings, Selection(company=("ACME",)), listen=hear), Report)
    assert_type(await sync(settings, everything, listen=hear, stop=stop), Report)
    assert_type(await verify(settings, everything, listen=hear), Report)
    assert_type(await retry(settings, ["a vessel"]), Report)
    assert_type(await resolve(settings, ["an id"], take="merge"), Report)
    await rollback(settings, run="a run", force=True)


async def what_a_report_says(report: Report) -> None:
    assert_type(report.status, str)
    assert_type(report.done, int)
    assert_type(report.failures, list[Failure])
    assert_type(report.verified, Verified)
    assert_type(report.verified.differences, list[Deviation])
    assert_type(report.inserted["equipment"], int)
    assert_type(report.document(), dict[str, Any])


def what_to_do(error: BulkmigError) -> None:
    assert_type(error.hint, str)
