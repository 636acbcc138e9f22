"""One account's Maildir: the folders, and the lock under which everything happens.

The lock is a thread lock within this process and ``flock`` on ``mta-lock`` among our processes; Dovecot does not know it, and has
its dot-locks where it shares a file with us. What a process knows of a folder is kept, and brought up to date by each operation.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator

from mta.model.errors import MailboxExists, MailboxNotAllowed, NoSuchMailbox, StorageDead, TemporaryFailure
from mta.model.ids import MailboxId, UserId
from mta.model.mailbox import DELIMITER, MAX_NAME, MailboxInfo
from mta.model.mailbox_name import INBOX, STANDARD, normalise_name, parents
from mta_maildir import disk, subscriptions, uidlist
from mta_maildir.folder import Folder
from mta_maildir.journal import identity
from mta_maildir.lock import dotlock, hold
from mta_maildir.names import folder_of, name_of
from mta_maildir.registry import Registry
from mta_maildir.sync import sync

LOCK = "mta-lock"
SPECIAL = "mta-special-use"
MARK = "maildirfolder"
MAKING = "mta-making"
GOING = "mta-deleted-"
_VALIDITY = "dovecot-uidvalidity"
_KNOWN_USES = {**dict(STANDARD), "Sent Messages": "\\Sent", "Sent Items": "\\Sent", "Spam": "\\Junk", "Deleted Messages": "\\Trash"}
_log = logging.getLogger("mta.maildir")


class Account:
    def __init__(self, user: UserId, root: str, registry: Registry) -> None:
        self.user, self.root = user, root
        self._registry = registry
        self._lock = threading.Lock()
        self.turn = asyncio.Lock()
        self._folders: dict[str, tuple[int, Folder]] = {}
        """By folder name, "" for INBOX; with the inode, by which one made anew is told from one that was there."""
        self.mode = 0o600
        self.events: list[dict[str, object]] = []
        self.changed: dict[MailboxId, None] = {}

    # ---- the lock

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Raises TemporaryFailure, OSError."""
        with self._lock:
            fd = self._open_lock()
            try:
                hold(fd, self.root)
                self.events, self.changed = [], {}
                yield
            except (OSError, TemporaryFailure, StorageDead):
                for folder in self.loaded():
                    folder.distrust()
                raise
            finally:
                os.close(fd)

    @contextlib.contextmanager
    def unless_busy(self) -> Iterator[bool]:
        """Within: True, and no operation of this process is at work on it."""
        got = self._lock.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                self._lock.release()

    def loaded(self) -> list[Folder]:
        """What this process knows of; may be out of date."""
        return [folder for _, folder in list(self._folders.values())]

    @property
    def size(self) -> int:
        """Messages in memory."""
        return sum(len(folder.messages) for folder in self.loaded())

    def path_of(self, mailbox: MailboxId, uid: int) -> tuple[str, int] | None:
        """Where the message lay when somebody looked last, and its size; without the lock."""
        for folder in self.loaded():
            if folder.id == mailbox and (message := folder.messages.get(uid)) is not None:
                return folder.file(message), message.size
        return None

    def _open_lock(self) -> int:
        path = f"{self.root}/{LOCK}"
        try:
            return disk.create(path, 0, 0o600)
        except FileNotFoundError:
            if self.user in self._registry.known:
                raise TemporaryFailure(f"{self.root}: the Maildir is gone; is its disk mounted?") from None
        disk.make_folders(self.root, 0o700)
        return disk.create(path, 0, 0o600)

    # ---- folders

    def folders(self) -> dict[str, Folder]:
        """All by mailbox name, as they are now on disk; a new account's are made."""
        if not os.path.isdir(f"{self.root}/cur"):
            self._make_account()
        found: dict[str, Folder] = {}
        seen: dict[MailboxId, str] = {}
        entries = [("", os.stat(self.root).st_ino)]
        with os.scandir(self.root) as listing:
            entries += sorted((entry.name, entry.inode()) for entry in listing if entry.name.startswith("."))
        for name, inode in entries:
            folder = self._folder(name, inode)
            if folder is None:
                continue
            try:
                shown = name_of(name) if name else INBOX
            except ValueError:
                _log.warning("maildir.name_unusable", extra={"fields": {"folder": self.root, "name": ascii(name)}})
                continue
            if folder.id in seen:  # copied by hand: two mailboxes must not be one
                folder = self._set_apart(name, inode, folder)
            seen[folder.id] = shown
            found[shown] = folder
        self._folders = {name: kept for name, kept in self._folders.items() if any(name == entry[0] for entry in entries)}
        return found

    def _folder(self, name: str, inode: int) -> Folder | None:
        path = f"{self.root}/{name}" if name else self.root
        kept = self._folders.get(name)
        if kept is not None and kept[0] == inode:
            return kept[1]
        if not os.path.isdir(f"{path}/cur"):
            return None
        self.mode = os.stat(self.root).st_mode & 0o666
        head = uidlist.head_of(path)
        if head is None:
            head = self._give_uidlist(path)
        folder = Folder(path, self._registry.number(self.user, *head), *head, self.mode)
        self._folders[name] = (inode, folder)
        return folder

    def _give_uidlist(self, path: str) -> tuple[str, int]:
        """First line for a folder that has none, or lacks a guid."""
        with dotlock(f"{path}/{uidlist.NAME}", self.mode):
            found = uidlist.read(path)
            if found is None:
                known = identity(path)  # a uidlist that was lost, and a journal that knows what it said
                found = uidlist.Uidlist(known[1], guid=known[0]) if known else uidlist.Uidlist(self._next_validity())
            found.guid = found.guid or uidlist.new_guid()
            names = sorted((uid, base) for base, uid in found.uids.items())
            uidlist.rewrite(path, found, names, self.mode)
        return found.guid, found.validity

    def _set_apart(self, name: str, inode: int, folder: Folder) -> Folder:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(folder.journal.path)
        found = uidlist.Uidlist(self._next_validity(), guid=uidlist.new_guid())
        with dotlock(f"{folder.path}/{uidlist.NAME}", self.mode):
            uidlist.rewrite(folder.path, found, (), self.mode)
        del self._folders[name]
        made = self._folder(name, inode)
        assert made is not None
        return made

    def folder(self, name: str) -> Folder:
        """Up to date. Raises NoSuchMailbox."""
        try:
            name = normalise_name(name)
            try:
                return self.current(self.folders()[name])
            except NoSuchMailbox:  # given new uids by somebody else
                return self.current(self.folders()[name])
        except (KeyError, MailboxNotAllowed):
            raise NoSuchMailbox(name) from None

    def by_id(self, mailbox: MailboxId) -> Folder:
        """Up to date. Raises NoSuchMailbox."""
        for _ in range(2):
            for _, folder in self._folders.values():
                if folder.id == mailbox:
                    return self.current(folder)
            self.folders()
        raise NoSuchMailbox(str(mailbox))

    def current(self, folder: Folder) -> Folder:
        try:
            sync(folder)
        except NoSuchMailbox:  # deleted, renamed or given new uids by somebody else
            self._folders = {name: kept for name, kept in self._folders.items() if kept[1] is not folder}
            for again in self.folders().values():
                if again.id == folder.id:
                    sync(again)
                    return again
            raise
        return folder

    def name(self, folder: Folder) -> str:
        return name_of(os.path.basename(folder.path)) if folder.path != self.root else INBOX

    def used(self) -> int:
        """Octets in all folders."""
        return sum(self.current(folder).status().size for folder in self.folders().values())

    # ---- making

    def _make_account(self) -> None:
        """What every new account has, INBOX last: by its ``cur`` a finished one is known."""
        self.mode = os.stat(self.root).st_mode & 0o666
        for name, use in STANDARD[1:]:
            if not os.path.isdir(f"{self.root}/{folder_of(name)}"):
                self._make_folder(folder_of(name), use)
        if not os.path.exists(f"{self.root}/{subscriptions.NAME}"):
            subscriptions.write(self.root, [name for name, _ in STANDARD], self.mode)
        self._make_folder("")

    def _make_folder(self, name: str, special_use: str = "") -> None:
        """Under a name that no reader shows, until it is whole."""
        path = f"{self.root}/{name}" if name else self.root
        building = f"{self.root}/{MAKING}" if name else self.root
        folder_mode = self.mode | (self.mode & 0o444) >> 2
        if name:
            shutil.rmtree(building, ignore_errors=True)
            disk.make_folders(building, folder_mode)
            disk.replace(f"{building}/{MARK}", b"", self.mode)
        for part in ("tmp", "new", "cur"):
            disk.make_folders(f"{building}/{part}", folder_mode)
        if uidlist.head_of(building) is None:
            guid, validity = self._give_uidlist(building)
            folder = Folder(building, self._registry.number(self.user, guid, validity), guid, validity, self.mode)
            folder.write(())
        if special_use:
            disk.replace(f"{building}/{SPECIAL}", special_use.encode() + b"\n", self.mode)
        if name:
            os.rename(building, path)
        disk.flush_folder(self.root)

    def _next_validity(self) -> int:
        """Above every one given in this account, in the file that Dovecot asks too: its name is the value."""
        given = [name for name in os.listdir(self.root) if name.startswith(f"{_VALIDITY}.")]
        values = [int(name.rpartition(".")[2], 16) for name in given if _is_hex(name.rpartition(".")[2])]
        value = max(int(time.time()), *(number + 1 for number in values), 1)
        for made in (_VALIDITY, f"{_VALIDITY}.{value:08x}"):
            with contextlib.suppress(FileExistsError):
                os.close(disk.create(f"{self.root}/{made}", os.O_EXCL, 0o444))
        for name in given:
            os.unlink(f"{self.root}/{name}")
        disk.flush_folder(self.root)
        return value

    def ensure(self, name: str) -> Folder:
        """The mailbox, made when missing."""
        if name not in self.folders():
            self._make(name)
        return self.folder(name)

    def _make(self, name: str, special_use: str = "") -> None:
        there = self.folders()
        for parent in parents(name):
            if parent not in there:
                self._make_folder(folder_of(parent))
                self.note("MailboxCreate", self.folders()[parent])
        self._make_folder(folder_of(name), special_use)
        self.note("MailboxCreate", self.folders()[name])

    # ---- mailboxes as clients see them

    def infos(self) -> list[MailboxInfo]:
        subscribed = subscriptions.read(self.root)
        found = {name: self._info(name, folder, name in subscribed) for name, folder in self.folders().items()}
        above = {parent for name in found for parent in parents(name)}
        for name in (subscribed | above) - found.keys():
            found[name] = MailboxInfo(MailboxId(0), self.user, name, 0, "", name in subscribed, exists=False)
        return sorted(found.values(), key=lambda info: (info.name != INBOX, info.name))

    def info(self, name: str) -> MailboxInfo:
        """Raises NoSuchMailbox."""
        folder = self.folder(name)
        name = self.name(folder)
        return self._info(name, folder, name in subscriptions.read(self.root))

    def _info(self, name: str, folder: Folder, subscribed: bool) -> MailboxInfo:
        octets = disk.read(f"{folder.path}/{SPECIAL}")
        use = _KNOWN_USES.get(name, "") if octets is None else octets.decode("ascii", "replace").strip()
        return MailboxInfo(folder.id, self.user, name, folder.validity, use, subscribed)

    def create(self, name: str, special_use: str) -> MailboxInfo:
        name = normalise_name(name)
        if name in self.folders():
            raise MailboxExists(name)
        self._make(name, special_use)
        return self.info(name)

    def delete(self, name: str) -> None:
        folder = self.folder(name)
        if folder.path == self.root:
            raise MailboxNotAllowed("INBOX cannot be deleted")
        self.note("MailboxDelete", folder)
        going = f"{self.root}/{GOING}{os.getpid()}-{time.monotonic_ns()}"
        os.rename(folder.path, going)
        disk.flush_folder(self.root)
        shutil.rmtree(going, ignore_errors=True)

    def rename(self, old: str, new: str) -> Folder | None:
        """With children. The new mailbox when ``old`` is INBOX: its messages are to be moved there."""
        there = self.folders()
        folder = self.folder(old)
        old, new = self.name(folder), normalise_name(new)
        if new in there:
            raise MailboxExists(new)
        if folder.path == self.root:
            self._make(new)
            return self.folder(new)
        below = old + DELIMITER
        if new.startswith(below):
            raise MailboxNotAllowed("a mailbox cannot become its own child")
        moving = {name: new + name[len(old) :] for name in sorted(there) if name == old or name.startswith(below)}
        for target in moving.values():
            if len(target) > MAX_NAME:
                raise MailboxNotAllowed("mailbox name too long")
            if normalise_name(target) in there:
                raise MailboxExists(target)
        targets = {name: folder_of(target) for name, target in moving.items()}
        for parent in parents(new):
            if parent not in there:
                self._make_folder(folder_of(parent))
                self.note("MailboxCreate", self.folders()[parent])
        for name, target in targets.items():
            os.rename(there[name].path, f"{self.root}/{target}")
        disk.flush_folder(self.root)
        now = self.folders()
        for name, target in moving.items():
            self.note("MailboxRename", now[target], details={"from": name})
        return None

    def subscribe(self, name: str, subscribed: bool) -> None:
        name = normalise_name(name)
        self.folders()
        if subscriptions.change(self.root, name, subscribed, self.mode):
            self.events.append({"event": "MailboxSubscribe" if subscribed else "MailboxUnSubscribe", "mailbox": name})

    # ---- what is told

    def note(self, event: str, folder: Folder, **fields: object) -> None:
        """The mailbox changed; ``fields`` as in MailboxEvent."""
        self.changed[folder.id] = None
        self.events.append({"event": event, "mailbox": self.name(folder), **fields})


def _is_hex(text: str) -> bool:
    return len(text) == 8 and all(c in "0123456789abcdef" for c in text.lower())
