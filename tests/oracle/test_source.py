"""What is read is the same whatever the server's settings and however the columns lie."""

from __future__ import annotations

from tests.oracle.plant import connect, fill
from tests.oracle.sample import Sample
from tests.oracle.source import read_source


async def test_order_and_kind_of_columns_and_settings_of_the_server_do_not_matter(
    onboarding_url: str,
) -> None:
    connection = await connect(onboarding_url)
    try:
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Kathmandu'")
        await connection.execute(f"ALTER DATABASE {name} SET DateStyle = 'SQL, DMY'")
        await connection.execute("ALTER TABLE companies ALTER settings TYPE jsonb")
        await connection.execute("ALTER TABLE vessels ADD extra integer DEFAULT 1, DROP flag")
        await connection.execute("ALTER TABLE vessels ADD flag text")
    finally:
        await connection.close()
    sample = Sample()
    company = sample.add("companies", settings='{"a": 1.50}')
    vessel = sample.vessel(company_id=company, flag="NO", created_at="0044-03-15 10:00:00.5+00 BC")
    specifications = '{"b":1E+2, "b": "\\ud800"}'
    sample.add("equipment", vessel_id=vessel, specifications=specifications, installation_date="infinity")
    await fill(onboarding_url, vars(sample.source))
    assert vars(await read_source(onboarding_url)) == vars(sample.source)
