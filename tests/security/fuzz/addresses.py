"""Addresses of databases, against the driver's own reading."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import asyncpg
from asyncpg import connect_utils
from hypothesis import strategies as st

from bulkmig import BulkmigError
from bulkmig.cli.output import without_secrets
from bulkmig.postgres.dsn import masked, parse
from tests.security.fuzz.target import (
    LOADED,
    SECRET,
    SHORT,
    TEXT,
    environment,
    target,
)

HOST = st.one_of(
    st.sampled_from(
        ["localhost", "127.0.0.1", "[::1]", "::1", "db.example.org", "127.0.0.1.example.org", "%2Ftmp",
         "/tmp", "0", "127.1", "[fe80::1%25eth0]", "LOCALHOST.", "localhost,db.example.org", "", "2130706433"]
    ),
    SHORT,
)  # fmt: skip
PARAMETER = st.one_of(
    st.tuples(
        st.sampled_from(
            ["host", "port", "user", "password", "dbname", "database", "sslmode", "sslrootcert", "hostaddr",
             "connect_timeout", "channel_binding", "options", "service", "target_session_attrs", "HOST"]
        ),
        st.one_of(
            st.sampled_from(["localhost", "db.example.org", "disable", "require", "verify-full", "system"]),
            HOST,
            SHORT,
        ),
    ).map("=".join),
    SHORT,
)  # fmt: skip
NAME = st.one_of(SHORT, LOADED, st.just("me"))
URL = st.one_of(
    st.builds(
        "{}://{}:{}@{}{}/{}{}{}".format,
        st.sampled_from(["postgresql", "postgres", "POSTGRESQL", "postgresql+asyncpg", "sqlite", "file"]),
        NAME,
        st.just(SECRET),
        st.lists(HOST, min_size=1, max_size=3).map(",".join),
        st.sampled_from(["", ":5432", ":0", ":99999", ":x", ":5432,5433"]),
        NAME,
        st.sampled_from(["", "?", "#", "?#", "??", "/"]),
        st.lists(PARAMETER, max_size=4).map("&".join),
    ),
    st.builds(
        "postgresql:{}{}?{}".format,
        st.sampled_from(["//", "///", "////", ""]),
        HOST,
        st.just(f"password={SECRET}"),
    ),
    TEXT,
)  # fmt: skip


@target(st.tuples(URL, st.booleans(), st.sampled_from(["", "localhost", "db.example.org", "/tmp"])))
def address(given: tuple[str, bool, str]) -> None:
    """Read or refused; what counts as local is local to the driver too; a password shows nowhere."""
    url, insecure, pghost = given
    variables = {"PGHOST": pghost} if pghost else {}
    with environment(variables):
        assert SECRET not in masked(url) or f":{SECRET}@" not in url, masked(url)
        said = without_secrets(f"can't reach {url}")
        assert f":{SECRET}@" not in said or len(url.split()) > 1, said  # what is no word is no address
        said, read = "", None
        try:
            read = parse(url, allow_insecure=insecure)
        except BulkmigError as error:
            said = str(error)
        assert SECRET not in said, said
        if read is None:
            return
        assert SECRET not in repr(read), repr(read)
        with suppress(ValueError, OSError, asyncpg.InterfaceError):
            ways, _ = driver(read.url)
            remote = [way for way in ways if isinstance(way, tuple) and not loopback(way[0])]
            assert not (read.local and remote), (read, remote)
            if remote and not insecure:
                assert read.sslmode == "verify-full"


def driver(url: str) -> tuple[list[Any], Any]:
    """Where the driver would connect to."""
    found = connect_utils._parse_connect_dsn_and_args(  # type: ignore[attr-defined]
        dsn=url, host=None, port=None, user="me", password="", passfile=None, database="x", ssl=None,
        service=None, servicefile=None, direct_tls=None, server_settings=None, target_session_attrs=None,
        krbsrvname=None, gsslib=None,
    )  # fmt: skip
    return list(found[0]), found[1]


def loopback(host: str) -> bool:
    return host.lower() in ("", "localhost", "::1") or host.startswith(("127.", "/"))
