"""What the store does with an account, each within its lock; but for ``prepare`` and ``read``, which need none."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import errno
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mta.model.errors import MailboxNotAllowed, NoSuchMailbox, OverQuota
from mta.model.ids import BlobId, MailboxId, ModSeq, QueueId, Uid
from mta.model.mailbox import Appended, Copied, NewMessage, Stored
from mta.model.mailbox_events import Kind, flag_events, flag_names
from mta.model.mailbox_name import INBOX, normalise_name
from mta.model.message import Content, Flags, LocalDelivery
from mta_hooks.backends.store import FlagChange
from mta_maildir import arrive, disk
from mta_maildir.account import Account
from mta_maildir.arrive import Arrival, arrival_of
from mta_maildir.filename import delivered, fresh
from mta_maildir.folder import Folder, Message
from mta_maildir.octets import Reader

_BAD_FILE = frozenset({errno.EACCES, errno.EPERM, errno.EIO, errno.EISDIR, errno.ELOOP})
_log = logging.getLogger("mta.maildir")


def prepare(account: Account, content: Content, date: int) -> str:
    """Write the octets, durably, under a name in ``tmp``."""
    folder = os.path.join(account.root, "tmp")
    path = os.path.join(folder, fresh(time.time(), content.size))
    if not os.path.isdir(folder):
        with account.locked():
            account.folders()
            disk.make_folders(folder, 0o700)
    disk.write(path, content, date, account.mode)
    return path


def discard(files: Sequence[str]) -> None:
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file)


def _check(account: Account, quota: int, more: int) -> None:
    if quota and account.used() + more > quota:
        raise OverQuota(f"account {account.user} over quota", (account.user,))


def append(account: Account, mailbox: MailboxId, messages: Sequence[tuple[NewMessage, str]], quota: int) -> list[Appended]:
    folder = account.by_id(mailbox)
    _check(account, quota, sum(message.content.size for message, _ in messages))
    arrivals = [
        Arrival(file, "rename", os.path.basename(file), int(m.flags), sorted(m.keywords), m.date, m.content.size)
        for m, file in messages
    ]
    placed = arrive.put(folder, arrivals)
    for one in placed:
        account.note("MessageAppend", folder, uids=[one.uid], flags=flag_names(one.flags, one.keywords))
    return [Appended(mailbox, folder.validity, Uid(one.uid), ModSeq(one.modseq)) for one in placed]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A delivery with its octets in ``file``."""

    delivery: LocalDelivery
    file: str
    size: int
    id: QueueId
    date: int
    message_id: str


def deliver(account: Account, parcel: Parcel, quota: int) -> None:
    """Each mailbox once: its name for the message is always the same, and graves keep it."""
    delivery, placement = parcel.delivery, parcel.delivery.placement
    names = [] if placement.drop else list(dict.fromkeys(map(_deliverable, (placement.folder, *placement.copies))))
    missing: list[tuple[Folder, str]] = []
    for name in names:
        folder = account.ensure(name)
        base = delivered(parcel.date, f"{parcel.id}\0{delivery.user}\0{delivery.recipient}\0{name}", parcel.size)
        if base not in folder.bases and base not in folder.delivered:
            missing.append((folder, base))
    _check(account, quota, parcel.size * len(missing))
    words = sorted(placement.keywords)
    for number, (folder, base) in enumerate(missing, 1):
        how: arrive.How = "rename" if number == len(missing) else "link"
        [one] = arrive.put(folder, [Arrival(parcel.file, how, base, int(placement.flags), words, parcel.date, parcel.size)])
        account.note(
            "MessageNew",
            folder,
            uids=[one.uid],
            flags=flag_names(one.flags, one.keywords),
            message_id=parcel.message_id,
            queue_id=parcel.id,
        )


def _deliverable(folder: str) -> str:
    """A name that cannot be a mailbox means INBOX: mail is never lost to a bad name."""
    try:
        return normalise_name(folder)
    except MailboxNotAllowed:
        return INBOX


@dataclass(frozen=True, slots=True)
class FlagRequest:
    change: FlagChange
    flags: int
    keywords: frozenset[str]
    unchanged_since: ModSeq | None

    def applied(self, message: Message) -> Kind:
        before = frozenset(message.keywords.split())
        if self.change == "set":
            return self.flags, " ".join(sorted(self.keywords))
        if self.change == "add":
            return message.flags | self.flags, " ".join(sorted(before | self.keywords))
        return message.flags & ~self.flags, " ".join(sorted(before - self.keywords))


