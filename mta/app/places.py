"""Where things are in data_dir, who may reach them, and socket paths longer than the kernel takes."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from mta.app.privileges import Account

_LONGEST_SOCKET_PATH = 100
"""sun_path has 108 octets; some room for names that are made from it."""


class Places:
    """Paths below one data_dir."""

    def __init__(self, data_dir: str) -> None:
        self.data_dir = Path(data_dir)
        self.run = self.data_dir / "run"
        self.bus = self.run / "bus"
        self.control = self.run / "control.sock"
        self.sendmail = self.run / "sendmail.sock"
        self.dispatch_lock = self.run / "dispatch.lock"
        self.flight = self.run / "dispatch.flight"
        self.health = self.run / "health.json"
        self.maildrop = self.data_dir / "maildrop"
        self.maildrop_bad = self.data_dir / "maildrop-bad"
        self.tmp = self.data_dir / "tmp"
        self.tls = self.data_dir / "tls"

    def prepare(self, account: Account | None = None) -> None:
        """Make the folders; give them, and what root made before, to ``account``. Raises OSError.

        Local users reach the sendmail socket and may drop files into maildrop, but not list it or take from it.
        """
        if not self.data_dir.is_dir():
            self.data_dir.mkdir(mode=0o711, parents=True)
            self.data_dir.chmod(0o711)
        modes = {
            self.run: 0o755,
            self.bus: 0o700,
            self.maildrop: 0o1733,
            self.maildrop_bad: 0o700,
            self.tmp: 0o700,
            self.tls: 0o700,
        }
        for folder, mode in modes.items():
            folder.mkdir(mode=mode, exist_ok=True)
            if stat.S_IMODE(folder.stat().st_mode) != mode:
                folder.chmod(mode)
        if account is not None:
            self._give(account)

    def _give(self, account: Account) -> None:
        """``mta user add`` as root before the first start leaves files of root's. Files in maildrop stay their senders'."""
        os.chown(self.data_dir, account.uid, account.gid)
        for entry in self.data_dir.iterdir():
            if entry in (self.tls, self.data_dir / "plugins") or entry.lstat().st_uid not in (0, account.uid):
                continue
            os.chown(entry, account.uid, account.gid, follow_symlinks=False)
            if entry != self.maildrop and entry.is_dir() and not entry.is_symlink():
                for folder, folders, files in os.walk(entry):
                    for name in folders + files:
                        os.chown(os.path.join(folder, name), account.uid, account.gid, follow_symlinks=False)


@contextlib.contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Yield a name for the socket ``path`` that fits into ``sun_path``, whatever its length."""
    text = str(path)
    if len(os.fsencode(text)) <= _LONGEST_SOCKET_PATH:
        yield text
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
