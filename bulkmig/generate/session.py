"""Sessions for writing what was generated."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bulkmig.postgres.dsn import parse
from bulkmig.postgres.session import Connection, session

_SETTINGS = {
    "application_name": "bulkmig generate",
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "standard_conforming_strings": "on",
    # A fleet whose generation a crash interrupts is generated anew.
    "synchronous_commit": "off",
}


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Connection]:
    """A session in which the text of a value means the same on every server."""
    async with session(parse(url), _SETTINGS, role="database") as connection:
        yield connection
