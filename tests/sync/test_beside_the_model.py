"""Short sequences in which several rules meet, run beside the model: no cell, record or figure differs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.model import package, portal_steps, source_steps
from tests.model.beginnings import Beginnings
from tests.model.run import Options
from tests.model.session import Session
from tests.model.start import new_row
from tests.model.state import Strategy
from tests.model.tables import THING_OF
from tests.oracle.draft import Ref
from tests.support.servers import EmbeddedServers

# Ids of the model's first fleet (tests/model/start.py), by their last digits.
ONE, TWO, THREE, FOUR = (f"00000003-0000-4000-8000-0000000000{n}" for n in (18, 20, 22, 24))
PUMP, DAVIT, VALVE, CRANE, WINCH, RADAR, RADIO, ANCHOR = (
    f"00000005-0000-4000-8000-0000000000{n}" for n in (34, 36, 38, 40, 42, 44, 46, 48)
)
ANN = "00000002-0000-4000-8000-000000000008"
BLUE = "00000001-0000-4000-8000-000000000004"
SEAL, SHAFT = "00000006-0000-4000-8000-000000000050", "00000006-0000-4000-8000-000000000052"
OF_CRANE = {"documents": "00000007-0000-4000-8000-000000000063"}
OF_PUMP = {
    "documents": "00000007-0000-4000-8000-000000000059",
    "quality_scores": "00000008-0000-4000-8000-000000000067",
    "cross_references": "00000009-0000-4000-8000-000000000074",
}
OF_WINCH = {"quality_scores": "00000008-0000-4000-8000-000000000072"}
OF_VALVE = {"cross_references": "00000009-0000-4000-8000-000000000076"}
OF_RADIO = {"cross_references": "00000009-0000-4000-8000-000000000080"}
OF_RADAR = {
    "documents": "00000007-0000-4000-8000-000000000065",
    "cross_references": "00000009-0000-4000-8000-000000000078",
}


@pytest.fixture(scope="module")
def beginnings(embedded_servers: EmbeddedServers) -> Beginnings:
    return Beginnings(embedded_servers)


@pytest.fixture
async def session(beginnings: Beginnings) -> AsyncIterator[Session]:
    """All vessels migrated, and one thing that the model and the package agree on, with `--on-error
    quarantine`."""
    async with beginnings("quarantine") as made:
        yield made


@pytest.fixture
async def failing(beginnings: Beginnings) -> AsyncIterator[Session]:
    """The same with `--on-error fail`."""
    async with beginnings("fail") as made:
        yield made


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


async def takes_the_number_of(session: Session, vessel: str, other: str) -> None:
    """Two vessels exchange their IMO numbers; the portal's change of the other makes it keep its own under
    `target_wins`, so that the first is kept out."""
    number = session.onboarding.of["vessels"][other]["imo_number"]
    assert number is not None
    await source_steps.exchange(session, session.onboarding.of["vessels"][vessel], number)
    await portal(session, Ref("vessel", other), image_url=None)


async def test_a_row_with_a_merged_value_that_moves_is_as_expected(session: Session) -> None:
    await source(session, "critical_parts", SEAL, minimum_stock="7")
    await portal(session, Ref("critical_part", SEAL), current_stock="8")
    await sync(session, "merge")
    await move(session, PUMP, OF_PUMP, THREE)
    await sync(session, "manual")


async def test_so_is_one_of_vessels_that_change_in_one_commit(session: Session) -> None:
    await source_steps.exchange(session, session.onboarding.of["vessels"][ONE], "9319466")
    await portal(session, Ref("vessel", ONE), image_url=None)
    await sync(session, "merge")


async def test_a_reference_of_equipment_that_the_portal_deleted_and_that_moved_since_waits(
    session: Session,
) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await portal_steps.delete_row(session, "equipment", session.state.target_id(Ref("equipment", PUMP)))
    await sync(session, "target_wins")
    await sync(session, "target_wins")


async def test_a_reference_to_equipment_of_a_vessel_that_is_kept_out_in_the_same_run_is_kept(
    session: Session,
) -> None:
    await takes_the_number_of(session, TWO, ONE)
    await source(session, "cross_references", OF_RADAR["cross_references"], source_equipment_id=CRANE)
    await sync(session, "target_wins")


async def test_so_is_one_that_moves_in_the_same_commit(session: Session) -> None:
    await takes_the_number_of(session, ONE, TWO)
    await move(session, PUMP, OF_PUMP, TWO)
    await sync(session, "target_wins")


async def test_a_reference_to_equipment_that_is_quarantined_in_the_same_run_is_kept_and_changes_with_it(
    session: Session,
) -> None:
    await source(session, "equipment", PUMP, name=None)
    await move(session, RADAR, OF_RADAR, TWO)
    await sync(session)
    await source(session, "equipment", PUMP, name="Pump again")
    await sync(session)


async def test_a_reference_that_waits_since_a_rollback_and_moves_goes_on_waiting(session: Session) -> None:
    await session.rollback_vessel(TWO, force=False)
    await move(session, VALVE, OF_VALVE, THREE)
    await sync(session)


async def test_a_reference_changes_to_equipment_of_a_vessel_that_comes_in_the_same_run(
    session: Session,
) -> None:
    await source(session, "cross_references", OF_PUMP["cross_references"], target_equipment_id=ANCHOR)
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await sync(session)


async def test_a_document_of_equipment_that_turned_erroneous_and_moved_is_kept_with_it(
    session: Session,
) -> None:
    await source(session, "equipment", RADAR, name=" ")
    await sync(session)
    await move(session, RADAR, OF_RADAR, TWO)
    await sync(session)
    await sync(session, "merge")


async def test_a_company_that_turns_erroneous_quarantines_vessels_in_which_nothing_changed(
    session: Session,
) -> None:
    await source(session, "companies", BLUE, settings=source_steps.TOO_LARGE)
    await sync(session)
    await source(session, "companies", BLUE, settings=None)
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)


async def test_a_vessel_that_is_kept_out_whole_keeps_what_the_source_deleted_until_it_is_not(
    session: Session,
) -> None:
    await takes_the_number_of(session, ONE, TWO)
    await portal(session, Ref("critical_part", SHAFT), current_stock="8")
    await source_steps.delete_row(session, "critical_parts", SHAFT)
    await sync(session, "target_wins")
    await source(session, "vessels", ONE, imo_number="9241061")
    await sync(session)


async def test_a_user_whom_the_portal_deleted_comes_back_with_the_company_that_he_moved_to(
    session: Session,
) -> None:
    company = await add(session, "companies", name="Cyan", code="cyan")
    await source(session, "users", ANN, company_id=company)
    await portal_steps.delete_row(session, "users", session.state.target_id(Ref("user", ANN)))
    await sync(session, "merge")


async def test_new_rows_on_equipment_that_the_portal_deleted_come_when_it_is_there_again(
    session: Session,
) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", CRANE))
    on = {"vessel_id": TWO, "equipment_id": CRANE}
    await add(session, "critical_parts", equipment_id=CRANE, name="Hook")
    await add(session, "documents", **on)
    await add(session, "quality_scores", **on)
    await add(
        session, "cross_references", vessel_id=TWO, source_equipment_id=WINCH, target_equipment_id=CRANE
    )
    await sync(session)
    await source(session, "equipment", WINCH, notes="later")
    await sync(session)
    await source(session, "equipment", CRANE, notes="later")
    await sync(session)


async def test_a_waiting_reference_that_the_source_deleted_does_not_return_with_its_end(
    session: Session,
) -> None:
    await session.rollback_vessel(ONE, force=False)
    await source_steps.delete_row(session, "cross_references", OF_RADAR["cross_references"])
    await sync(session)
    await session.rollback_vessel(ONE, force=False)


async def test_a_conflict_whose_row_has_no_equipment_to_hang_on_stays_open(session: Session) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", CRANE))
    await source(session, "documents", OF_CRANE["documents"], name="later")
    await sync(session, "manual")
    ids = [one["id"] for one in await package.conflicts(session.settings(), "open")]
    report = await package.resolve(session.settings(), ids, "source")
    assert report.exit_status == 1
    assert [failure.vessel_id for failure in report.failures] == [TWO]
    assert [one["id"] for one in await package.conflicts(session.settings(), "open")] == ids


async def test_a_reference_to_a_vessel_that_gets_the_number_of_another_leaves_quarantine_in_the_same_run(
    session: Session,
) -> None:
    await source_steps.exchange(session, session.onboarding.of["vessels"][FOUR], "9074729")
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await session.migrate(None)
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)


async def test_a_vessel_comes_with_rows_that_moved_to_it_and_with_the_number_that_another_gives_up(
    session: Session,
) -> None:
    await source_steps.exchange(session, session.onboarding.of["vessels"][FOUR], "9319466")
    await source(session, "vessels", FOUR, onboarding_status="APPROVED")
    await source(session, "critical_parts", SEAL, equipment_id=ANCHOR)
    await sync(session)


async def test_a_user_who_stayed_because_a_row_referred_to_him_goes_when_none_does(session: Session) -> None:
    ann = session.state.target_id(Ref("user", ANN))
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"performed_by": ann})
    await source_steps.delete_row(session, "users", ANN)
    await sync(session)
    log = portal_steps.rows(session, "maintenance_logs")[0]["id"]
    await portal_steps.delete_row(session, "maintenance_logs", log)
    await sync(session)


async def test_a_reference_that_a_rollback_took_and_whose_end_was_erroneous_meanwhile_comes_with_it(
    session: Session,
) -> None:
    await session.rollback_vessel(ONE, force=False)
    await source(session, "equipment", PUMP, name=None)
    await session.migrate(None)
    await source(session, "equipment", RADAR, notes="later")
    await sync(session)
    await source(session, "equipment", PUMP, name="Pump again")
    await sync(session)


async def test_equipment_on_which_a_conflict_of_another_vessel_keeps_a_reference_stays(
    session: Session,
) -> None:
    await portal(session, Ref("cross_reference", OF_VALVE["cross_references"]), notes="portal")
    await source_steps.delete_row(session, "cross_references", OF_VALVE["cross_references"])
    await sync(session, "manual")
    await source_steps.delete_row(session, "equipment", CRANE)
    await sync(session)


async def test_rows_that_went_with_the_equipment_that_the_source_deleted_are_new_on_another(
    session: Session,
) -> None:
    await source_steps.delete_row(session, "equipment", RADAR, whole=False)
    await source_steps.delete_row(session, "equipment", WINCH, whole=False)
    await sync(session)
    await source(session, "cross_references", OF_RADAR["cross_references"], source_equipment_id=VALVE)
    await source(session, "quality_scores", OF_WINCH["quality_scores"], equipment_id=CRANE)
    await sync(session, "manual")


async def test_a_reference_that_went_with_equipment_of_another_vessel_returns_with_the_run(
    session: Session,
) -> None:
    reference = Ref("cross_reference", OF_VALVE["cross_references"])
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session)
    assert not session.state.is_there(reference)
    await session.rollback_run(session.runs[-1].run_id, force=False)
    assert session.state.is_there(reference)


async def test_that_a_reference_went_with_equipment_of_another_vessel_is_not_the_portals_doing(
    session: Session,
) -> None:
    await source(session, "equipment", VALVE, notes="later")
    await sync(session)
    change = session.history.changes[-1]
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session)
    await session.rollback(change, force=False)


async def test_a_conflict_about_a_reference_is_decided_before_equipment_of_another_vessel_takes_it_along(
    session: Session,
) -> None:
    await portal(session, Ref("cross_reference", OF_VALVE["cross_references"]), notes="portal")
    await source_steps.delete_row(session, "equipment", CRANE)
    await sync(session, "target_wins")
    assert session.state.is_there(Ref("cross_reference", OF_VALVE["cross_references"]))
    assert session.state.is_there(Ref("equipment", CRANE))


async def test_so_it_is_where_both_vessels_are_gone(session: Session) -> None:
    await portal(session, Ref("cross_reference", OF_VALVE["cross_references"]), notes="portal")
    await source_steps.delete_row(session, "vessels", TWO)
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("equipment", CRANE))


async def test_so_it_is_where_the_references_vessel_is_gone(session: Session) -> None:
    reference = Ref("cross_reference", OF_VALVE["cross_references"])
    await portal(session, reference, notes="portal")
    await source_steps.delete_row(session, "vessels", ONE)
    await source_steps.delete_row(session, "equipment", CRANE)
    await session.sync(Options("sync", strategy="manual", allow_deletions=True))
    assert session.state.is_there(reference)


async def test_a_vessel_that_is_gone_waits_for_no_vessel_in_which_nothing_changed(session: Session) -> None:
    reference = Ref("cross_reference", OF_RADAR["cross_references"])
    await portal(session, reference, notes="portal")
    await source_steps.delete_row(session, "cross_references", reference.source_id)
    await sync(session, "manual")
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("equipment", VALVE))
    assert session.state.is_there(Ref("equipment", PUMP)), "a conflict about what hangs on it is open"


async def test_the_brake_counts_no_reference_that_waits_since_a_rollback(session: Session) -> None:
    await session.rollback_vessel(TWO, force=False)
    written = session.state.of_vessel(ONE)
    await source_steps.delete_row(session, "equipment", DAVIT)
    await source_steps.delete_row(session, "equipment", VALVE)
    gone = [ref for ref in written if session.onboarding.get(*ref) is None]
    await session.sync(Options("sync", brake_least=2, brake_share=len(gone) / len(written)))
    assert not session.state.is_there(Ref("equipment", DAVIT))


async def test_a_reference_that_waits_on_a_vessel_left_alone_and_moves_is_written_once(
    session: Session,
) -> None:
    await source(session, "vessels", THREE, flag="NO")
    await sync(session)
    await session.rollback_vessel(THREE, force=False)
    ends = {"source_equipment_id": CRANE, "target_equipment_id": WINCH}
    await source(session, "cross_references", OF_RADIO["cross_references"], vessel_id=TWO, **ends)
    await sync(session)
    assert session.state.is_there(Ref("cross_reference", OF_RADIO["cross_references"]))


async def test_a_new_document_that_waits_with_its_equipment_moves_with_it(session: Session) -> None:
    await move(session, WINCH, OF_WINCH, ONE)
    await source(session, "equipment", WINCH, name=None)
    document = await add(session, "documents", vessel_id=ONE, equipment_id=WINCH)
    await sync(session)
    await move(session, WINCH, {**OF_WINCH, "documents": document}, TWO)
    await sync(session)
    assert not session.state.is_there(Ref("document", document))


async def test_a_new_document_that_waits_for_deleted_equipment_moves_with_it(session: Session) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", RADIO))
    await source(session, "equipment", RADIO, notes="later")
    document = await add(session, "documents", vessel_id=THREE, equipment_id=RADIO)
    await sync(session, "manual")
    for vessel in (TWO, THREE):
        await move(session, RADIO, {"documents": document}, vessel)
        await sync(session, "manual")
    assert not session.state.is_there(Ref("document", document))


async def test_equipment_goes_when_its_last_log_is_gone(session: Session) -> None:
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", WINCH)})
    await source_steps.delete_row(session, "equipment", WINCH)
    await sync(session)
    log = portal_steps.rows(session, "maintenance_logs")[0]["id"]
    await portal_steps.delete_row(session, "maintenance_logs", log)
    await sync(session)
    assert not session.state.is_there(Ref("equipment", WINCH))


async def test_a_vessel_goes_when_the_last_log_is_gone(session: Session) -> None:
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"equipment_id": Ref("equipment", WINCH)})
    await source_steps.delete_row(session, "vessels", TWO)
    released = Options("sync", allow_deletions=True)
    await session.sync(released)
    assert session.state.is_there(Ref("vessel", TWO))
    log = portal_steps.rows(session, "maintenance_logs")[0]["id"]
    await portal_steps.delete_row(session, "maintenance_logs", log)
    await sync(session)
    assert not session.state.is_there(Ref("vessel", TWO))


async def test_a_document_that_a_decision_leaves_on_equipment_keeps_it_until_it_lets_go(
    session: Session,
) -> None:
    await portal(session, Ref("document", OF_CRANE["documents"]), file_name="portal")
    await source_steps.delete_row(session, "equipment", CRANE, whole=False)
    await sync(session, "target_wins")
    assert session.state.is_there(Ref("equipment", CRANE))
    await source(session, "documents", OF_CRANE["documents"], name="later")
    await sync(session)
    assert not session.state.is_there(Ref("equipment", CRANE))
    assert session.state.is_there(Ref("document", OF_CRANE["documents"]))


async def test_a_document_in_conflict_that_moves_with_equipment_which_turns_erroneous_is_as_expected(
    session: Session,
) -> None:
    await portal(session, Ref("document", OF_PUMP["documents"]), file_name="portal")
    await source(session, "equipment", PUMP, name=" ")
    await sync(session)
    await move(session, PUMP, OF_PUMP, TWO)
    await sync(session)


async def test_a_part_that_waits_for_equipment_which_the_portal_deleted_moves_with_it(
    session: Session,
) -> None:
    await portal_steps.delete_row(session, "equipment", Ref("equipment", CRANE))
    await add(session, "critical_parts", equipment_id=CRANE, name="Hook")
    await sync(session)
    await move(session, CRANE, OF_CRANE, THREE)
    await sync(session, "manual")


async def test_a_deletion_that_a_decision_let_stand_is_none_since(session: Session) -> None:
    document = Ref("document", OF_CRANE["documents"])
    await portal_steps.delete_row(session, "equipment_documents", document)
    await source(session, "documents", OF_CRANE["documents"], name="later")
    await sync(session, "target_wins")
    change = session.history.changes[-1]
    await session.rollback(change, force=False)
    assert not session.state.is_there(document)


async def test_what_the_portal_changed_before_a_decision_for_it_is_its_doing_since_an_earlier_change(
    session: Session,
) -> None:
    await source(session, "equipment", WINCH, notes="later")
    await sync(session)
    change = session.history.changes[-1]
    await portal(session, Ref("equipment", CRANE), manufacturer="portal")
    await source(session, "equipment", CRANE, notes="later")
    await sync(session, "target_wins")
    await session.rollback(change, force=False)
    assert session.runs[-1].was_refused


async def test_a_user_who_was_inactive_already_and_stayed_is_in_no_conflict_when_he_goes(
    session: Session,
) -> None:
    ann = session.state.target_id(Ref("user", ANN))
    await portal(session, Ref("user", ANN), is_active="false")
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"performed_by": ann})
    await source_steps.delete_row(session, "users", ANN)
    await sync(session)
    log = portal_steps.rows(session, "maintenance_logs")[0]["id"]
    await portal_steps.delete_row(session, "maintenance_logs", log)
    await sync(session, "target_wins")
    assert not session.state.is_there(Ref("user", ANN))


async def test_a_reference_that_came_back_with_its_end_is_not_the_portals_doing(session: Session) -> None:
    await session.rollback_vessel(TWO, force=False)
    undone = session.history.changes[-1]
    await source(session, "equipment", VALVE, notes="later")
    await sync(session)
    change = next(one for one in session.history.changes[::-1] if one.vessel == ONE)
    await session.rollback(undone, force=False)
    await session.rollback(change, force=False)
    assert not session.runs[-1].was_refused


async def test_a_user_who_is_to_go_by_a_decision_stays_while_rows_refer_to_him(session: Session) -> None:
    ann = session.state.target_id(Ref("user", ANN))
    await portal(session, Ref("user", ANN), first_name="portal")
    await portal_steps.add(session, "maintenance_logs", 0, 0, {"performed_by": ann})
    await source_steps.delete_row(session, "users", ANN)
    await sync(session, "manual")
    await session.resolve(0, "source")
    assert session.state.is_there(Ref("user", ANN))


async def test_a_vessel_gets_the_number_of_another_that_gets_a_new_one_though_the_portal_had_taken_its_own(
    session: Session,
) -> None:
    await portal(session, Ref("vessel", TWO), imo_number=None)
    await source_steps.exchange(session, session.onboarding.of["vessels"][ONE], "9319466")
    await sync(session, "merge")


async def test_equipment_that_would_move_and_is_kept_goes_with_a_checkpoint_of_the_vessel_that_it_is_on(
    session: Session,
) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "equipment", PUMP, name=" ")
    await sync(session)
    await source_steps.delete_row(session, "equipment", PUMP)
    await sync(session)
    assert not session.state.is_there(Ref("equipment", PUMP))
    change = [one for one in session.history.changes if one.vessel == ONE][-1]
    await session.rollback(change, force=False)
    assert session.state.is_there(Ref("critical_part", SEAL))


async def test_it_moves_when_it_may_with_a_checkpoint_of_both_vessels(session: Session) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "equipment", PUMP, name=" ")
    await sync(session)
    await source(session, "equipment", PUMP, name="Pump again")
    await sync(session)
    assert {ONE, TWO} <= {change.vessel for change in session.history.changes[-3:]}


async def test_it_stays_on_a_vessel_that_the_source_has_no_more(session: Session) -> None:
    await move(session, PUMP, OF_PUMP, TWO)
    await source(session, "equipment", PUMP, name=" ")
    await source_steps.delete_row(session, "vessels", ONE)
    await session.sync(Options("sync", allow_deletions=True))
    assert session.state.is_there(Ref("critical_part", SEAL))
    await source(session, "equipment", PUMP, name="Pump again")
    await session.sync(Options("sync", allow_deletions=True))
    assert not session.state.is_there(Ref("vessel", ONE))
    assert session.state.is_there(Ref("critical_part", SEAL))


async def test_a_new_document_that_waits_with_equipment_which_is_kept_is_no_difference(
    session: Session,
) -> None:
    await source(session, "equipment", RADAR, name=" ")
    document = await add(session, "documents", vessel_id=THREE, equipment_id=RADAR)
    await sync(session)
    assert not session.state.is_there(Ref("document", document))
    await source(session, "equipment", RADAR, name="Radar again")
    await sync(session)
    assert session.state.is_there(Ref("document", document))


async def test_a_vessel_that_was_rolled_back_is_left_alone_after_a_conflict_of_it_was_decided(
    session: Session,
) -> None:
    await portal(session, Ref("equipment", WINCH), manufacturer="portal")
    await source(session, "equipment", WINCH, notes="later")
    await sync(session, "manual")
    await portal(session, Ref("vessel", TWO), image_url=None)
    await source(session, "vessels", TWO, flag="NO")
    await sync(session, "source_wins")
    await session.rollback_vessel(TWO, force=False)
    await session.resolve(0, "target")
    await source(session, "equipment", WINCH, notes="later still")
    await sync(session)
    assert session.state.rolled_back == {TWO}


@pytest.mark.parametrize("gone", ["equipment", "vessel"])
async def test_equipment_stays_while_the_vessel_fails_whose_reference_to_it_the_portal_has_changed(
    failing: Session, gone: str
) -> None:
    reference = Ref("cross_reference", OF_RADAR["cross_references"])
    await portal(failing, reference, notes="portal")
    await source(failing, "equipment", RADAR, name=" ")
    if gone == "vessel":
        await source_steps.delete_row(failing, "vessels", ONE)
    else:
        await source_steps.delete_row(failing, "equipment", PUMP)
    await failing.sync(Options("sync", strategy="target_wins", allow_deletions=True))
    assert failing.state.is_there(reference)
    await source(failing, "equipment", RADAR, name="Radar again")
    await failing.sync(Options("sync", strategy="target_wins", allow_deletions=True))
    assert failing.state.is_there(reference)


@pytest.mark.parametrize("gone", [False, True])
async def test_equipment_that_would_move_to_a_vessel_that_fails_stays(failing: Session, gone: bool) -> None:
    await move(failing, PUMP, OF_PUMP, TWO)
    await source(failing, "equipment", CRANE, name=" ")
    if gone:
        await source_steps.delete_row(failing, "vessels", ONE)
    await failing.sync(Options("sync", allow_deletions=True))
    assert failing.state.is_there(Ref("critical_part", SEAL))


async def test_equipment_that_stayed_with_its_vessel_stays_by_the_brake_once_the_vessel_is_sound(
    session: Session,
) -> None:
    await takes_the_number_of(session, ONE, TWO)
    for equipment in (DAVIT, VALVE):
        await source_steps.delete_row(session, "equipment", equipment)
    await sync(session, "target_wins")
    await portal(session, Ref("vessel", ONE), image_url=None)
    await sync(session, "target_wins")
    assert session.state.is_there(Ref("equipment", VALVE))
    await session.sync(Options("sync", strategy="target_wins", allow_deletions=True))
    assert not session.state.is_there(Ref("equipment", VALVE))
