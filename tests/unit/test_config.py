"""Settings: sizes and durations as people write them, values that can't be meant refused."""

from __future__ import annotations

from math import inf, nan

import msgspec
import pytest

from bulkmig import Settings, UsageError
from bulkmig.config import EXPANSION, MEBIBYTE, check, duration, size


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("1048576", MEBIBYTE),
        ("64MB", 64 * MEBIBYTE),
        ("64mb", 64 * MEBIBYTE),
        ("64 MB", 64 * MEBIBYTE),
        ("64MiB", 64 * MEBIBYTE),
        ("64M", 64 * MEBIBYTE),
        ("1.5GB", 1536 * MEBIBYTE),
        ("2G", 2048 * MEBIBYTE),
        ("512KB", MEBIBYTE // 2),
        ("512k", MEBIBYTE // 2),
        ("10B", 10),
        (" 7 ", 7),
    ],
)
def test_a_size_is_read_as_it_is_written(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.parametrize(
    "text", ["", "MB", "-1MB", "1TB", "1,5GB", "1MBit", "1e6", "12 apples", "1.MB", "٣MB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("45m", 2700), ("2h", 7200), ("1h30m", 5400), ("1h0m5s", 3605), ("0s", 0), ("0", 0)],
)
def test_a_duration_is_read_as_it_is_written(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "1d", "-5m", "1.5h", "1h 30m", "2H", "٣m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        duration(text)


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"parallel_vessels": 0},
            {"processes": 0},
            {"attempts": 0},
            {"memory": MEBIBYTE - 1},
            {"memory": -1},
            {"memory": 2**60 + 1},
            {"memory": 10**30},
            {"processes": 2**31},
            {"max_rows_per_second": 10**30},
            {"keep_checkpoints": 2**31},
        ),
        *({"max_rows_per_second": 0}, {"max_source_connections": 0}, {"heartbeat": nan}, {"window": -5.0}),
        *({"brake_share": nan}, {"brake_share": 20}, {"brake_least": -1}, {"keep_checkpoints": -1}),
        *(
            {"keep_days": nan},
            {"keep_days": 1e7},
            {"outage": inf},
            {"network_timeout": inf},
            {"connect_timeout": 0},
        ),
    ],
)
def test_values_that_cannot_be_meant_are_refused(wrong: dict[str, float]) -> None:
    assert check(Settings()) == Settings()
    with pytest.raises(UsageError, match=r"at least|at most|> 0"):
        check(msgspec.structs.replace(Settings(), **wrong))


@pytest.mark.parametrize("memory", [1, 4, 64, 256, 4096])
@pytest.mark.parametrize("parallel", [1, 4, 50, 500])
def test_a_batch_and_all_that_becomes_of_it_fits_the_bound(memory: int, parallel: int) -> None:
    settings = Settings(memory=memory * MEBIBYTE, parallel_vessels=parallel)
    assert 0 < settings.batch_bytes * EXPANSION <= settings.memory // 2


def test_settings_show_no_address() -> None:
    settings = Settings(source="postgresql://user:secret@host/a", target="postgresql://user:secret@host/b")
    assert "secret" not in repr(settings)
    assert "secret" not in str(settings)
