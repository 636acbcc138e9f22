"""One Maildir folder in memory: its messages, and how it keeps to the files that others change too.

Everything here runs in a thread that holds the account's lock. ``sync`` comes first in every operation: it reads what our other
processes wrote to the journal, and looks into ``new`` and ``cur`` when their times, or Dovecot's files, say that somebody else was
there. Files are the truth about flags and existence, ``dovecot-uidlist`` about uids, the journal about the rest.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from mta.model.errors import NoSuchMailbox
from mta.model.ids import BlobId, MailboxId, ModSeq, Uid
from mta.model.mailbox import Changes, MailboxStatus, Row
from mta.model.message import Flags
from mta_maildir import disk
from mta_maildir import keywords as keyword_file
from mta_maildir import uidlist as uidlist_file
from mta_maildir.filename import flags_of, is_delivery, keywords_of, letters_of, split
from mta_maildir.journal import VERSION, Journal
from mta_maildir.uidlist import Uidlist

TOMBSTONES = 90 * 86400.0
"""Seconds for which an expunged uid is told by name, and a repeated delivery is known."""
SETTLED_NS = 2 * 10**9
"""Two changes within one tick of the file system's clock look like one: a look is final when it came so long after the last change."""

Stamp = tuple[int, ...]
"""Times of ``new`` and ``cur``; inode, size and time of the uidlist and of the keywords."""


def calm(stamp: Stamp) -> bool:
    """The last change is so long ago that a further one would show."""
    return not stamp or time.time_ns() - max(stamp[0], stamp[1], stamp[4], stamp[7]) > SETTLED_NS


class Message:
    """``name``: the file's; ``new``: in ``new``, else in ``cur``; ``keywords``: sorted, separated by spaces."""

    __slots__ = ("date", "flags", "keywords", "modseq", "name", "new", "size", "uid")

    def __init__(self, uid: int, modseq: int, date: int, size: int, name: str, *, new: bool, flags: int, keywords: str) -> None:
        self.uid, self.modseq, self.date, self.size = uid, modseq, date, size
        self.name, self.new, self.flags, self.keywords = name, new, flags, keywords


class Grave(NamedTuple):
    uid: int
    modseq: int
    at: float
    base: str


