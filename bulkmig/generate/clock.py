"""Dates and times of a fleet. They come from a fixed epoch, so that a spec means the same rows tomorrow."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from random import Random

EPOCH = datetime(2024, 6, 1, tzinfo=UTC)


@lru_cache(maxsize=1)
def changes() -> list[tuple[str, str]]:
    """Pairs of created_at and updated_at, to choose from."""
    rng = Random("changes")
    pairs = []
    for _ in range(8192):
        created = EPOCH - timedelta(
            seconds=rng.randrange(86_400, 86_400 * 700), microseconds=rng.randrange(10**6)
        )
        updated = created + (EPOCH - created) * rng.choice((0.0, rng.random(), rng.random()))
        pairs.append((str(created), str(updated)))
    return pairs


@lru_cache(maxsize=1)
def moments() -> list[str]:
    """Points in time of the last two years before the epoch."""
    return [created for created, _ in changes()]


@lru_cache(maxsize=1)
def installations() -> list[tuple[str, str]]:
    """Pairs of installation_date and warranty_expiry."""
    rng = Random("installations")
    first = date(2005, 1, 1)
    pairs = []
    for _ in range(4096):
        installed = first + timedelta(days=rng.randrange(6500))
        pairs.append((str(installed), str(installed + timedelta(days=365 * rng.randrange(1, 6)))))
    return pairs


@lru_cache(maxsize=1)
def days() -> list[str]:
    """Days of the year before the epoch and of the year after it."""
    return [str(EPOCH.date() + timedelta(days=day)) for day in range(-365, 366)]
