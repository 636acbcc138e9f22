"""``Accounts`` out of the system's user database, or a file like it.

The system is asked in a thread, since sssd or LDAP may be behind it, and its answers are kept for a minute. A file is read anew
when it has changed.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import pwd
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mta.model.address import Address
from mta.model.directory import Alias
from mta_hooks import ConfigError, Domain, TemporaryFailure
from mta_hooks.backends import Account
from mta_unix.place import Place

FRESH = 60.0
MOST = 10_000
"""Names remembered; then all are forgotten."""
THREADS = 4

_NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}\Z")
Stamp = tuple[int, int, int]
T = TypeVar("T")


class UnixAccounts:
    """See ``mta_hooks.backends.Accounts``. ``system``: getpwnam, for tests."""

    def __init__(
        self,
        place: Place,
        system: Callable[[str], pwd.struct_passwd] = pwd.getpwnam,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._system, self._monotonic = place, system, monotonic
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mta-unix")
        self._known: dict[str, tuple[bool, float]] = {}
        self._file: tuple[Stamp, frozenset[str]] | None = None

    async def open(self) -> None:
        if self._place.path:
            try:
                await self._run(self._read)
            except OSError as exc:
                fix = "make it readable for the server, or write unix: for the users of this system."
                raise ConfigError(self._place.path, "directory", exc.strerror or str(exc), fix) from exc

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def domain(self, name: str) -> Domain | None:
        return Domain(name) if name in self._place.domains else None

    async def account(self, address: Address) -> Account | None:
        name = address.local.lower()
        if address.domain not in self._place.domains or not _NAME.match(name) or not await self._is_there(name):
            return None
        return Account(Address(name, self._place.domains[0]))

    async def alias(self, source: str) -> Alias | None:
        return None

    async def verify(self, account: Account, password: str) -> bool | None:
        return None

    async def _is_there(self, name: str) -> bool:
        try:
            if self._place.path:
                return name in await self._run(self._read)
            known = self._known.get(name)
            if known is not None and self._monotonic() < known[1]:
                return known[0]
            there = await self._run(lambda: self._ask(name))
        except OSError as exc:
            raise TemporaryFailure(f"{self._place.path or 'getpwnam'}: {exc}") from exc
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[name] = (there, self._monotonic() + FRESH)
        return there

    def _ask(self, name: str) -> bool:
        """Raises OSError when the system cannot say."""
        try:
            found = self._system(name)
        except KeyError:
            return False
        return found.pw_name == name and self._place.lowest <= found.pw_uid <= self._place.highest

    def _read(self) -> frozenset[str]:
        state = os.stat(self._place.path)
        stamp = state.st_mtime_ns, state.st_ino, state.st_size
        if self._file is None or self._file[0] != stamp:
            with open(self._place.path, encoding="utf-8", errors="replace") as file:
                self._file = stamp, frozenset(name for line in file if (name := self._name_in(line)))
        return self._file[1]

    def _name_in(self, line: str) -> str:
        """The name, or "" for a line that stands for no account."""
        fields = line.rstrip("\n").split(":")
        if len(fields) < 4 or not fields[2].isdecimal() or not _NAME.match(fields[0]):
            return ""
        return fields[0] if self._place.lowest <= int(fields[2]) <= self._place.highest else ""

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
