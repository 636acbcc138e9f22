"""The state, and the rules that several roles share."""
# SPDX-License-Identifier: Apache-2.0

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mta.model.delivery import QueuedMessage, Trouble
from mta.model.directory import Alias, Domain, User
from mta.model.errors import MailboxNotAllowed, NoSuchMailbox, NoSuchUser, OverQuota
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid, UserId
from mta.model.mailbox import DELIMITER, Row
from mta.model.mailbox_events import Kind, flag_events, flag_names
from mta.model.mailbox_name import INBOX, normalise_name, parents
from mta.model.message import Flags, LocalDelivery, QueuedRecipient
from mta.testing.memory.tables import MemoryTables
from mta_hooks.backends.app_passwords import AppPassword
from mta_hooks.backends.database import DatabaseOptions, OutboxRow, TraceRecord


@dataclass
class Account:
    user: User
    password_hash: str
    scram: str | None = None
    messages_limit: int = 0
    app_passwords: dict[str, AppPassword] = field(default_factory=dict)


@dataclass
class Tombstone:
    modseq: ModSeq
    blob: BlobId | None
    gone: float


@dataclass
class Mailbox:
    id: MailboxId
    user: UserId
    name: str
    uid_validity: int
    special_use: str = ""
    uid_next: int = 1
    modseq: int = 1
    recent: int = 1
    rows: dict[Uid, Row] = field(default_factory=dict)
    vanished: dict[Uid, Tombstone] = field(default_factory=dict)
    saved: dict[Uid, int] = field(default_factory=dict)
    acl: dict[str, str] = field(default_factory=dict)

    def next_modseq(self) -> ModSeq:
        self.modseq += 1
        return ModSeq(self.modseq)

    def put(self, flags: int, keywords: str, date: int, size: int, blob: BlobId, modseq: ModSeq) -> Uid:
        uid = Uid(self.uid_next)
        self.uid_next += 1
        self.rows[uid] = Row(uid, modseq, flags, keywords, date, size, blob)
        self.saved[uid] = int(time.time())
        return uid


@dataclass
class Queued:
    row: int
    message: QueuedMessage
    recipient: QueuedRecipient
    due: float
    attempts: int = 0
    hold: str = ""
    until: float = 0.0
    owner: str = ""
    last_reply: str = ""
    warned: bool = False
    trouble: Trouble | None = None
    route: str = ""

    @property
    def ready(self) -> float | None:
        """When anybody may take it; None while held."""
        return None if self.hold else max(self.due, self.until) if self.owner else self.due

    @property
    def site(self) -> str:
        return "local" if self.recipient.transport == "local" else self.recipient.address.domain


@dataclass
class Noted:
    row: OutboxRow
    ready: float | None
    owner: str = ""


