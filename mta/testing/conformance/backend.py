"""The ground of the suites: a backend under test, and short words for what every scenario does."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mta.app.apart import separate
from mta.local.deposit import Depositor
from mta.model.address import Address
from mta.model.delivery import Outcome
from mta.model.directory import User
from mta.model.errors import StorageDead
from mta.model.ids import MailboxId, ModSeq, QueueId, Uid
from mta.model.mailbox import MailboxInfo, NewMessage, Row
from mta.model.message import Flags, Intake, LocalDelivery, OctetContent, Placement, QueuedRecipient
from mta_hooks.backends import Database, DatabaseOptions

NOW = 1_700_000_000.0
NO_FLAGS = Flags(0)
Scenario = Callable[[Database], Awaitable[None]]


@dataclass
class Told:
    """What the backend told the engine."""

    mailboxes: list[MailboxId] = field(default_factory=list)
    queued: int = 0
    noted: int = 0
    dead: list[StorageDead] = field(default_factory=list)


class Backend:
    """A way to make databases that share their data.

    make      gives a database that is not opened yet
    data_dir  a folder of the test's own
    """

    def __init__(self, make: Callable[[DatabaseOptions], Database], data_dir: Path) -> None:
        self._make = make
        self.data_dir = data_dir
        self.told = Told()

    def options(self, **more: Any) -> DatabaseOptions:
        told = self.told

        def queued() -> None:
            told.queued += 1

        def noted() -> None:
            told.noted += 1

        fixed: dict[str, Any] = {"data_dir": str(self.data_dir), "reserve": 0}
        return DatabaseOptions(
            **{**fixed, "changed": told.mailboxes.extend, "queued": queued, "noted": noted, "dead": told.dead.append, **more}
        )

    async def open(self, **options: Any) -> Database:
        database = self._make(self.options(**options))
        await database.open()
        return database

    def run(self, *scenarios: Scenario, sound: bool = True, **options: Any) -> None:
        """Run each on a database of its own, one after the other: a restart lies between two. At the end ``verify`` must
        find nothing, unless not ``sound``."""
        for scenario in scenarios:
            asyncio.run(self._one(scenario, sound, options))

    async def _one(self, scenario: Scenario, sound: bool, options: dict[str, Any]) -> None:
        database = await self.open(**options)
        try:
            await scenario(database)
            if sound:
                assert await database.verify(lambda _done, _total: None) == []
        finally:
            await database.close()


_ids = itertools.count(1)


def intake(
    *users: User,
    queued: Sequence[str | QueuedRecipient] = (),
    octets: bytes = b"Subject: x\r\n\r\nbody\r\n",
    id: str = "",
    **more: Any,
) -> Intake:
    """A message to the INBOX of each user, and to ``queued`` addresses elsewhere."""
    placement = more.pop("placement", Placement())
    fixed: dict[str, Any] = {"origin": "smtp", "sender": Address("sender", "example.net"), "received_at": NOW}
    recipients = [QueuedRecipient(Address.parse(q), "remote") if isinstance(q, str) else q for q in queued]
    return Intake(
        id=QueueId(id or f"T{next(_ids)}"),
        content=OctetContent(octets),
        deliveries=tuple(LocalDelivery(user.id, user.address, placement) for user in users),
        queued=tuple(recipients),
        **{**fixed, **more},
    )


async def arrive(database: Database, name: str = "alice") -> tuple[User, MailboxInfo]:
    """An account and its INBOX."""
    address = Address(name, "example.test")
    user = await database.directory.user(address)
    if user is None:
        [user] = await database.directory.add_users([(address, "hash")])
    return user, await database.store.mailbox(user.id, "INBOX")


async def deliver(database: Database, intake: Intake) -> None:
    """Accept it, and do what dispatch does where mailboxes are apart from the database."""
    await database.spool.accept(intake)
    store = separate(database)
    if store is None:
        return
    depositor = Depositor(database.queue, store, "/nowhere", 2**24)
    outcomes = []
    for one in await database.queue.lease("conformance", 100, 60.0, now=max(NOW, intake.received_at) + 1):
        assert one.user is not None
        assert one.placement is not None
        await depositor.deposit(LocalDelivery(one.user, one.address, one.placement), one.message)
        outcomes.append(Outcome(one, "delivered", "250 2.0.0 delivered"))
    await database.queue.settle(outcomes)


async def append(
    database: Database,
    mailbox: MailboxInfo,
    count: int = 1,
    *,
    octets: bytes = b"x\r\n",
    flags: Flags = NO_FLAGS,
    keywords: str = "",
) -> list[Uid]:
    """Append ``count`` messages, each in its own call; returns their uids."""
    message = NewMessage(OctetContent(octets), flags, frozenset(keywords.split()), int(NOW))
    return [(await database.store.append(mailbox.id, [message]))[0].uid for _ in range(count)]


async def rows(database: Database, mailbox: MailboxInfo | MailboxId) -> list[Row]:
    """The whole mailbox."""
    number = mailbox.id if isinstance(mailbox, MailboxInfo) else mailbox
    return list((await database.store.changes(number, ModSeq(0))).rows)
