"""What is tried again, and what is not."""

from __future__ import annotations

import ssl

import asyncpg
import pytest

from bulkmig.errors import ServerLost, VesselError
from bulkmig.postgres.transient import RETRIED, full, lost, transient


def server_error(sqlstate: str) -> BaseException:
    error = asyncpg.PostgresError.new({"C": sqlstate, "M": "made up", "S": "ERROR", "V": "ERROR"})
    assert isinstance(error, asyncpg.PostgresError)
    assert error.sqlstate == sqlstate
    return error


def test_these_states_are_tried_again_and_no_others() -> None:
    assert set(RETRIED) == {
        *("08000", "08001", "08003", "08004", "08006"),
        *("25P03", "57P01", "57P02", "57P03", "57P05"),
        *("40001", "40P01", "55P03", "53300"),
    }
    assert all(transient(server_error(state)) for state in RETRIED)


@pytest.mark.parametrize(
    ("sqlstate", "what"),
    [
        ("08P01", "protocol violation"),
        ("22001", "value too long"),
        ("23502", "not null"),
        ("23503", "foreign key"),
        ("23505", "unique"),
        ("23514", "check"),
        ("25006", "read-only"),
        ("28000", "authorisation"),
        ("42501", "privilege"),
        ("42P01", "no such table"),
        ("53100", "disk full"),
        ("53200", "out of memory"),
        ("54000", "program limit"),
        ("57014", "statement time-out, or cancelled"),
        ("57P04", "database dropped"),
        ("58030", "input or output"),
        ("P0001", "raise in a trigger"),
        ("XX000", "internal"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(sqlstate: str, what: str) -> None:
    assert not transient(server_error(sqlstate)), what


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        ConnectionResetError(),
        TimeoutError(),
        FileNotFoundError("a socket that is not there while its server restarts"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InterfaceError("cannot perform operation: connection is closed"),
        asyncpg.InterfaceError("cannot perform operation: another operation is cancelling"),
    ],
)
def test_a_lost_session_is_tried_again(error: BaseException) -> None:
    assert lost(error)
    assert transient(error)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
        asyncpg.DataError("invalid input for query argument $1"),
        ssl.SSLCertVerificationError("certificate verify failed"),
        PermissionError(13, "may not open the socket"),
        ValueError("anything else"),
        ServerLost("it was waited for long enough"),
    ],
)
def test_a_mistake_is_no_lost_session(error: BaseException) -> None:
    assert not lost(error)
    assert not transient(error)


def test_an_error_in_words_of_our_own_is_what_it_was_raised_from() -> None:
    def raised(sqlstate: str) -> VesselError:
        error = VesselError("equipment: …", phase="load")
        error.__cause__ = server_error(sqlstate)
        return error

    assert transient(raised("40P01"))
    assert not transient(raised("23505"))
    assert full(raised("53300"))