class Folder:
    def __init__(self, path: str, mailbox: MailboxId, guid: str, validity: int, mode: int) -> None:
        self.path, self.id, self.guid, self.validity, self.mode = path, mailbox, guid, validity, mode
        self.journal = Journal(path)
        self.uidlist = Uidlist(validity, guid=guid)
        self.table: list[str] = []
        self.stamp: Stamp = ()
        self.listed: Stamp = ()
        """The uidlist's part of the stamp when we read or wrote it last."""
        self.settled = False
        self._clear()

    def _clear(self) -> None:
        self.messages: dict[int, Message] = {}  # by the age of their last change
        self.bases: dict[str, int] = {}
        self.graves: list[Grave] = []
        self.delivered: set[str] = set()
        """Deliveries that came and went."""
        self.next_uid = self.highest = self.recent = 1
        self.forgotten = 0
        self._status: MailboxStatus | None = None

    def distrust(self) -> None:
        """A change failed halfway: the files and the journal say what happened, this memory does not."""
        self._clear()
        self.stamp = self.listed = ()
        self.journal.forget()

    # ---- files

    def file(self, message: Message) -> str:
        return f"{self.path}/{'new' if message.new else 'cur'}/{message.name}"

    def look(self) -> Stamp:
        """Raises NoSuchMailbox when the folder is gone."""
        stamp: list[int] = []
        try:
            stamp += [os.stat(f"{self.path}/{part}").st_mtime_ns for part in ("new", "cur")]
        except FileNotFoundError:
            if not os.path.isdir(self.path):
                raise NoSuchMailbox(self.path) from None
            for part in ("new", "cur", "tmp"):
                disk.make_folders(f"{self.path}/{part}", self.mode | (self.mode & 0o444) >> 2)
            return self.look()
        for name in (uidlist_file.NAME, keyword_file.NAME):
            try:
                state = os.stat(f"{self.path}/{name}")
            except FileNotFoundError:
                stamp += (0, 0, 0)
            else:
                stamp += (state.st_ino, state.st_size, state.st_mtime_ns)
        return tuple(stamp)

    # ---- what the journal says

    def read_journal(self) -> None:
        again, records = self.journal.news()
        if again:
            self._clear()
            self.stamp = ()
        first = True
        for record in records:
            if first:
                first, self.table = False, keyword_file.read(self.path)
            if record[0] == "H" and record[1:4] != [VERSION, self.guid, str(self.validity)]:
                self.distrust()  # of the mailbox that was here before
                return
            try:
                self._take(record)
            except (ValueError, IndexError):
                self.stamp = ()  # damaged: the folder itself says what is there

    def _take(self, record: list[str]) -> None:
        self._status = None
        kind = record[0]
        if kind == "M":
            _, uid, modseq, date, size, extra, place = record
            base, letters = split(place[2:])
            words = keywords_of(letters, self.table)
            message = Message(
                int(uid),
                int(modseq),
                int(date),
                int(size),
                place[2:],
                new=place[0] == "n",
                flags=flags_of(letters),
                keywords=" ".join(sorted({*words, *extra.split()})) if extra or words else "",
            )
            self.put(message, base)
        elif kind == "X":
            self.bury(Grave(int(record[1]), int(record[2]), float(record[3]), record[4]))
        elif kind == "S":
            self.stamp, self.settled = tuple(map(int, record[1:])), False
        elif kind == "N":
            self.next_uid, self.highest = max(self.next_uid, int(record[1])), max(self.highest, int(record[2]))
        elif kind == "R":
            self.recent = int(record[1])
        elif kind == "H":
            self.forgotten = int(record[4])

    def put(self, message: Message, base: str) -> None:
        """New, or changed."""
        self.messages.pop(message.uid, None)
        self.messages[message.uid] = message
        self.bases[base] = message.uid
        self.next_uid = max(self.next_uid, message.uid + 1)
        self.highest = max(self.highest, message.modseq)
        self._status = None

    def bury(self, grave: Grave) -> None:
        message = self.messages.pop(grave.uid, None)
        if message is not None and self.bases.get(split(message.name)[0]) == grave.uid:
            del self.bases[split(message.name)[0]]
        self.graves.append(grave)
        if is_delivery(grave.base):
            self.delivered.add(grave.base)
        self.next_uid = max(self.next_uid, grave.uid + 1)
        self.highest = max(self.highest, grave.modseq)
        self._status = None

    # ---- what goes into the journal

    def record(self, message: Message) -> str:
        extra = " ".join(word for word in message.keywords.split() if word not in self.table)
        place = "n" if message.new else "c"
        return f"M\t{message.uid}\t{message.modseq}\t{message.date}\t{message.size}\t{extra}\t{place}/{message.name}"

    def write(self, records: Iterable[str], *, stamp: Stamp | None = None) -> None:
        """Durable on return; ``stamp``: of before a look into the folder, absent: as the folder is now, after a change of ours."""
        self.stamp = self.look() if stamp is None else stamp
        self.settled = stamp is not None and calm(stamp)
        end = "\t".join(["S", *map(str, self.stamp)])
        worth = 4 * (len(self.messages) + len(self.graves)) + 1000
        if not self.journal.exists or self.journal.lines > worth:
            self.journal.replace([*self._all(), end], self.mode)
        else:
            self.journal.append([*records, end], self.mode)

    def _all(self) -> Iterable[str]:
        old = time.time() - TOMBSTONES
        dropped = [grave for grave in self.graves if grave.at < old]
        if dropped:
            self.graves = [grave for grave in self.graves if grave.at >= old]
            self.delivered = {grave.base for grave in self.graves if is_delivery(grave.base)}
            self.forgotten = max(self.forgotten, *(grave.modseq for grave in dropped))
        yield f"H\t{VERSION}\t{self.guid}\t{self.validity}\t{self.forgotten}"
        yield f"N\t{self.next_uid}\t{self.highest}"
        yield f"R\t{self.recent}"
        for grave in self.graves:
            yield grave_record(grave)
        for message in self.messages.values():
            yield self.record(message)

    # ---- letters

    def letters(self, flags: int, words: Iterable[str], before: str = "") -> str:
        """Letters for a file name; keywords get one as long as there are any."""
        words = list(words)
        if any(word not in self.table for word in words) and len(self.table) < keyword_file.MOST:
            self.table = keyword_file.add(self.path, words, self.mode)
        letters = [chr(97 + self.table.index(word)) for word in words if word in self.table]
        unknown = [c for c in before if "a" <= c <= "z" and (ord(c) - 97 >= len(self.table) or not self.table[ord(c) - 97])]
        return letters_of(flags, [*letters, *unknown], before)

    # ---- answers

    def row(self, message: Message) -> Row:
        blob = BlobId(self.id << 32 | message.uid)
        return Row(Uid(message.uid), ModSeq(message.modseq), message.flags, message.keywords, message.date, message.size, blob)

    def find(self, uids: Iterable[int]) -> list[Message]:
        """Those that are there, ascending."""
        return [self.messages[uid] for uid in sorted(set(uids)) if uid in self.messages]

    def changes(self, since: int) -> Changes:
        rows, vanished = [], list[Uid]()
        if since <= 0:
            rows = [self.row(self.messages[uid]) for uid in sorted(self.messages)]
        elif since < self.highest:
            for message in reversed(self.messages.values()):
                if message.modseq <= since:
                    break
                rows.append(self.row(message))
            rows.sort()
            vanished = self._vanished(since)
        return Changes(self.validity, Uid(self.next_uid), ModSeq(self.highest), rows, vanished)

    def _vanished(self, since: int) -> list[Uid]:
        if since < self.forgotten:  # not all names of that time are known: name every uid that is not there (RFC 7162 §3.2.5.2)
            return [Uid(uid) for uid in range(1, self.next_uid) if uid not in self.messages]
        found = []
        for grave in reversed(self.graves):
            if grave.modseq <= since:
                break
            found.append(Uid(grave.uid))
        return sorted(set(found))

    def status(self) -> MailboxStatus:
        if self._status is None:
            rows = self.messages.values()
            gone = [m.size for m in rows if m.flags & Flags.DELETED]
            self._status = MailboxStatus(
                messages=len(rows),
                unseen=sum(not m.flags & Flags.SEEN for m in rows),
                deleted=len(gone),
                size=sum(m.size for m in rows),
                deleted_size=sum(gone),
                recent=sum(uid >= self.recent for uid in self.messages),
                uid_next=Uid(self.next_uid),
                uid_validity=self.validity,
                highest_modseq=ModSeq(self.highest),
            )
        return self._status


def grave_record(grave: Grave) -> str:
    return f"X\t{grave.uid}\t{grave.modseq}\t{grave.at:.0f}\t{grave.base}"
