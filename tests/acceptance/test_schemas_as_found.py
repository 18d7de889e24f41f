"""Databases that differ from the contract's schemas: columns are read and written as they really are."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest
from msgspec.structs import replace as replace_settings

from bulkmig import Selection, Settings, migrate, sync
from bulkmig.config import OnError
from bulkmig.generate import VARIATIONS, FleetSpec
from tests.oracle.expect import expect
from tests.oracle.source import read_source
from tests.oracle.target import read_target
from tests.support.fleets import Fleets, Origin
from tests.support.outcome import differences
from tests.support.servers import Databases

SPEC = FleetSpec(
    seed=4, vessels=3, equipment=20, parts=1, documents=1, nasty=0.3, least=1, unknown_enums=True
)
MODES: tuple[OnError, ...] = ("fail", "quarantine")

# Narrower than the contract on many columns, some of them NOT NULL, JSON as json and as text.
NARROW = """
ALTER TABLE companies ALTER name TYPE varchar(12), ALTER logo_url TYPE varchar(20);
ALTER TABLE company_settings ALTER contact_email TYPE varchar(16), ALTER timezone TYPE char(8),
    ALTER contact_phone TYPE varchar(7), ALTER original_settings TYPE text;
ALTER TABLE users ALTER first_name TYPE varchar(4);
ALTER TABLE user_metadata ALTER phone TYPE varchar(6), ALTER settings TYPE json;
ALTER TABLE vessels ALTER name TYPE varchar(10), ALTER vessel_type TYPE varchar(5);
ALTER TABLE vessel_details ALTER gross_tonnage TYPE numeric(6,2), ALTER year_built TYPE smallint,
    ALTER flag TYPE varchar(3), ALTER year_built SET NOT NULL, ALTER metadata TYPE text;
ALTER TABLE equipment ALTER name TYPE varchar(8), ALTER location TYPE varchar(12),
    ALTER serial_number TYPE varchar(6), ALTER model TYPE varchar(3),
    ALTER manufacturer SET NOT NULL, ALTER specifications TYPE json;
ALTER TABLE equipment_metadata ALTER notes TYPE varchar(9), ALTER quality_score TYPE smallint,
    ALTER maintenance_interval_days TYPE smallint, ALTER original_code TYPE varchar(4),
    ALTER verification_data TYPE text, ALTER original_metadata TYPE json;
ALTER TABLE critical_parts ALTER part_number TYPE varchar(10), ALTER current_stock TYPE smallint,
    ALTER minimum_stock TYPE smallint, ALTER minimum_stock SET NOT NULL, ALTER description TYPE varchar(5);
ALTER TABLE part_details ALTER quantity_per_equipment TYPE smallint,
    ALTER original_part_number TYPE varchar(20), ALTER manufacturer TYPE varchar(2);
ALTER TABLE equipment_documents ALTER file_size TYPE smallint, ALTER file_size SET NOT NULL,
    ALTER file_name TYPE varchar(7), ALTER file_path TYPE varchar(25);
ALTER TABLE document_details ALTER mime_type TYPE varchar(5);
ALTER TABLE quality_scores ALTER category TYPE varchar(4), ALTER score TYPE smallint;
ALTER TABLE cross_references ALTER reference_type TYPE varchar(3), ALTER notes TYPE varchar(4);
"""

# Wider, and with columns of the target's own that nothing fills, in the way of nothing.
WIDE = """
ALTER TABLE critical_parts ALTER part_number TYPE text, ADD COLUMN "order" text DEFAULT 'x';
ALTER TABLE equipment_documents ALTER file_size TYPE bigint,
    ADD COLUMN reviewed boolean NOT NULL DEFAULT false;
ALTER TABLE vessel_details ALTER gross_tonnage TYPE numeric, ALTER year_built TYPE bigint;
ALTER TABLE companies ALTER slug TYPE text, ALTER name TYPE text;
ALTER TABLE equipment RENAME COLUMN qr_code TO old;
ALTER TABLE equipment ADD COLUMN qr_code text NOT NULL UNIQUE;
ALTER TABLE equipment DROP COLUMN old;
"""

# Rows that a source without NOT NULL can hold, in columns that the target won't leave empty.
EMPTIED = """
UPDATE companies SET name = NULL WHERE id IN (SELECT company_id FROM vessels ORDER BY id LIMIT 1);
UPDATE companies SET code = NULL WHERE id IN (SELECT company_id FROM vessels ORDER BY id DESC LIMIT 1);
UPDATE users SET email = NULL WHERE id IN (SELECT id FROM users ORDER BY id DESC LIMIT 3);
UPDATE users SET role = NULL WHERE id IN (SELECT id FROM users ORDER BY id DESC OFFSET 3 LIMIT 3);
UPDATE users SET is_active = NULL WHERE id IN (SELECT id FROM users ORDER BY id LIMIT 20);
UPDATE equipment SET updated_at = NULL WHERE id IN (SELECT id FROM equipment ORDER BY id LIMIT 20);
UPDATE critical_parts SET created_at = NULL WHERE id IN (SELECT id FROM critical_parts ORDER BY id LIMIT 20);
UPDATE documents SET name = NULL WHERE id IN (SELECT id FROM documents ORDER BY id LIMIT 20);
UPDATE quality_scores SET category = NULL WHERE id IN (SELECT id FROM quality_scores ORDER BY id LIMIT 20);
UPDATE quality_scores SET assessed_at = NULL
 WHERE id IN (SELECT id FROM quality_scores ORDER BY id OFFSET 15 LIMIT 20);
