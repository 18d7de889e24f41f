"""Whatever others may have written, into a name, a configuration or the ledger: no crash, no harm."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkmig import BulkmigError, Settings, UsageError, config
from bulkmig._core import files, stored
from bulkmig._core.jsontext import repair
from bulkmig.audit_log import _cell
from bulkmig.cli import options
from bulkmig.cli.output import plain, without_secrets
from bulkmig.encode import read_base
from bulkmig.errors import CheckpointError
from bulkmig.monitor import page
from bulkmig.postgres.dsn import masked, parse
from bulkmig.security import keys
from bulkmig.security.seal import Keyring, Seal

SECONDS = float(os.environ.get("BULKMIG_FUZZ_SECONDS", "3600"))  # of the long form, together
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY = st.text(st.characters(exclude_categories=["Cs"]))


def in_order(text: str) -> None:
    said = ""
    try:
        parse(text)
    except BulkmigError as error:
        said = str(error)
    assert "kanarie" not in said


def configured(text: bytes, path: Path) -> None:
    path.write_bytes(text)
    with suppress(UsageError):
        options.settings({"config": path})


def decoded(payload: bytes) -> None:
    with suppress(CheckpointError):
        read_base(payload)


URLS = st.builds(
    "postgresql://{}:kanarie@{}/{}?{}".format,
    ANY,
    ANY,
    ANY,
    st.one_of(ANY, st.just("sslmode=require&host=h")),
)
TOML = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda key, value: f"{key} = {json.dumps(value)}".encode(),
        st.sampled_from(Settings.__struct_fields__),
        st.one_of(ANY, st.integers(), st.floats(), st.booleans(), st.lists(st.integers(), max_size=3)),
    ),
)
PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.binary(max_size=300).map(zstandard.ZstdCompressor().compress),
    st.tuples(
        st.binary(max_size=40),
        st.dictionaries(st.text(max_size=5), st.lists(st.booleans(), max_size=3), max_size=2),
        st.lists(
            st.tuples(st.text(max_size=5), st.lists(st.text(max_size=5), max_size=2), st.binary(max_size=60)),
            max_size=2,
        ),
    ).map(lambda found: zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(found))),
)


@given(URLS)
@quick
def test_an_address_is_read_or_refused(url: str) -> None:
    in_order(url)
    assert "kanarie" not in masked(url)


@given(TOML)
@quick
def test_a_configuration_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: bytes) -> None:
    configured(text, tmp_path_factory.getbasetemp() / "fuzzed.toml")


@given(PAYLOADS)
@quick
def test_a_part_of_the_base_is_read_or_refused(payload: bytes) -> None:
    decoded(payload)


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32), st.integers(min_value=0, max_value=2000))
@quick
def test_a_changed_byte_of_a_sealed_value_is_found(value: bytes, key: bytes, which: int) -> None:
    ring = Keyring([Seal(key)])
    sealed = bytearray(ring.close(value, b"here"))
    assert ring.open(bytes(sealed), b"here") == value
    sealed[1 + which % (len(sealed) - 1)] ^= 1 << (which % 8)
    with pytest.raises(CheckpointError):
        ring.open(bytes(sealed), b"here")
    with pytest.raises(CheckpointError):
        ring.open(ring.close(value, b"here"), b"there")
    for cut in (0, 1, 9, 20, len(sealed) - 1):
        if cut:
            with pytest.raises(CheckpointError):
                ring.open(bytes(sealed[:cut]), b"here")


@given(ANY)
@quick
def test_texts_are_shown_without_control_and_computed_by_nobody(text: str) -> None:
    assert all(c.isprintable() for c in plain(text).plain)
    assert not _cell(text).lstrip().startswith(("=", "+", "-", "@", "|", "%"))
    assert (
        "</script"
        not in page.alone({"name": text + "</script><script>alert(1)</script>"})
        .split('id="data">')[1]
        .split("</script>")[0]
    )


@given(
    st.recursive(st.one_of(ANY, st.integers(), st.none()), st.lists),
    st.text(alphabet='\\u0d8e"ABCdef{}[]', max_size=60),
)
@quick
def test_json_is_repaired_or_refused(value: object, text: str) -> None:
    repair(json.dumps(value))
    repair(json.dumps(text))


def bomb(size: int) -> bytes:
    """Some kilobytes that become so many bytes."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    chunk = bytes(2**20)
    return b"".join([*(compressor.compress(chunk) for _ in range(size // len(chunk))), compressor.flush()])


def test_what_would_burst_is_refused_by_what_it_says() -> None:
    large = bomb(16 * 2**20)
    assert len(large) < 64 * 1024
    with pytest.raises(CheckpointError):
        stored.expand(large, "a part", largest=2**20)
    unsaid = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
    lying = bytearray(zstandard.ZstdCompressor().compress(b"x" * 2**20))
    lying[5:8] = b"\xff\xff\x7f"
    for bad in (unsaid, bytes(lying), b"", b"\x28\xb5\x2f\xfd"):
        with pytest.raises(CheckpointError):
            stored.expand(bad, "a part")
    for text in ("[" * 100_000, "{", "[]", "1", '{"a":' * 5000 + "1" + "}" * 5000):
        with pytest.raises(CheckpointError):
            stored.document(text, "a row")


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 100_000, "memory = '" + "9" * 5000 + "GB'", "window = '" + "9" * 5000 + "h'", "\0", "x"],
)
def test_a_configuration_that_means_harm_is_wrong_usage(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(UsageError):
        options.settings({"config": tmp_path / "x.toml"})


def test_files_that_never_end_and_paths_that_are_none_are_refused(tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError):
            options.settings({"config": path})
        with pytest.raises(UsageError):
            keys.from_settings(Settings(key_file=str(path)))
    for path in (
        Path("/dev/null"),
        tmp_path,
        tmp_path / "no" / "x",
        tmp_path / ("x" * 300),
        tmp_path / "a\0b",
    ):
        with pytest.raises(UsageError):
            files.write(path, "x", "--html")


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    victim.write_text("mine")
    link.symlink_to(victim)
    files.write(link, "page", "--html")
    assert (victim.read_text(), link.read_text(), link.is_symlink()) == ("mine", "page", False)
    assert link.stat().st_mode & 0o077 == 0
    assert {path.name for path in tmp_path.iterdir()} == {"victim", "link"}


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e400", "", "9" * 400])
def test_times_and_sizes_have_bounds(text: str) -> None:
    with pytest.raises(UsageError):
        parse(f"postgresql://localhost/x?connect_timeout={text}")
    with pytest.raises(UsageError):
        config.size(text + "Q")


def test_passwords_go_from_every_address_in_a_text() -> None:
    said = without_secrets(
        "postgresql://me:kanarie@h/d and postgres://:kanarie@h?password=kanarie&x=1 token=kanarie"
    )
    assert not re.search("kanarie", said)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_an_hour_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """Rounds of fresh examples until the hour is over."""
    end, many = time.monotonic() + SECONDS, settings(quick, max_examples=2000, database=None)

    @many
    @given(URLS, TOML, PAYLOADS)
    def everything(url: str, toml: bytes, payload: bytes) -> None:
        in_order(url)
        configured(toml, tmp_path / "fuzzed.toml")
        decoded(payload)

    while time.monotonic() < end:
        everything()