@dataclass
class Data:
    """Everything that outlives a restart."""

    number: int = 0
    uid_validity: int = 0
    domains: dict[str, Domain] = field(default_factory=dict)
    accounts: dict[UserId, Account] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    mailboxes: dict[MailboxId, Mailbox] = field(default_factory=dict)
    buried: list[Tombstone] = field(default_factory=list)
    subscriptions: dict[UserId, set[str]] = field(default_factory=dict)
    annotations: dict[tuple[int, int], dict[str, bytes]] = field(default_factory=dict)
    blobs: dict[BlobId, bytes] = field(default_factory=dict)
    parsed: dict[BlobId, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    queue: dict[int, Queued] = field(default_factory=dict)
    outbox: dict[int, Noted] = field(default_factory=dict)
    traces: dict[str, TraceRecord] = field(default_factory=dict)
    refused: list[TraceRecord] = field(default_factory=list)
    kv: dict[tuple[str, str], tuple[bytes, float | None]] = field(default_factory=dict)
    tables: MemoryTables | None = None

    def next(self) -> int:
        self.number += 1
        return self.number

    # ---- mailboxes

    def find(self, user: UserId, name: str) -> Mailbox | None:
        for mailbox in self.mailboxes.values():
            if mailbox.user == user and mailbox.name == name:
                return mailbox
        return None

    def get(self, mailbox: MailboxId) -> Mailbox:
        try:
            return self.mailboxes[mailbox]
        except KeyError:
            raise NoSuchMailbox(str(mailbox)) from None

    def make(self, user: UserId, name: str, special_use: str = "", change: "Change | None" = None) -> Mailbox:
        """``change`` None: with the account, which is no event."""
        for parent in parents(name):
            if self.find(user, parent) is None:
                self.make(user, parent, change=change)
        self.uid_validity += 1
        mailbox = Mailbox(MailboxId(self.next()), user, name, self.uid_validity, special_use)
        above = self.find(user, name.rpartition(DELIMITER)[0])
        mailbox.acl = dict(above.acl) if above is not None else {}
        self.mailboxes[mailbox.id] = mailbox
        if change is not None:
            change.event("MailboxCreate", mailbox)
        return mailbox

    def drop(self, mailbox: Mailbox, change: "Change") -> None:
        change.event("MailboxDelete", mailbox)
        now = time.time()
        self.buried += [Tombstone(row.modseq, row.blob, now) for row in mailbox.rows.values()]
        self.buried += mailbox.vanished.values()
        del self.mailboxes[mailbox.id]
        for key in [key for key in self.annotations if key[0] == mailbox.id]:
            del self.annotations[key]

    def used(self, user: UserId) -> int:
        return sum(row.size for mailbox in self.mailboxes.values() if mailbox.user == user for row in mailbox.rows.values())

    # ---- placing

    def messages(self, user: UserId) -> int:
        return sum(len(mailbox.rows) for mailbox in self.mailboxes.values() if mailbox.user == user)

    def check_room(self, more: Mapping[UserId, int], messages: int = 1) -> None:
        """``messages``: for each. Raises NoSuchUser, OverQuota with all users that would be full."""
        full = []
        for user, size in more.items():
            account = self.accounts.get(user)
            if account is None:
                raise NoSuchUser(f"account {user} is gone")
            too_many = account.messages_limit and self.messages(user) + messages > account.messages_limit
            if too_many or (account.user.quota and self.used(user) + size > account.user.quota):
                full.append(user)
        if full:
            raise OverQuota(f"accounts over quota: {full}", tuple(full))

    def new_blob(self, octets: bytes) -> BlobId:
        blob = BlobId(self.next())
        self.blobs[blob] = octets
        return blob

    def place(
        self, change: "Change", deliveries: Iterable[LocalDelivery], blob: BlobId, date: int, message_id: str, queue_id: str
    ) -> None:
        """Checked before by ``check_room``."""
        seen: set[MailboxId] = set()
        for delivery in deliveries:
            placement = delivery.placement
            for folder in () if placement.drop else (placement.folder, *placement.copies):
                name = deliverable(folder)
                mailbox = self.find(delivery.user, name) or self.make(delivery.user, name, change=change)
                if mailbox.id in seen:
                    continue
                seen.add(mailbox.id)
                keywords = " ".join(sorted(placement.keywords))
                modseq = mailbox.next_modseq()
                uid = mailbox.put(int(placement.flags), keywords, date, len(self.blobs[blob]), blob, modseq)
                change.grown(mailbox.user, len(self.blobs[blob]), 1)
                change.event("MessageNew", mailbox, [uid], int(placement.flags), keywords, message_id, queue_id)

    def folders(self, delivery: LocalDelivery) -> int:
        """In how many mailboxes it ends, for quota."""
        placement = delivery.placement
        return 0 if placement.drop else len({deliverable(folder) for folder in (placement.folder, *placement.copies)})


def deliverable(folder: str) -> str:
    """A name that cannot be a mailbox means INBOX: mail is never lost to a bad name."""
    try:
        return normalise_name(folder)
    except MailboxNotAllowed:
        return INBOX


class Change:
    """What one call changed; told to the engine when it is complete, as after a commit."""

    def __init__(self, data: Data, options: DatabaseOptions) -> None:
        self.data = data
        self.options = options
        self.mailboxes: dict[MailboxId, None] = {}
        self.queued = False
        self.noted = False
        self.reached: dict[UserId, int] = {}

    def grown(self, user: UserId, octets: int, messages: int) -> None:
        """The account holds that much more now: a level of its quota may have been reached."""
        account = self.data.accounts[user]
        for level in self.options.quota_levels:
            for now, added, limit in (
                (self.data.used(user), octets, account.user.quota),
                (self.data.messages(user), messages, account.messages_limit),
            ):
                if limit and (now - added) * 100 < level * limit <= now * 100:
                    self.reached[user] = max(level, self.reached.get(user, 0))

    def __enter__(self) -> "Change":
        return self

    def __exit__(self, kind: object, exc: object, trace: object) -> None:
        if kind is None:
            if self.mailboxes:
                self.options.changed(tuple(self.mailboxes))
            if self.queued:
                self.options.queued()
            if self.noted:
                self.options.noted()
            for user, level in self.reached.items():
                self.options.quota_reached(user, level)

    def note(self, hook: str, payload: Mapping[str, Any]) -> None:
        if hook in self.options.durable_hooks:
            row = self.data.next()
            self.data.outbox[row] = Noted(OutboxRow(row, hook, payload, 0, made=time.time()), 0.0)
            self.noted = True

    def event(
        self,
        event: str,
        mailbox: Mailbox,
        uids: Sequence[int] = (),
        flags: int = 0,
        keywords: str = "",
        message_id: str = "",
        queue_id: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """The mailbox changed, and whoever implements ``mailbox_event`` is told what happened."""
        self.mailboxes[mailbox.id] = None
        address = self.data.accounts[mailbox.user].user.address
        self._tell(event, str(address), mailbox.name, uids, flag_names(flags, keywords), message_id, queue_id, details)

    def flags_changed(self, mailbox: Mailbox, changes: Mapping[tuple[Kind, Kind], Sequence[int]]) -> None:
        """``changes``: (old, new) -> uids."""
        told: dict[tuple[str, tuple[str, ...], Kind], list[int]] = {}
        for (old, new), uids in changes.items():
            for event, names in flag_events(old, new):
                told.setdefault((event, names, new), []).extend(uids)
        for (event, names, (flags, keywords)), uids in told.items():
            self.event(event, mailbox, sorted(uids), flags, keywords, details={"changed": list(names)})

    def subscribed(self, user: UserId, name: str, subscribed: bool) -> None:
        event = "MailboxSubscribe" if subscribed else "MailboxUnSubscribe"
        self._tell(event, str(self.data.accounts[user].user.address), name)

    def _tell(
        self,
        event: str,
        user: str,
        mailbox: str,
        uids: Sequence[int] = (),
        flags: Sequence[str] = (),
        message_id: str = "",
        queue_id: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        wanted = self.options.mailbox_events
        if wanted is not None and event not in wanted:
            return
        fields = {
            "event": event,
            "user": user,
            "mailbox": mailbox,
            "at": time.time(),
            "uids": list(uids),
            "flags": list(flags),
            "message_id": message_id,
            "queue_id": queue_id,
            "details": dict(details or {}),
        }
        self.note("mailbox_event", fields)


def deleted(row: Row) -> bool:
    return bool(row.flags & Flags.DELETED)
