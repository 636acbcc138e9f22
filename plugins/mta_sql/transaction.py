"""What an operation is given: the write connection, and a place to say what it changed."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from typing import TypeVar

from mta.model.ids import MailboxId, UserId
from mta_sql.dialect import Connection, Cursor, Params

T = TypeVar("T")


class Stale(Exception):
    """Something remembered in this process no longer holds; it was forgotten, run the operation again."""


class Effects:
    """Who has to be told after the commit, and how much was written."""

    __slots__ = ("changed", "octets", "outbox", "queued", "quotas", "side_by_side")

    def __init__(self) -> None:
        self.changed: dict[MailboxId, None] = {}
        self.queued = False
        self.outbox = False
        self.octets = 0
        self.side_by_side = 0
        """Rows that were written in the order in which they lie: they share pages."""
        self.quotas: dict[UserId, int] = {}

    def merge(self, other: "Effects") -> None:
        self.changed.update(other.changed)
        self.queued |= other.queued
        self.outbox |= other.outbox
        self.octets += other.octets
        self.side_by_side += other.side_by_side
        self.quotas.update(other.quotas)


class Transaction:
    """A connection within a transaction, shared by the operations of one batch."""

    __slots__ = ("array", "connection", "effects", "execute", "executemany")

    def __init__(self, connection: Connection, effects: Effects) -> None:
        self.connection = connection
        self.execute: Callable[..., Cursor] = connection.execute
        self.executemany = connection.executemany
        self.array = connection.array
        self.effects = effects

    def changed(self, mailbox: int) -> None:
        self.effects.changed[MailboxId(mailbox)] = None

    def one(self, sql: str, params: Params = ()) -> tuple[object, ...] | None:
        return self.execute(sql, params).fetchone()  # type: ignore[no-any-return]


Run = Callable[[Transaction], T]
"""An operation: pure in the database, so that it can be run again after a rollback."""
