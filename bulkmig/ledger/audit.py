"""The audit log: who did what, when. Entries are only ever added, and sealed into a chain."""

from __future__ import annotations

import getpass
import os
import platform

import orjson
from msgspec import Struct

from bulkmig.ledger import chain, keys
from bulkmig.postgres.session import Connection, keys_of, transaction
from bulkmig.security.seal import Keyring


class Who(Struct, frozen=True):
    """An operator, and the machine that acted."""

    operator: str
    host: str


def who(operator: str) -> Who:
    """Who acts: the operator named, or else the OS user, on this machine."""
    return Who(operator or os_user(), platform.node())


def os_user() -> str:
    """The name of the user that runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


async def entry(
    connection: Connection,
    by: Who,
    action: str,
    summary: str,
    *,
    run_id: str | None = None,
    vessel_id: str | None = None,
) -> None:
    """Adds an entry in the caller's transaction. Those of a run are sealed at its end, others at once."""
    id_ = await connection.fetchval(
        "INSERT INTO bulkmig.audit (run_id, vessel_id, action, operator, host, summary, mac)"
        " VALUES ($1::text::uuid, $2::text::uuid, $3, $4, $5, $6, $7) RETURNING id",
        run_id,
        vessel_id,
        action,
        by.operator,
        by.host,
        summary,
        signature(connection, by, action, summary, run_id, vessel_id),
    )
    if run_id is None:
        # As a run has done that: what is signed is not gone on with without the key.
        await keys.register(connection)
        await chain.seal(connection, entry=id_)


async def alone(
    connection: Connection, by: Who, action: str, summary: str, *, vessel_id: str | None = None
) -> None:
    """Adds an entry that belongs to no run, in a transaction of its own."""
    async with transaction(connection):
        await entry(connection, by, action, summary, vessel_id=vessel_id)


def signature(
    connection: Connection, by: Who, action: str, summary: str, run_id: str | None, vessel_id: str | None
) -> bytes | None:
    """With a key: what shows that whoever wrote an entry had it; no two are alike."""
    ring = keys_of(connection)
    if not ring:
        return None
    nonce = os.urandom(16)
    said = _said(nonce, run_id, vessel_id, action, by.operator, by.host, summary)
    return nonce + (ring.sign(said) or b"")


def signed(ring: Keyring, entry: chain.Entry) -> bool | None:
    """Whether an entry's signature is right; None where there is none, or its key isn't here."""
    if entry.mac is None:
        return None
    said = _said(
        *(entry.mac[:16], entry.run_id, entry.vessel_id),
        *(entry.action, entry.operator, entry.host, entry.summary),
    )
    return ring.signed(said, entry.mac[16:])


def _said(nonce: bytes, *values: str | None) -> bytes:
    return orjson.dumps([nonce.hex(), *values])
