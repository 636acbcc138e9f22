"""From what an operator wrote to a table that answers: names of config ``tables``, ``type:argument``, mappings, lists of these.

    hash: texthash: btree: lmdb: cdb: dbm: sdbm:   Postfix's text, read as it is        aliases:   as /etc/aliases
    regexp: pcre: cidr:                            patterns                             static:    the same value for every key
    any other type                                 a backend "table" of a plugin (``sql:`` of mta_sql)

One table for each source and worker, whoever asks for it.
"""
# SPDX-License-Identifier: Apache-2.0

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mta.lookup.file import READERS, FileTable
from mta.model.errors import ConfigError
from mta_hooks.lookup import Table, TableBackend, TableOptions, TableSource

Where = Callable[[str], str]
"""A key of the config -> file:line."""


class Inline:
    """Keys and values of the config; a list is one value, joined with commas."""

    patterns = False

    def __init__(self, values: Mapping[str, str | Sequence[str]]) -> None:
        self._values = {str(k).lower(): v if isinstance(v, str) else ", ".join(v) for k, v in values.items()}

    async def open(self) -> None: ...

    async def get(self, key: str) -> str | None:
        return self._values.get(key.lower())


class Static:
    """One value for every key."""

    patterns = True

    def __init__(self, value: str) -> None:
        self._value = value

    async def open(self) -> None: ...

    async def get(self, key: str) -> str | None:
        return self._value


class Chain:
    """Fulfils mta_hooks.lookup.Table: key by key, and for each key one table after another, as Postfix's maps are asked."""

    __slots__ = ("_parts", "empty")

    def __init__(self, parts: Sequence[TableBackend]) -> None:
        self._parts = tuple(parts)
        self.empty = not parts

    async def get(self, key: str) -> str | None:
        for part in self._parts:
            if (value := await part.get(key)) is not None:
                return value
        return None

    async def find(self, keys: Sequence[str], *, whole: bool = True) -> str | None:
        found = await self.match(keys, whole=whole)
        return None if found is None else found[1]

    async def match(self, keys: Sequence[str], *, whole: bool = True) -> tuple[str, str] | None:
        for number, key in enumerate(keys):
            for part in self._parts:
                if ((whole and not number) or not part.patterns) and (value := await part.get(key)) is not None:
                    return key, value
        return None

    async def open(self) -> None:
        for part in self._parts:
            await part.open()

    def problems(self) -> list[str]:
        """What was left out of the files that are read, as ``file:line: why``."""
        return [problem for part in self._parts if isinstance(part, FileTable) for problem in part.problems()]


class Lookups:
    """All tables of a worker."""

    def __init__(
        self,
        options: TableOptions,
        named: Mapping[str, TableSource] | None = None,
        backend: Callable[[str], Callable[[str, TableOptions], TableBackend] | None] = lambda _scheme: None,
        where: Where = str,
    ) -> None:
        """``backend``: factories of plugins by type."""
        self._options, self._named, self._backend, self._where = options, dict(named or {}), backend, where
        self._made: dict[str, TableBackend] = {}
        self._chains: dict[str, Chain] = {}

    def table(self, source: TableSource | Sequence[Any] | None) -> Table:
        """Raises ConfigError for a source that names nothing."""
        known = json.dumps(source, sort_keys=True)
        if known not in self._chains:
            self._chains[known] = Chain(self._parts(source, ()))
        return self._chains[known]

    def _parts(self, source: Any, path: tuple[str, ...]) -> list[TableBackend]:
        if source is None:
            return []
        if isinstance(source, Mapping):
            return [Inline(source)] if source else []
        if not isinstance(source, str):
            return [part for one in source for part in self._parts(one, path)]
        if source in self._named:
            if source in path:
                raise ConfigError(
                    self._where(f"tables.{source}"), f"tables.{source}", "names itself", "name a file, or another table."
                )
            return self._parts(self._named[source], (*path, source))
        if source not in self._made:
            self._made[source] = self._make(source)
        return [self._made[source]]

    def _make(self, source: str) -> TableBackend:
        scheme, colon, argument = source.partition(":")
        if not colon:
            raise ConfigError(
                "config",
                "tables",
                f"there is no table named {source}",
                f"one of: {', '.join(sorted(self._named)) or 'none is there'}.",
            )
        if scheme == "proxy":  # Postfix's proxymap(8): a table of another process, and here of this one
            return self._make(argument)
        if scheme == "static":
            return Static(argument)
        if scheme in READERS:
            if not argument.startswith("/"):
                raise ConfigError("config", source, "the path of a file must be absolute", f"write {scheme}:/path.")
            return FileTable(scheme, argument, self._options.log)
        factory = self._backend(scheme)
        if factory is None:
            types = ", ".join(sorted([*READERS, "static"]))
            raise ConfigError(
                "config", source, f"no table has the type {scheme}", f"one of: {types}; or list the plugin that brings it."
            )
        return factory(source, self._options)
