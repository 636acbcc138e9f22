"""Putting found messages into an account's mailboxes: what is there already is not added again, what was added is durable.

A message is there when one with its date, its size and its Message-ID is; without Message-ID: the same octets. Each that is there
answers for one that comes, so a source that has a message twice has it twice here, and a second run adds nothing. Whatever
interrupts a run, the next goes on: batches are added whole, and nothing is deleted anywhere.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from dataclasses import dataclass, field

from mta.model.directory import User
from mta.model.errors import MailboxNotAllowed, MailError, NoSuchMailbox, OverQuota
from mta.model.ids import BlobId, MailboxId, ModSeq
from mta.model.mailbox import DELIMITER, MAX_DEPTH, MAX_NAME, MailboxInfo, NewMessage
from mta.model.mailbox_name import INBOX, normalise_name
from mta.model.message import Content, Flags
from mta.wire.mime.headers import fields, unfold
from mta_hooks.backends.store import MailStore

_BATCH, _BATCH_OCTETS = 100, 4 * 2**20
_HEAD = 64 * 1024

Key = tuple[int, int]
"""(date, size)"""


@dataclass(frozen=True, slots=True)
class Found:
    """One message of a source. ``where``: how the operator finds it."""

    content: Content
    flags: Flags
    keywords: frozenset[str]
    date: int
    where: str


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder of a source, its name as ours would be: levels separated by "/"."""

    name: str
    special_use: str = ""
    subscribed: bool = True


@dataclass(slots=True)
class Summary:
    """What a run did. ``skipped``: where, and why."""

    folders: int = 0
    added: int = 0
    present: int = 0
    octets: int = 0
    skipped: list[str] = field(default_factory=list)


def message_id_of(head: bytes) -> bytes:
    """Of the first octets of a message; b"" without."""
    for one in fields(head):
        if one.name == b"message-id":
            return unfold(head[one.value : one.end])
    return b""


def crlf(octets: bytes) -> bytes:
    """Every line with the line end that mail has."""
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def mailbox_name(levels: list[str]) -> str:
    """A name that we can have, for one that another server or a disk had. Characters that no mailbox may have become "_"."""
    clean = [
        "".join("_" if c in "*%/\x7f" or c < " " or "\ud800" <= c <= "\udfff" else c for c in level) for level in levels if level
    ]
    name = DELIMITER.join(clean[:MAX_DEPTH])[:MAX_NAME].rstrip(DELIMITER)
    return normalise_name(name or INBOX)


class Taker:
    """Takes for one account. ``tell`` is called after each commit with how many messages are done."""

    def __init__(self, store: MailStore, user: User, summary: Summary, tell: Callable[[int], None] = lambda _done: None) -> None:
        self.store = store
        self.user = user
        self.summary = summary
        self.tell = tell

    async def open(self, folder: Folder) -> "Target":
        """The mailbox for a folder, made when missing: of the same special use (RFC 6154), else of the same name."""
        boxes = [box for box in await self.store.mailboxes(self.user.id) if box.exists]
        named = next((box for box in boxes if box.name == folder.name), None)
        special = next((box for box in boxes if folder.special_use and box.special_use == folder.special_use), None)
        box = special or named
        if box is None:
            box = await self._create(folder)
            if folder.subscribed:
                await self.store.subscribe(self.user.id, folder.name, True)
        self.summary.folders += 1
        known: dict[Key, list[BlobId]] = {}
        for row in (await self.store.changes(box.id, ModSeq(0))).rows:
            known.setdefault((row.date, row.size), []).append(row.blob)
        return Target(self, box.id, box.name, known)

    async def _create(self, folder: Folder) -> MailboxInfo:
        try:
            return await self.store.create(self.user.id, folder.name, folder.special_use)
        except MailboxNotAllowed as exc:
            raise MailError(f"{folder.name}: no mailbox can be called so: {exc}. Name one with --folder.") from exc

    def done(self) -> None:
        self.tell(self.summary.added + self.summary.present + len(self.summary.skipped))


class Target:
    """One mailbox that is filled."""

    def __init__(self, taker: Taker, mailbox: MailboxId, name: str, known: dict[Key, list[BlobId]]) -> None:
        self._taker = taker
        self._mailbox = mailbox
        self.name = name
        self._known = known
        self._batch: list[NewMessage] = []
        self._octets = 0

    async def has(self, date: int, size: int, message_id: bytes, content: Content | None = None) -> bool:
        """Whether it is there; it then answers for this one and no other. Without Message-ID and ``content``: not known, False."""
        blobs = self._known.get((date, size))
        if not blobs or not (message_id or content):
            return False
        for blob in blobs:
            if message_id:
                same = message_id_of(await self._taker.store.read(blob, 0, _HEAD)) == message_id
            else:
                same = content is not None and await self._taker.store.read(blob) == content.raw()
            if same:
                blobs.remove(blob)
                self._taker.summary.present += 1
                self._taker.done()
                return True
        return False

    async def add(self, found: Found) -> None:
        """Raises MailError when the account is full; what was added before is there then."""
        if not found.content.size:
            self.skip(f"{found.where}: empty")
            return
        message_id = message_id_of(next(iter(found.content.chunks(_HEAD))))
        if await self.has(found.date, found.content.size, message_id, found.content):
            return
        self._batch.append(NewMessage(found.content, found.flags, found.keywords, found.date))
        self._octets += found.content.size
        if len(self._batch) >= _BATCH or self._octets >= _BATCH_OCTETS:
            await self.flush()

    def skip(self, why: str) -> None:
        self._taker.summary.skipped.append(why)

    async def flush(self) -> None:
        """Add what waits; durable on return."""
        batch, self._batch, self._octets = self._batch, [], 0
        if not batch:
            return
        try:
            await self._append(batch)
        except OverQuota:
            await self._append_until_full(batch)
        except NoSuchMailbox as exc:
            raise MailError(f"{self.name}: the folder was deleted while mail came into it; run the command again") from exc

    async def _append_until_full(self, batch: list[NewMessage]) -> None:
        for message in batch:
            try:
                await self._append([message])
            except OverQuota as exc:
                address = self._taker.user.address
                raise MailError(
                    f"{address}: the account is full after {self._taker.summary.added} messages. "
                    f"Give it more with mta user quota {address} SIZE, and run the command again: it goes on where it stopped"
                ) from exc

    async def _append(self, batch: list[NewMessage]) -> None:
        await self._taker.store.append(self._mailbox, batch)
        self._taker.summary.added += len(batch)
        self._taker.summary.octets += sum(message.content.size for message in batch)
        self._taker.done()
