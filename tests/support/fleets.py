"""Generated sources that several tests read, and portals that several begin with: made once a session, then
copied."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import NamedTuple

from msgspec.structs import replace as replace_settings

from bulkmig import Report, Selection, Settings, migrate
from bulkmig.generate import FleetSpec, generate_fleet, vary_schema
from bulkmig.sqlite.address import is_file
from tests.oracle.source import Source, read_source
from tests.support.servers import EmbeddedServers


@dataclass(frozen=True)
class Origin:
    """A source, its rows as the oracle reads them, and how often each trap was planted in it."""

    url: str
    rows: Source
    traps: dict[str, int]
    spec: FleetSpec

    @property
    def approved(self) -> list[str]:
        """The vessels of --all, in order of id."""
        return [row["id"] or "" for row in self.rows.vessels if row["onboarding_status"] == "APPROVED"]


class _Key(NamedTuple):
    major: int
    spec: FleetSpec
    variations: tuple[str, ...]


class Fleets:
    """`await fleets(spec)` returns a source with that fleet; not to be written to."""

    def __init__(self, servers: EmbeddedServers) -> None:
        self._servers = servers
        self._generated: dict[_Key, Origin] = {}  # to be copied, used by nobody
        self._shared: dict[_Key, Origin] = {}
        self._migrated: dict[Hashable, tuple[str, Report]] = {}  # databases that nobody uses

    async def __call__(
        self, spec: FleetSpec, *variations: str, major: int | None = None, fresh: bool = False
    ) -> Origin:
        """`variations` of the schema are `bulkmig.generate`'s; `fresh`: one that the caller may change."""
        key = _Key(major or self._servers.newest, spec, variations)
        if key not in self._generated:
            self._generated[key] = await self._generate(key)
        if fresh:
            return self._copy(key)
        if key not in self._shared:
            self._shared[key] = self._copy(key)
        return self._shared[key]

    async def migrate(self, origin: Origin, settings: Settings) -> Report:
        """Migrates a whole fleet that nobody changes into a portal without rows: once; later what that came
        to is put in the portal's place. Not for one of the caller's own: what was seen is of one source."""
        if is_file(settings.target):
            return await migrate(settings, Selection(all=True))
        key = (origin.url, replace_settings(settings, target=""), os.environ.get("BULKMIG_KEY"))
        name = settings.target.rpartition("/")[2]
        if key not in self._migrated:
            report = await migrate(settings, Selection(all=True))
            self._migrated[key] = self._servers.copy(self._servers.newest, name), report
        else:
            made, report = self._migrated[key]
            self._servers.put(self._servers.newest, made, name)
        return report

    async def _generate(self, key: _Key) -> Origin:
        url = self._servers.get(key.major).url(self._servers.create(key.major, "onboarding"))
        for variation in key.variations:
            await vary_schema(url, variation)
        summary = await generate_fleet(url, key.spec)
        return Origin(url, await read_source(url), summary.traps, key.spec)

    def _copy(self, key: _Key) -> Origin:
        made = self._generated[key]
        name = self._servers.copy(key.major, made.url.rpartition("/")[2])
        return replace(made, url=self._servers.get(key.major).url(name))
