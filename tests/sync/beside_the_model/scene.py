"""What these tests begin with and what happens in them: the model's first fleet, steps, a sync."""

from __future__ import annotations

from tests.model import portal_steps, source_steps
from tests.model.run import Options
from tests.model.session import Session
from tests.model.start import new_row
from tests.model.state import Strategy
from tests.model.tables import THING_OF
from tests.oracle.draft import Ref

# Ids of the model's first fleet (tests/model/start.py), by their last digits.
ONE, TWO, THREE, FOUR = (f"00000003-0000-4000-8000-0000000000{n}" for n in (18, 20, 22, 24))
PUMP, DAVIT, VALVE, CRANE, WINCH, RADAR, RADIO, ANCHOR = (
    f"00000005-0000-4000-8000-0000000000{n}" for n in (34, 36, 38, 40, 42, 44, 46, 48)
)
ANN, DAN = (f"00000002-0000-4000-8000-0000000000{n}" for n in ("08", "16"))
ACME = "00000001-0000-4000-8000-000000000002"
BLUE = "00000001-0000-4000-8000-000000000004"
GREEN = "00000001-0000-4000-8000-000000000006"
SEAL, SHAFT, ROPE = (f"00000006-0000-4000-8000-0000000000{n}" for n in (50, 52, 54))
OF_CRANE = {"documents": "00000007-0000-4000-8000-000000000063"}
OF_PUMP = {
    "documents": "00000007-0000-4000-8000-000000000059",
    "quality_scores": "00000008-0000-4000-8000-000000000067",
    "cross_references": "00000009-0000-4000-8000-000000000074",
}
OF_TWO = {"quality_scores": "00000008-0000-4000-8000-000000000069"}  # on no equipment
OF_WINCH = {"quality_scores": "00000008-0000-4000-8000-000000000072"}
OF_VALVE = {"cross_references": "00000009-0000-4000-8000-000000000076"}
OF_RADIO = {"cross_references": "00000009-0000-4000-8000-000000000080"}
OF_RADAR = {
    "documents": "00000007-0000-4000-8000-000000000065",
    "cross_references": "00000009-0000-4000-8000-000000000078",
}


async def sync(session: Session, strategy: Strategy = "source_wins") -> None:
    """Syncs and compares."""
    await session.sync(Options("sync", strategy=strategy, new=True, brake_least=2))


async def source(session: Session, table: str, id_: str, **values: str | None) -> None:
    await source_steps.set_cells(session, table, id_, values)


async def add(session: Session, table: str, **values: str) -> str:
    """A new source row; returns its id."""
    row = new_row(session.onboarding, session.clock, table, **values)
    await session.mirror.put_source(table, row)
    return str(row["id"])


async def move(session: Session, equipment: str, hanging: dict[str, str], vessel: str) -> None:
    """Equipment moves to a vessel, with what hangs on it."""
    await source(session, "equipment", equipment, vessel_id=vessel, location_id=None)
    for table, id_ in hanging.items():
        await source(session, table, id_, vessel_id=vessel)


async def portal(session: Session, ref: Ref, **values: str | None) -> None:
    """The portal changes a row's cells and its `updated_at`."""
    unit, table = session.state.unit(ref), THING_OF[ref.entity].table
    assert unit is not None
    row = {**unit[table], **values, "updated_at": session.clock.moment()}
    await session.mirror.put_target(table, row)
    session.state.tables.put(table, row)


async def details(session: Session, ref: Ref, **values: str | None) -> None:
    """The portal changes cells of a row's details and the row's `updated_at`."""
    unit = session.state.unit(ref)
    assert unit is not None
    ((table, _),) = THING_OF[ref.entity].details.items()
    for name, value in values.items():
        await portal_steps.set_cell(session, table, unit[table], name, value)


async def takes_the_number_of(session: Session, vessel: str, other: str) -> None:
    """Two vessels exchange their IMO numbers; the portal's change of the other makes it keep its own under
    `target_wins`, so that the first is kept out."""
    number = session.onboarding.of["vessels"][other]["imo_number"]
    assert number is not None
    await source_steps.exchange(session, session.onboarding.of["vessels"][vessel], number)
    await portal(session, Ref("vessel", other), image_url=None)
