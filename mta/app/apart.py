"""A database, and mailboxes that are not in it: what the rest of the server sees as one ``Database``.

Acceptance is still one transaction, of the database: each delivery into a mailbox becomes a row of the queue that says where it goes
(``QueuedRecipient.placement``), and dispatch has the store deliver it (``mta.local.deposit``). See docs/decisions/separate-store.md.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from mta.model.directory import User
from mta.model.errors import ConfigError, OverQuota, TemporaryFailure
from mta.model.ids import UserId
from mta.model.message import Intake, LocalDelivery, Notification, QueuedRecipient
from mta_hooks.backends import Directory, Spool
from mta_hooks.backends.database import Database, DatabaseOptions
from mta_hooks.backends.store import SeparateStore, StoreOptions

MakeStore = Callable[[StoreOptions], SeparateStore]
NEVER = frozenset({"NEVER"})


class ApartSpool:
    """Deliveries become queue rows. A full account is still told at once, when it is full already."""

    def __init__(self, inner: Spool, directory: Directory, store: SeparateStore) -> None:
        self._inner, self._directory, self._store = inner, directory, store

    async def accept(self, intake: Intake) -> None:
        into = [delivery for delivery in intake.deliveries if not delivery.placement.drop]
        if not into:
            return await self._inner.accept(intake)
        await self._check(into, intake.content.size)
        never = NEVER if intake.sender is None else frozenset()
        rows = tuple(QueuedRecipient(d.recipient, "local", d.user, d.orcpt, d.notify or never, placement=d.placement) for d in into)
        dropped = tuple(delivery for delivery in intake.deliveries if delivery.placement.drop)
        told = tuple(note for note in intake.notifications if note.hook != "delivered")  # the queue tells when it is
        return await self._inner.accept(replace(intake, deliveries=dropped, queued=intake.queued + rows, notifications=told))

    async def _check(self, deliveries: Sequence[LocalDelivery], size: int) -> None:
        full: list[UserId] = []
        for delivery in deliveries:
            user = await self._directory.user_by_id(delivery.user)
            if user is None:  # deleted since RCPT: the peer asks again and is told so
                raise TemporaryFailure(f"account {delivery.user} is gone")
            more = size * len({delivery.placement.folder, *delivery.placement.copies})
            if user.quota and await self._store.used(user.id) + more > user.quota:
                full.append(user.id)
        if full:
            raise OverQuota(f"accounts over quota: {full}", tuple(full))


class ApartDirectory:
    """The database's; but in the list that operators read ``used`` is the store's, and with an account its mailboxes go."""

    def __init__(self, inner: Directory, store: SeparateStore) -> None:
        self._inner, self._store = inner, store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def users(self, domain: str = "") -> list[User]:
        return [replace(user, used=await self._store.used(user.id)) for user in await self._inner.users(domain)]

    async def delete_user(self, user: UserId) -> None:
        found = await self._inner.user_by_id(user)
        await self._inner.delete_user(user)
        if found is not None:
            await self._store.delete_account(found)


class ApartDatabase:
    """``inner`` is not open yet; everything not named here is its. Read only, the store stays closed: nobody delivers, nobody reads mail."""

    def __init__(self, inner: Database, options: DatabaseOptions, make: MakeStore, where: str) -> None:
        self._inner, self._events, self._closed = inner, options.mailbox_events, options.read_only
        self._where = where
        tells = "mailbox_event" in options.durable_hooks
        wanted = StoreOptions(
            data_dir=options.data_dir,
            account=self._account,
            changed=options.changed,
            event=self._event if tells else None,
            reserve=options.reserve,
            undelete=options.undelete,
            dead=options.dead,
        )
        with _placed(where):
            self.apart = make(wanted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open(self) -> None:
        await self._inner.open()
        if self._closed:
            return
        try:
            with _placed(self._where):
                await self.apart.open()
        except BaseException:
            await self._inner.close()
            raise
        self.store = self.apart
        self.spool = ApartSpool(self._inner.spool, self._inner.directory, self.apart)
        self.directory = cast(Directory, ApartDirectory(self._inner.directory, self.apart))

    async def close(self) -> None:
        if not self._closed:
            await self.apart.close()
        await self._inner.close()

    async def housekeep(self, *, now: float) -> None:
        await self._inner.housekeep(now=now)
        await self.apart.housekeep(now=now)

    async def verify(self, progress: Callable[[int, int], None]) -> list[str]:
        damage = await self._inner.verify(progress)
        return damage + await self.apart.verify(await self._inner.directory.users(), progress)

    async def _account(self, user: UserId) -> User | None:
        return await self._inner.directory.user_by_id(user)

    async def _event(self, fields: Mapping[str, Any]) -> None:
        if self._events is None or fields["event"] in self._events:
            await self._inner.outbox.add([Notification("mailbox_event", fields)])


@contextlib.contextmanager
def _placed(where: str) -> Iterator[None]:
    """A store does not know which file and line it comes from."""
    try:
        yield
    except ConfigError as exc:
        raise ConfigError(where, "storage.mailboxes", exc.problem, exc.fix) from exc


def apart(inner: Database, options: DatabaseOptions, make: MakeStore, where: str = "config") -> Database:
    """``inner`` for all but mailboxes, which are where ``make`` puts them; ``where``: file and line that say so."""
    return cast(Database, ApartDatabase(inner, options, make, where))


def separate(database: Database) -> SeparateStore | None:
    """The store that is apart from this database, if it is."""
    found: object = database
    return found.apart if isinstance(found, ApartDatabase) else None
