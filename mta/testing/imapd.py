"""An IMAP server without sockets and clocks, over the in-memory database or another: for transcripts and unit tests."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from mta.config.sections import Auth, Config, Limits
from mta.directory.login import Login
from mta.imapd.connection import Connection
from mta.imapd.server import ImapServer
from mta.model.address import Address
from mta.model.directory import AuthFail, AuthOk
from mta.model.ids import MailboxId, UserId
from mta.model.mailbox import NewMessage
from mta.model.message import Flags, OctetContent
from mta.net.listener import ListenerSpec
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pluginhost.offers import Offering
from mta.pluginhost.specs import SPECS
from mta.testing.memory import MemoryDatabase
from mta.testing.smtpd import FakeClock, FakePlan
from mta.testing.smtpd import FakeTransport as SmtpTransport
from mta_hooks.backends import Database, DatabaseOptions, MailStore


class FakeTransport(SmtpTransport):
    """Keeps what was written; hangs up like a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.link: Connection | None = None

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self._hang_up()
        super().close()

    def abort(self) -> None:
        self._hang_up()
        super().abort()

    def _hang_up(self) -> None:
        if not self.gone and self.link is not None:
            asyncio.get_running_loop().call_soon(self.link.connection_lost, None)


class ImapSite:
    """``alice@example.test`` and ``bob@example.test``, password "secret", each with the standard mailboxes."""

    def __init__(
        self,
        *,
        plaintext: bool = True,
        tls: ssl.SSLContext | None = None,
        database: Callable[[DatabaseOptions], Database] | None = None,
        proxies: Sequence[Any] = (),
        data_dir: str = "/nonexistent",
        hooks: Any = None,
        **limits: Any,
    ) -> None:
        self.clock = FakeClock(1_700_000_000.0)
        self.log = Log()
        self.tasks = Tasks(self.log)
        self.hooks: Any = hooks or SimpleNamespace(
            **{**dict.fromkeys(SPECS), "auth_verify": FakePlan(self._verify)}, offering=Offering()
        )
        options = DatabaseOptions(data_dir, changed=self._changed)
        self.memory = MemoryDatabase(options)
        self.memory.data.uid_validity = 100
        self.database: Database = self.memory if database is None else database(options)
        self.users: dict[str, UserId] = {}
        self.store: MailStore = self.memory.store  # until ``open``
        self._proxies = tuple(proxies)
        self.server = ImapServer(
            config=Config(
                hostname="mx.example.test", data_dir=data_dir, auth=Auth(plaintext_without_tls=plaintext), limits=Limits(**limits)
            ),
            hooks=self.hooks,
            login=Login(self.hooks, self.log, self.tasks),
            store=self.store,
            clock=self.clock,
            log=self.log,
            tls=tls,
            tasks=self.tasks,
        )

    def _changed(self, mailboxes: Sequence[MailboxId]) -> None:
        self.server.changed(mailboxes)

    async def open(self) -> "ImapSite":
        await self.database.open()
        self.store = self.server.store = self.database.store
        names = ("alice@example.test", "bob@example.test")
        for user in await self.database.directory.add_users([(Address.parse(name), "hash") for name in names]):
            self.users[str(user.address)] = user.id
        return self

    async def mailbox(self, name: str = "INBOX", user: str = "alice@example.test") -> MailboxId:
        return (await self.database.store.mailbox(self.users[user], name)).id

    async def deliver(
        self, *messages: bytes, name: str = "INBOX", flags: int = 0, keywords: Sequence[str] = (), date: int = 0
    ) -> None:
        """Somebody else puts messages into alice's mailbox."""
        new = [NewMessage(OctetContent(octets), Flags(flags), frozenset(keywords), date) for octets in messages]
        await self.database.store.append(await self.mailbox(name), new)

    def connect(self, *, tls: bool = False) -> tuple[Connection, FakeTransport]:
        link, transport = (
            Connection(self.server, ListenerSpec("imap", tls, "imap://", proxy_protocol=self._proxies)),
            FakeTransport(),
        )
        transport.link = link
        link.connection_made(transport)
        return link, transport

    async def settle(self, link: Connection) -> None:
        """Wait until the server waits for the client."""
        rest = 0
        for turn in range(20_000):
            rest = 0 if link.working and not link.waiting else rest + 1
            if rest > 10:  # time for what wakes sessions in IDLE
                return
            await asyncio.sleep(0 if turn < 10_000 else 0.001)  # a database works in a thread of its own
        raise AssertionError("the session never came to rest")

    async def talk(self, link: Connection, transport: FakeTransport, octets: bytes) -> bytes:
        """Send octets in one piece and return what the server says to them."""
        link.data_received(octets)
        await self.settle(link)
        return transport.take()

    async def login(self, *commands: bytes, user: bytes = b"alice@example.test") -> tuple[Connection, FakeTransport]:
        """A session after LOGIN and ``commands``, which must succeed."""
        link, transport = self.connect()
        for octets in (b"LOGIN %b secret" % user, *commands):
            said = await self.talk(link, transport, b"x " + octets + b"\r\n")
            assert b"\r\nx OK" in b"\r\n" + said, said
        return link, transport

    def _verify(self, service: str, username: str, credential: str, session: object) -> AuthOk | AuthFail:
        if username in self.users and credential == "secret":
            return AuthOk(username, self.users[username])
        return AuthFail("wrong password")
