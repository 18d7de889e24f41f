"""Files that people write: configuration, keys, certificates."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from hypothesis import strategies as st

from bulkmig import Settings, UsageError, certificate, config
from bulkmig.cli.settings import in_force
from bulkmig.errors import CheckpointError
from bulkmig.security import keys
from tests.security.fuzz.target import (
    ROOM,
    SECRET,
    SHORT,
    TEXT,
    mutated,
    target,
)

VALUE = st.recursive(
    st.one_of(TEXT, st.integers(), st.floats(), st.booleans(), st.sampled_from(["64MB", "1h30m", "fail"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(SHORT, inner, max_size=3)),
    max_leaves=6,
)


def toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value) if isinstance(value, str) else str(value)


LINE = st.builds(
    lambda key, value: f"{key} = {toml(value)}\n".encode(errors="surrogatepass"),
    st.one_of(st.sampled_from(Settings.__struct_fields__), SHORT),
    VALUE,
)


@target(st.one_of(st.lists(LINE, max_size=4).map(b"".join), mutated(LINE), st.binary(max_size=200)))
def configuration(text: bytes) -> None:
    """Read or wrong usage, whatever is in the file; and what was read is checked."""
    path = Path(ROOM.name, "bulkmig.toml")
    path.write_bytes(text)
    with suppress(UsageError):
        found, _ = in_force({"config": path})
        checked = config.check(found)
        assert checked.batch_bytes > 0
        assert SECRET not in repr(checked)


@target(
    st.one_of(TEXT, st.from_regex(r"\A[0-9.]{0,20} ?[a-zA-Z]{0,3}\Z"), st.from_regex(r"\A([0-9]+[smh])*\Z"))
)
def sizes_and_times(text: str) -> None:
    """A size is a number of bytes, a time a number of seconds, or neither is meant."""
    with suppress(UsageError):
        assert config.size(text) >= 0
    with suppress(UsageError):
        assert 0 <= config.duration(text) < float("inf")


@target(st.one_of(st.binary(max_size=120), mutated(st.just(b"0b" * 32 + b"\n" + b"0c" * 32))))
def key_file(text: bytes) -> None:
    """Keys or wrong usage; no key is repeated."""
    path = Path(ROOM.name, "keys")
    path.write_bytes(text)
    said = ""
    try:
        assert keys.from_settings(Settings(key_file=str(path)))
    except UsageError as error:
        said = str(error)
    assert "0b0b0b0b" not in said


@target(st.one_of(st.binary(max_size=200), mutated(st.just(b'{"certificate": {}, "signature": "AAAA"}'))))
def certified(text: bytes) -> None:
    """A file is a certificate or refused."""
    path, public = Path(ROOM.name, "certificate"), Path(ROOM.name, "public")
    path.write_bytes(text)
    public.write_bytes(
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
        b"-----END PUBLIC KEY-----\n"
    )
    with suppress(UsageError, CheckpointError):
        certificate._signed(path, public)
