"""Whatever others may have written, into a name, a configuration or the ledger: no crash, no harm.

What chance makes up is in `fuzz/`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkmig import Settings, UsageError, config
from bulkmig._core import files, stored
from bulkmig.cli.output import without_secrets
from bulkmig.cli.settings import in_force
from bulkmig.errors import CheckpointError
from bulkmig.postgres.dsn import parse
from bulkmig.security import keys
from bulkmig.security.seal import Keyring, Seal

quick = settings(max_examples=150, deadline=None)


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
        in_force({"config": tmp_path / "x.toml"})


def test_files_that_never_end_and_paths_that_are_none_are_refused(tmp_path: Path) -> None:
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError):
            in_force({"config": path})
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
