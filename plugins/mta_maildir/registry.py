"""Numbers of mailboxes, never given twice: the position in a file that only grows, one for all accounts and processes.

A mailbox is what its ``dovecot-uidlist`` says it is: account, guid, uidvalidity. Renamed, it keeps all three and hence its number;
with other uids it is another mailbox. 28 octets for each mailbox that ever was; a name in memory for each, about 150 octets.
"""
# SPDX-License-Identifier: Apache-2.0

import fcntl
import os
import struct
import threading

from mta.model.ids import MailboxId, UserId
from mta_maildir import disk
from mta_maildir.lock import hold

_RECORD = struct.Struct(">Q16sI")
Key = tuple[UserId, str, int]
"""Account, guid, uidvalidity."""


class Registry:
    def __init__(self, path: str) -> None:
        self._path = path
        os.close(disk.create(path, 0, 0o600))
        self._fd = os.open(path, os.O_RDWR | os.O_APPEND)
        self._lock = threading.Lock()
        self._keys: list[Key] = []
        self._ids: dict[Key, int] = {}
        self.known: set[UserId] = set()
        """Accounts that have, or had, a Maildir."""
        self._read()

    def close(self) -> None:
        os.close(self._fd)

    def _read(self) -> None:
        while octets := os.pread(self._fd, _RECORD.size * 4096, len(self._keys) * _RECORD.size):
            whole = len(octets) // _RECORD.size
            for at in range(whole):
                user, guid, validity = _RECORD.unpack_from(octets, at * _RECORD.size)
                key = (UserId(user), guid.hex(), validity)
                self._keys.append(key)
                self._ids[key] = len(self._keys)
                self.known.add(key[0])
            if not whole:
                return

    def number(self, user: UserId, guid: str, validity: int) -> MailboxId:
        """Its number, given now if it has none."""
        key = (user, guid, validity)
        with self._lock:
            if key not in self._ids:
                self._add(key)
            return MailboxId(self._ids[key])

    def _add(self, key: Key) -> None:
        hold(self._fd, self._path)
        try:
            self._read()
            if key in self._ids:
                return
            os.ftruncate(self._fd, len(self._keys) * _RECORD.size)  # what a crash left half
            os.write(self._fd, _RECORD.pack(key[0], bytes.fromhex(key[1]), key[2]))
            disk.flush(self._fd, self._path)
            self._read()
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def find(self, mailbox: MailboxId) -> Key | None:
        if not 0 < mailbox < 2**31:
            return None
        with self._lock:
            if mailbox > len(self._keys):
                self._read()
            return self._keys[mailbox - 1] if mailbox <= len(self._keys) else None
