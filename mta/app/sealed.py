"""What plugins and the pipeline get in place of what has effects, when something is only tried: reads pass, writes stay here.

Everything that would have left the process is written down in ``Caught``, so that whoever tries something sees it.
"""
# SPDX-License-Identifier: Apache-2.0

import errno
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mta.directory.elsewhere import ELSEWHERE
from mta.model.address import Address
from mta.model.directory import Alias, Domain, User
from mta.model.errors import OverQuota, TemporaryFailure
from mta.model.ids import UserId
from mta.model.message import Intake
from mta.pluginhost.http import NoHttp
from mta_hooks.backends.database import Database, KeyValues
from mta_hooks.backends.directory import Directory
from mta_hooks.backends.tables import Schema, SchemaRecord, Tables
from mta_hooks.services import DnsError, HttpReply, Validated

if TYPE_CHECKING:
    from sqlalchemy import Executable

_MOST = 1000
"""Effects of one try that are kept."""


@dataclass(frozen=True, slots=True)
class Effect:
    """``kind``: "http", "dns", "send", "key", "table", "socket"; ``plugin``: "" where it is not known."""

    kind: str
    plugin: str
    text: str


@dataclass(slots=True)
class Caught:
    """``who``: the plugin that is being called."""

    who: Callable[[], str] = lambda: ""
    effects: list[Effect] = field(default_factory=list)

    def guard(self, database: str) -> None:
        """From now on this process connects to nothing over the Internet kinds of sockets: for plugins that bring a client of their own.

        By an audit hook, for the life of the process. A database driver makes its connections outside of Python; the name of its
        host, from the URL ``database``, may be looked up.
        """
        near = (None, "localhost", "127.0.0.1", "::1", urlsplit(database).hostname)

        def look(event: str, args: tuple[Any, ...]) -> None:
            if event in ("socket.getaddrinfo", "socket.gethostbyname"):
                target, away = args[0], args[0] not in near
            elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
                target, away = args[1], isinstance(args[1], tuple)
            else:
                return
            if away:
                self.note("socket", f"{target} was not connected")
                raise OSError(errno.ENETUNREACH, "no network while something is only tried")

        sys.addaudithook(look)

    def note(self, kind: str, text: str, plugin: str = "") -> None:
        if len(self.effects) < _MOST:
            self.effects.append(Effect(kind, plugin or self.who(), text[:500]))


class SealedHttp:
    """Fulfils mta_hooks.services.Http: nothing is sent, and that is noted."""

    _nothing = NoHttp()

    def __init__(self, caught: Caught) -> None:
        self._caught = caught

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, data: bytes = b"", timeout: float = 10.0
    ) -> HttpReply:
        self._caught.note("http", f"{method} {url} ({len(data)} octets) was not sent")
        return await self._nothing.request(method, url)


class SealedDns:
    """Fulfils mta_hooks.services.Dns: nobody is asked."""

    validating = True

    def __init__(self, caught: Caught) -> None:
        self._caught = caught

    async def _refuse(self, name: str) -> Any:
        self._caught.note("dns", f"{name} was not looked up")
        raise DnsError(f"no network while something is only tried: {name} was not looked up; --dns allows it")

    async def validated(self, name: str, kind: str) -> Validated:
        return Validated((), False, await self._refuse(name))

    a = aaaa = mx = txt = ptr = _refuse


class Keys:
    """Fulfils KeyValues: what is written is seen by the same try, over what the database has."""

    def __init__(self, real: KeyValues, caught: Caught) -> None:
        self._real, self._caught = real, caught
        self._own: dict[tuple[str, str], tuple[bytes | None, float | None]] = {}

    async def get(self, plugin: str, key: str, *, now: float) -> bytes | None:
        if (plugin, key) in self._own:
            value, expires = self._own[plugin, key]
            return value if expires is None or expires > now else None
        return await self._real.get(plugin, key, now=now)

    async def set(self, plugin: str, key: str, value: bytes, *, expires: float | None) -> None:
        self._caught.note("key", f"{key} was not written ({len(value)} octets)", plugin)
        self._own[plugin, key] = (value, expires)

    async def delete(self, plugin: str, key: str) -> None:
        self._caught.note("key", f"{key} was not deleted", plugin)
        self._own[plugin, key] = (None, None)