UPDATE cross_references SET reference_type = NULL
 WHERE id IN (SELECT id FROM cross_references ORDER BY id LIMIT 20);
"""


async def execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def migrated(origin: Origin, target: str, on_error: OnError) -> tuple[list[str], set[str]]:
    """Migrates everything; returns what is not as it should be, and the columns with a value.* finding."""
    expected = expect(origin.rows, await read_target(target), on_error=on_error)
    settings = Settings(source=origin.url, target=target, on_error=on_error, continue_on_error=True)
    report = await migrate(settings, Selection(all=True))
    fitted = {f"{f.code} {f.entity}.{f.field}" for f in expected.findings if f.code.startswith("value.")}
    return await differences(expected, origin.rows, report, target), fitted


@pytest.mark.parametrize(
    "variations",
    [
        pytest.param(("reordered", "extra_columns", "jsonb"), marks=pytest.mark.long),
        pytest.param(("text_enums", "nullable"), marks=pytest.mark.long),
        VARIATIONS,
    ],
    ids=["columns", "types", "all"],
)
async def test_a_source_may_have_other_columns_in_another_order_and_of_other_types(
    fleets: Fleets, maintenance_url: str, variations: tuple[str, ...]
) -> None:
    origin = await fleets(SPEC, *variations)
    lines, _ = await migrated(origin, maintenance_url, "quarantine")
    assert lines == []


@pytest.mark.parametrize("on_error", MODES)
async def test_values_are_cut_emptied_or_refused_as_the_targets_columns_really_are(
    fleets: Fleets, maintenance_url: str, on_error: OnError
) -> None:
    await execute(maintenance_url, NARROW)
    lines, fitted = await migrated(await fleets(SPEC), maintenance_url, on_error)
    assert lines == []
    for code, least in (("value.truncated", 20), ("value.out_of_range", 5), ("value.unstorable", 4)):
        assert len([name for name in fitted if name.startswith(code)]) >= least, (code, sorted(fitted))


async def test_what_a_wider_column_can_hold_is_neither_cut_nor_emptied(
    fleets: Fleets, maintenance_url: str
) -> None:
    await execute(maintenance_url, WIDE)
    lines, fitted = await migrated(await fleets(SPEC), maintenance_url, "quarantine")
    assert lines == []
    assert fitted == set()


@pytest.mark.parametrize("on_error", MODES)
async def test_a_null_that_the_target_refuses_is_an_error_of_its_row(
    fleets: Fleets, maintenance_url: str, on_error: OnError
) -> None:
    origin = await fleets(SPEC, "nullable", fresh=True)
    await execute(origin.url, EMPTIED)
    origin = replace(origin, rows=await read_source(origin.url))
    lines, fitted = await migrated(origin, maintenance_url, on_error)
    assert lines == []
    assert len(fitted) >= 9


DOMAINS = """
CREATE DOMAIN short AS varchar(6);
CREATE DOMAIN shorter AS short;
CREATE DOMAIN small AS smallint;
CREATE DOMAIN tons AS numeric(5, 1);
CREATE DOMAIN always AS text NOT NULL;
CREATE DOMAIN document AS jsonb;
ALTER TABLE critical_parts ALTER part_number TYPE shorter;
ALTER TABLE vessel_details ALTER year_built TYPE small, ALTER gross_tonnage TYPE tons,
    ALTER metadata TYPE document;
ALTER TABLE equipment ALTER manufacturer TYPE always;
"""
PLAIN = """
ALTER TABLE critical_parts ALTER part_number TYPE varchar(6);
ALTER TABLE vessel_details ALTER year_built TYPE smallint, ALTER gross_tonnage TYPE numeric(5, 1);
ALTER TABLE equipment ALTER manufacturer SET NOT NULL;
"""


async def test_a_domain_holds_what_its_type_does(fleets: Fleets, databases: Databases) -> None:
    origin = await fleets(replace(SPEC, vessels=1), fresh=True)
    await execute(origin.url, "UPDATE vessels SET year_built = 70000, gross_tonnage = 12345.67")
    seen = []
    for script in (DOMAINS, PLAIN):
        target = databases("maintenance")
        await execute(target, script)
        settings = Settings(source=origin.url, target=target, on_error="quarantine")
        report = await migrate(settings, Selection(all=True))
        await execute(origin.url, "UPDATE critical_parts SET name = left(name, 200) || '!'")
        changed = await sync(replace_settings(settings, full=True), Selection(all=True))
        assert (report.exit_status, changed.exit_status) == (0, 0)
        assert changed.updated["critical_parts"] > 0
        seen.append((report.findings, report.quarantined, report.inserted, changed.findings))
    assert seen[0] == seen[1]
    codes = {code for _, code in seen[0][0]}
    assert codes >= {"value.truncated", "value.out_of_range", "value.unstorable"}
