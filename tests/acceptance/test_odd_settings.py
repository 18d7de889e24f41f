"""Whatever the servers, databases and roles set for their sessions, the rows arrive the same."""

from __future__ import annotations

from urllib.parse import urlsplit

import asyncpg

from bulkmig import Selection, Settings, migrate
from bulkmig.generate import FleetSpec
from tests.oracle.expect import expect
from tests.oracle.target import read_target
from tests.support.fleets import Fleets
from tests.support.outcome import differences

SPEC = FleetSpec(seed=11, vessels=2, equipment=10, nasty=0.3, least=0)
ODD = {
    "TimeZone": "'Asia/Kolkata'",
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "client_encoding": "LATIN1",
    "extra_float_digits": "-5",
    "search_path": "''",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "default_transaction_isolation": "serializable",
    "statement_timeout": "'1min'",
}


async def test_odd_settings_of_a_database_change_nothing(fleets: Fleets, maintenance_url: str) -> None:
    origin = await fleets(SPEC, fresh=True)
    before = await read_target(maintenance_url)
    for url in (origin.url, maintenance_url):
        connection = await asyncpg.connect(url)
        try:
            name = urlsplit(url).path.strip("/")
            for key, value in ODD.items():
                await connection.execute(f"ALTER DATABASE {name} SET {key} = {value}")
        finally:
            await connection.close()
    settings = Settings(
        source=origin.url, target=maintenance_url, on_error="quarantine", continue_on_error=True
    )
    report = await migrate(settings, Selection(all=True))
    connection = await asyncpg.connect(maintenance_url)
    try:
        name = urlsplit(maintenance_url).path.strip("/")
        await connection.execute(f"ALTER DATABASE {name} RESET ALL")
    finally:
        await connection.close()
    expected = expect(origin.rows, before, on_error="quarantine")
    assert await differences(expected, origin.rows, report, maintenance_url) == []
