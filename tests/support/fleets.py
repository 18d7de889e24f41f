"""Generated sources that several tests read, and portals that several begin with: made once a session, then
copied."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace as replace_settings

from bulkmig import Report, Selection, Settings, migrate
from bulkmig.generate import FleetSpec, generate_fleet, vary_schema
from bulkmig.sqlite.address import is_file
from tests.oracle.file import path_of
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
    script: str = ""


class Fleets:
    """`await fleets(spec)` returns a source with that fleet; not to be written to."""

    def __init__(self, servers: EmbeddedServers) -> None:
        self._servers = servers
        self._generated: dict[_Key, Origin] = {}  # to be copied, used by nobody
        self._shared: dict[_Key, Origin] = {}
        self._changing: dict[_Key, Origin] = {}
        self._migrated: dict[Hashable, tuple[str | bytes, Report]] = {}

    async def __call__(
        self, spec: FleetSpec, *variations: str, major: int | None = None, fresh: bool = False
    ) -> Origin:
        """`variations` of the schema are `bulkmig.generate`'s; `fresh`: one that the caller may change."""
        key = _Key(major or self._servers.newest, spec, variations)
        await self._made(key)
        if fresh:
            return self._copy(key)
        if key not in self._shared:
            self._shared[key] = self._copy(key)
        return self._shared[key]

    async def changing(self, spec: FleetSpec, script: str = "") -> Origin:
        """A source with that fleet, as a script changed it, for one test alone, which may change it further:
        always the same rows, and the same name, by which a target knows what it has seen of it."""
        key = _Key(self._servers.newest, spec, (), script)
        made = await self._made(key)
        if key in self._changing:
            self._servers.put(key.major, _name(made.url), _name(self._changing[key].url))
        else:
            self._changing[key] = self._copy(key)
        return self._changing[key]

    async def migrate(self, origin: Origin, settings: Settings) -> Report:
        """Migrates a whole fleet that nobody has changed so far into a portal without rows: once; later what
        that came to is put in the portal's place."""
        how = replace_settings(settings, target="")
        key = (origin.url, is_file(settings.target), how, os.environ.get("BULKMIG_KEY"))
        if key in self._migrated:
            kept, report = self._migrated[key]
            self._put(kept, settings.target)
        else:
            report = await migrate(settings, Selection(all=True))
            self._migrated[key] = self._keep(settings.target), report
        return report

    def _keep(self, target: str) -> str | bytes:
        """The name of a copy that nobody uses, or a file's content."""
        if is_file(target):
            return Path(path_of(target)).read_bytes()
        return self._servers.copy(self._servers.newest, _name(target))

    def _put(self, kept: str | bytes, target: str) -> None:
        if isinstance(kept, bytes):
            Path(path_of(target)).write_bytes(kept)
        else:
            self._servers.put(self._servers.newest, kept, _name(target))

    async def _made(self, key: _Key) -> Origin:
        if key not in self._generated:
            self._generated[key] = await self._generate(key)
        return self._generated[key]

    async def _generate(self, key: _Key) -> Origin:
        url = self._servers.get(key.major).url(self._servers.create(key.major, "onboarding"))
        for variation in key.variations:
            await vary_schema(url, variation)
        summary = await generate_fleet(url, key.spec)
        if key.script:
            self._servers.get(key.major).execute(key.script, _name(url))
        return Origin(url, await read_source(url), summary.traps, key.spec)

    def _copy(self, key: _Key) -> Origin:
        made = self._generated[key]
        name = self._servers.copy(key.major, _name(made.url))
        return replace(made, url=self._servers.get(key.major).url(name))


def _name(url: str) -> str:
    """The database's."""
    return url.rpartition("/")[2]
