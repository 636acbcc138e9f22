"""A POP3 server without sockets, disks and clocks, for transcripts and unit tests; the network is ``FakeTransport``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from mta.config.sections import Auth, Config, Limits
from mta.directory.login import Login
from mta.model.directory import AuthFail, AuthOk
from mta.model.errors import NoSuchMailbox
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid, UserId
from mta.model.mailbox import Changes, MailboxInfo, Row
from mta.net.listener import ListenerSpec
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.pluginhost.offers import Offering
from mta.pluginhost.specs import SPECS
from mta.pop3d.connection import Connection
from mta.pop3d.server import Pop3Server
from mta.testing.smtpd import FakeClock, FakePlan
from mta.testing.smtpd import FakeTransport as SmtpTransport
from mta_hooks.backends import MailStore


class FakeTransport(SmtpTransport):
    """Keeps what was written, and says when it was closed."""

    def is_closing(self) -> bool:
        return self.closed or self.aborted


class Inbox:
    """The part of a MailStore that POP3 uses, over a list of messages: uid 1, 3, 5, … ``failures`` are raised first."""

    def __init__(self, messages: Sequence[bytes]) -> None:
        self.messages = {Uid(2 * i + 1): octets for i, octets in enumerate(messages)}
        self.failures: list[Exception] = []
        self.reads: list[int] = []
        self.removed: list[Uid] = []

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)

    async def mailbox(self, user: UserId, name: str) -> MailboxInfo:
        await self._answer()
        if name != "INBOX":
            raise NoSuchMailbox(name)
        return MailboxInfo(MailboxId(100 + user), user, name, 77)

    async def changes(self, mailbox: MailboxId, since: ModSeq) -> Changes:
        await self._answer()
        rows = [Row(uid, ModSeq(1), 0, "", 0, len(octets), BlobId(uid)) for uid, octets in self.messages.items()]
        return Changes(77, Uid(2 * len(rows) + 1), ModSeq(1), rows, [])

    async def read(self, blob: BlobId, start: int = 0, length: int | None = None) -> bytes:
        await self._answer()
        self.reads.append(1)
        octets = self.messages[Uid(blob)]
        return octets[start:] if length is None else octets[start : start + length]

    async def read_many(self, blobs: Sequence[BlobId]) -> list[bytes]:
        await self._answer()
        self.reads.append(len(blobs))
        return [self.messages[Uid(blob)] for blob in blobs]

    async def remove(self, mailbox: MailboxId, uids: Sequence[Uid]) -> tuple[list[Uid], ModSeq]:
        await self._answer()
        gone = [uid for uid in uids if self.messages.pop(uid, None) is not None]
        self.removed += gone
        return gone, ModSeq(2)


class Pop3Site:
    """``alice@example.test``, password "secret", has ``messages``, or what is in the inbox of ``user`` in ``store``; ``noinbox@example.test`` may log in and has no mailbox."""

    def __init__(
        self,
        messages: Sequence[bytes] = (),
        *,
        store: MailStore | None = None,
        user: UserId | None = None,
        plaintext: bool = True,
        tls: ssl.SSLContext | None = None,
        hooks: Any = None,
        **limits: Any,
    ) -> None:
        self.user = UserId(1) if user is None else user
        self.inbox = Inbox(messages)
        self.clock = FakeClock()
        self.log = Log()
        self.tasks = Tasks(self.log)
        self.hooks: Any = hooks or SimpleNamespace(
            **{**dict.fromkeys(SPECS), "auth_verify": FakePlan(self._verify)}, offering=Offering()
        )
        self.server = Pop3Server(
            config=Config(auth=Auth(plaintext_without_tls=plaintext), limits=Limits(**limits)),
            hooks=self.hooks,
            login=Login(self.hooks, self.log, self.tasks),
            store=cast(MailStore, self.inbox) if store is None else store,
            clock=self.clock,
            log=self.log,
            tls=tls,
            tasks=self.tasks,
        )

    def connect(self, *, tls: bool = False, **spec: Any) -> tuple[Connection, FakeTransport]:
        link, transport = Connection(self.server, ListenerSpec("pop3", tls, "pop3://", **spec)), FakeTransport()
        link.connection_made(transport)
        return link, transport

    async def settle(self, link: Connection) -> None:
        """Wait until the server waits for the client."""
        for turn in range(20_000):
            if not link.working:
                return
            await asyncio.sleep(0 if turn < 10_000 else 0.001)  # a store with threads answers later
        raise AssertionError("the session never came to rest")

    async def talk(self, link: Connection, transport: FakeTransport, octets: bytes) -> bytes:
        """Send octets in one piece and return what the server says to them."""
        link.data_received(octets)
        await self.settle(link)
        return transport.take()

    async def login(self) -> tuple[Connection, FakeTransport]:
        link, transport = self.connect()
        said = await self.talk(link, transport, b"USER alice@example.test\r\nPASS secret\r\n")
        assert said.count(b"+OK") == 3, said
        return link, transport

    def _verify(self, service: str, username: str, credential: str, session: object) -> AuthOk | AuthFail:
        if username == "noinbox@example.test":
            return AuthOk(username)
        right = (username, credential) == ("alice@example.test", "secret")
        return AuthOk(username, self.user) if right else AuthFail("wrong password")