class SealedTables:
    """Fulfils Tables: reads pass; a write says that it touched nothing."""

    def __init__(self, real: Tables, caught: Caught) -> None:
        self._real, self._caught = real, caught

    async def migrate(self, plugin: str, schema: Schema) -> None:
        """Never."""

    async def read(self, statement: "Executable") -> Sequence[Any]:
        return await self._real.read(statement)

    async def write(self, statements: Sequence["Executable"]) -> list[int]:
        for statement in statements:
            self._caught.note("table", f"was not done: {statement}")
        return [0] * len(statements)

    async def schemas(self) -> list[SchemaRecord]:
        return await self._real.schemas()


class SealedDirectory:
    """What ``ElsewherePlugin`` needs of a Directory: an account that it makes is there for this process alone."""

    def __init__(self, real: Directory, caught: Caught) -> None:
        self._real, self._caught = real, caught
        self._made: dict[str, User] = {}

    async def domain(self, name: str) -> Domain | None:
        return await self._real.domain(name)

    async def alias(self, source: str) -> Alias | None:
        return await self._real.alias(source)

    async def user(self, address: Address) -> User | None:
        return self._made.get(str(address).lower()) or await self._real.user(address)

    async def user_by_id(self, user: UserId) -> User | None:
        made = next((one for one in self._made.values() if one.id == user), None)
        return made or await self._real.user_by_id(user)

    async def password_hash(self, user: UserId) -> str | None:
        return ELSEWHERE if user < 0 else await self._real.password_hash(user)

    async def add_users(self, users: Sequence[tuple[Address, str]]) -> list[User]:
        added = []
        for address, _ in users:
            self._caught.note("directory", f"the account {address} was not made")
            added.append(User(UserId(-1 - len(self._made)), address))
            self._made[str(address).lower()] = added[-1]
        return added


class SealedSpool:
    """Fulfils Spool: keeps what it is given, and refuses what the database would refuse of it."""

    def __init__(self, directory: SealedDirectory) -> None:
        self._directory = directory
        self.taken: list[Intake] = []

    async def accept(self, intake: Intake) -> None:
        more: dict[UserId, int] = {}
        for delivery in intake.deliveries:
            if not delivery.placement.drop:
                folders = len({delivery.placement.folder, *delivery.placement.copies})
                more[delivery.user] = more.get(delivery.user, 0) + folders * intake.content.size
        full = []
        for number, size in more.items():
            user = await self._directory.user_by_id(number)
            if user is None:
                raise TemporaryFailure("no such user any more")
            if user.quota and user.used + size > user.quota:
                full.append(number)
        if full:
            raise OverQuota(f"accounts over quota: {full}", tuple(full))
        self.taken.append(intake)


class SealedDatabase:
    """What the pipeline and the directory need of a Database, with nothing behind its writes."""

    def __init__(self, real: Database, caught: Caught, directory: SealedDirectory) -> None:
        self.directory = directory
        self.spool = SealedSpool(self.directory)
        self.kv = Keys(real.kv, caught)
        tables: Tables | None = getattr(real, "tables", None)
        self.tables = SealedTables(tables, caught) if tables is not None else None


def sealed_send(caught: Caught) -> Callable[[str, str | None, Sequence[str], bytes], Any]:
    """``ctx.send`` that sends nothing; it answers with an id, as the true one does."""

    async def send(plugin: str, _sender: str | None, recipients: Sequence[str], octets: bytes) -> str:
        caught.note("send", f"to {', '.join(recipients)} ({len(octets)} octets) was not sent", plugin)
        return "NOT-SENT"

    return send