def set_flags(account: Account, mailbox: MailboxId, uids: Sequence[Uid], wanted: FlagRequest) -> Stored:
    folder = account.by_id(mailbox)
    messages, modified = folder.find(uids), list[Uid]()
    if wanted.unchanged_since is not None:
        modified = [Uid(m.uid) for m in messages if m.modseq > wanted.unchanged_since]
        messages = [m for m in messages if m.modseq <= wanted.unchanged_since]
    states: list[tuple[Message, int, str]] = []
    told: dict[tuple[Kind, Kind], list[int]] = {}
    for message in messages:
        old, new = (message.flags, message.keywords), wanted.applied(message)
        if new != old:
            states.append((message, *new))
            told.setdefault((old, new), []).append(message.uid)
    if not states:
        return Stored([folder.row(m) for m in messages], modified, ModSeq(folder.highest))
    modseq = arrive.restate(folder, states)
    account.changed[folder.id] = None
    for (old, new), those in told.items():
        for event, names in flag_events(old, new):
            account.note(event, folder, uids=those, flags=flag_names(*new), details={"changed": list(names)})
    return Stored([folder.row(m) for m in messages], modified, modseq, made=True)


def copy(account: Account, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId, quota: int) -> Copied:
    source, to = account.by_id(mailbox), account.by_id(target)
    messages = source.find(uids)
    _check(account, quota, sum(message.size for message in messages))
    placed = arrive.put(to, [arrival_of(source, message, "link") for message in messages])
    if placed:
        account.note("MessageAppend", to, uids=[one.uid for one in placed], details={"copied": True})
    return _copied(messages, placed, to, source)


def move(account: Account, mailbox: MailboxId, uids: Sequence[Uid], target: MailboxId) -> Copied:
    source, to = account.by_id(mailbox), account.by_id(target)
    return _move(account, source, source.find(uids), to)


def _move(account: Account, source: Folder, messages: Sequence[Message], to: Folder) -> Copied:
    """Each file is renamed: it is in one of the two at every moment. Clients see all or none, since both are locked."""
    placed = arrive.put(to, [arrival_of(source, message, "rename") for message in messages])
    if placed:
        arrive.remove(source, messages, unlink=False)
        account.note("MessageAppend", to, uids=[one.uid for one in placed], details={"copied": True})
        account.note("MessageExpunge", source, uids=[message.uid for message in messages])
    return _copied(messages, placed, to, source)


def _copied(messages: Sequence[Message], placed: Sequence[Message], to: Folder, source: Folder) -> Copied:
    return Copied(to.validity, [Uid(m.uid) for m in messages], [Uid(m.uid) for m in placed], ModSeq(source.highest))


def rename(account: Account, old: str, new: str) -> None:
    target = account.rename(old, new)
    if target is not None:
        inbox = account.folder(INBOX)
        _move(account, inbox, inbox.find(inbox.messages), target)


def remove(account: Account, mailbox: MailboxId, uids: Sequence[Uid] | None, *, marked: bool) -> tuple[list[Uid], ModSeq]:
    """``marked``: only those with \\Deleted."""
    folder = account.by_id(mailbox)
    messages = folder.find(folder.messages if uids is None else uids)
    if marked:
        messages = [message for message in messages if message.flags & Flags.DELETED]
    if not messages:
        return [], ModSeq(folder.highest)
    modseq = arrive.remove(folder, messages)
    account.note("MessageExpunge", folder, uids=[message.uid for message in messages])
    return [Uid(message.uid) for message in messages], modseq


def claim_recent(account: Account, mailbox: MailboxId) -> Uid:
    return Uid(arrive.claim_recent(account.by_id(mailbox)))


def read(account: Account, reader: Reader, blob: BlobId, start: int, length: int | None) -> bytes:
    """Raises KeyError: it is gone, or nobody may read its file."""
    mailbox, uid = MailboxId(blob >> 32), blob & 0xFFFFFFFF
    found = account.path_of(mailbox, uid)
    for again in (True, False):
        try:
            if found is not None:
                return reader.read(blob, *found, start, length)
        except FileNotFoundError:
            pass  # renamed for a flag, or gone
        except OSError as exc:
            if exc.errno not in _BAD_FILE:
                raise
            _log.warning("maildir.unreadable", extra={"fields": {"file": exc.filename, "problem": exc.strerror}})
            raise KeyError(blob) from exc
        if again:
            with account.locked():
                try:
                    folder = account.by_id(mailbox)
                except NoSuchMailbox:
                    raise KeyError(blob) from None
                message = folder.messages.get(uid)
                found = None if message is None else (folder.file(message), message.size)
    raise KeyError(blob)
