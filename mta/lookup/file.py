"""A table out of a file: read in a thread, and again when the file has changed, which is looked for at most once a second.

A file that was read once and cannot be read now is a mistake of a moment (an editor, a copy): the last good version goes on, with a word in
the log. Lines that say nothing are left out, each named as file:line.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import stat
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from mta.lookup.cidr import Networks
from mta.lookup.patterns import Patterns
from mta.lookup.text import Entries, read_aliases, read_pairs
from mta.model.errors import ConfigError, TemporaryFailure
from mta_hooks.services import Log

FRESH = 1.0
SETTLED = 1.0
"""Seconds for which a file has to be left alone before another version of it counts: it may still be being written."""
MAX_SIZE = 64 * 2**20
"""Octets: about a million lines."""
_MOST_TOLD = 20
_Signature = tuple[int, int, int, int]


class Content(Protocol):
    """A file as read."""

    @property
    def problems(self) -> Sequence[tuple[int, str]]: ...
    def get(self, key: str) -> str | None: ...


class Pairs:
    """Keys are asked in lower case, as they were written down."""

    def __init__(self, entries: Entries) -> None:
        self._values = entries.values
        self.problems: Sequence[tuple[int, str]] = entries.problems

    def get(self, key: str) -> str | None:
        return self._values.get(key.lower())


def _networks(text: str) -> Content:
    return Networks.read(text)


READERS: dict[str, Callable[[str], Content]] = {
    **dict.fromkeys(("hash", "texthash", "btree", "lmdb", "dbm", "cdb", "sdbm"), lambda text: Pairs(read_pairs(text))),
    "aliases": lambda text: Pairs(read_aliases(text)),
    "cidr": _networks,
    "regexp": lambda text: Patterns.read(text, perl=False),
    "pcre": lambda text: Patterns.read(text, perl=True),
}
PATTERNS = frozenset({"cidr", "regexp", "pcre"})


class FileTable:
    """Fulfils mta_hooks.lookup.TableBackend. Of a database of Postfix (hash, lmdb, …) the text that it was made of is read."""

    def __init__(self, scheme: str, path: str, log: Log) -> None:
        self.patterns = scheme in PATTERNS
        self._scheme, self._path, self._log = scheme, path, log
        self._content: Content | None = None
        self._signature: _Signature | None = None
        self._looked = 0.0
        self._reading = asyncio.Lock()

    async def open(self) -> None:
        try:
            await self._refresh()
        except (OSError, ValueError) as exc:
            problem = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise ConfigError(self._path, self._scheme, problem, "make it a file that the server can read.") from exc

    async def get(self, key: str) -> str | None:
        content = self._content
        if content is None or time.monotonic() - self._looked > FRESH:
            try:
                content = await self._refresh()
            except (OSError, ValueError) as exc:
                if content is None:
                    raise TemporaryFailure(f"{self._scheme}:{self._path}: {exc}") from exc
                self._log.error("table.unreadable", table=f"{self._scheme}:{self._path}", reason=str(exc))
                self._looked = time.monotonic()
        if isinstance(content, Patterns) and not content.quick(key):
            return await asyncio.get_running_loop().run_in_executor(None, content.get, key)
        return content.get(key)

    def problems(self) -> list[str]:
        return [f"{self._path}:{line}: {why}" for line, why in (self._content.problems if self._content is not None else ())]

    async def _refresh(self) -> Content:
        """Raises OSError, ValueError."""
        async with self._reading:
            if self._content is not None and time.monotonic() - self._looked <= FRESH:
                return self._content
            made = await asyncio.get_running_loop().run_in_executor(None, _read, self._path, self._signature, READERS[self._scheme])
            self._looked = time.monotonic()
            if made is not None:
                again = self._content is not None
                self._content, self._signature = made
                self._tell(again)
            assert self._content is not None
            return self._content

    def _tell(self, again: bool) -> None:
        assert self._content is not None
        if again:
            self._log.info("table.read", table=f"{self._scheme}:{self._path}")
        problems = self._content.problems
        for line, problem in problems[:_MOST_TOLD]:
            self._log.warning("table.entry_refused", where=f"{self._path}:{line}", reason=problem)
        if len(problems) > _MOST_TOLD:
            self._log.warning("table.entry_refused", where=self._path, reason=f"{len(problems) - _MOST_TOLD} more such lines")


def _read(path: str, known: _Signature | None, reader: Callable[[str], Content]) -> tuple[Content, _Signature] | None:
    """None: it has not changed."""
    with open(path, "rb") as stream:
        status = os.fstat(stream.fileno())
        signature = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        if signature == known or (known is not None and 0 <= time.time() - status.st_mtime < SETTLED):
            return None
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("not a regular file")
        if status.st_size > MAX_SIZE:
            raise ValueError(f"larger than {MAX_SIZE} octets")
        octets = stream.read(MAX_SIZE + 1)
    return reader(octets.decode("utf-8", "surrogateescape")), signature
