"""Notice changes from outside in folders that somebody has open: a look at times of folders and files every two seconds.

Not inotify: this works on NFS as well, costs six system calls for each open folder, and needs no watch for each of a million folders.
"""
# SPDX-License-Identifier: Apache-2.0

import threading
import time
from collections.abc import Callable, Sequence

from mta.model.errors import MailError
from mta.model.ids import MailboxId
from mta_maildir.account import Account
from mta_maildir.folder import Folder, Stamp, calm

EVERY = 2.0
OPEN = 60.0
"""Seconds for which a folder is looked at after it was last asked for; an IMAP session with IDLE asks every 15 seconds."""


class Watch:
    """``tell`` is called in the thread."""

    def __init__(self, accounts: Callable[[], Sequence[Account]], tell: Callable[[Sequence[MailboxId]], object]) -> None:
        self._accounts, self._tell = accounts, tell
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mta-maildir-watch", daemon=True)
        self._until: dict[MailboxId, float] = {}
        self._told: dict[MailboxId, Stamp] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def see(self, folder: Folder) -> None:
        """Somebody has it open."""
        self._until[folder.id] = time.monotonic() + OPEN

    def _run(self) -> None:
        while not self._end.wait(EVERY):
            now = time.monotonic()
            for mailbox in [mailbox for mailbox, until in self._until.copy().items() if until < now]:
                self._until.pop(mailbox, None)
                self._told.pop(mailbox, None)
            found = [mailbox for account in self._accounts() if self._until for mailbox in self._changed(account)]
            if found and not self._end.is_set():
                self._tell(found)

    def _changed(self, account: Account) -> list[MailboxId]:
        with account.unless_busy() as got:
            loaded = account.loaded() if got else []
            return [folder.id for folder in loaded if folder.id in self._until and self._differs(folder)]

    def _differs(self, folder: Folder) -> bool:
        try:
            stamp = folder.look()
        except (OSError, MailError):  # gone or away: who has it open finds out
            stamp = ()
        known = stamp == folder.stamp and (folder.settled or not calm(stamp))
        if known or self._told.get(folder.id) == stamp:
            return False
        self._told[folder.id] = stamp
        return True
