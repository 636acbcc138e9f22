"""What goes: the Maildirs of deleted accounts, after a while; files that never left ``tmp``."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import json
import os
import shutil
import time
from collections.abc import Sequence

from mta_maildir import disk
from mta_maildir.account import GOING, Account

_LEFT_OVER = 36 * 3600.0
"""Seconds after which a file in ``tmp`` is nobody's (https://cr.yp.to/proto/maildir.html)."""


def set_aside(root: str, ledger: str, user: int) -> None:
    """Under another name, so that a new account with this address begins anew; ``ledger`` says what to remove when."""
    now = time.time()
    aside = f"{os.path.dirname(root)}/.deleted-{os.path.basename(root)}-{user}-{int(now)}"
    line = json.dumps({"path": aside, "at": now}) + "\n"
    fd = disk.create(ledger, os.O_APPEND, 0o600)
    try:
        os.write(fd, line.encode())
        disk.flush(fd, ledger)
    finally:
        os.close(fd)
    with contextlib.suppress(FileNotFoundError):
        os.rename(root, aside)
        disk.flush_folder(os.path.dirname(root))


def sweep(accounts: Sequence[Account], ledger: str, now: float, undelete: float) -> None:
    octets = disk.read(ledger)
    entries = [json.loads(line) for line in (octets or b"").splitlines()]
    kept = []
    for entry in entries:
        if entry["at"] < now - undelete:
            shutil.rmtree(entry["path"], ignore_errors=True)
        else:
            kept.append(entry)
    if len(kept) < len(entries):
        disk.replace(ledger, "".join(json.dumps(entry) + "\n" for entry in kept).encode(), 0o600)
    for account in accounts:
        _remove_left(account.root, now - _LEFT_OVER)
        for path in {account.root, *(folder.path for folder in account.loaded())}:
            _empty(os.path.join(path, "tmp"), now - _LEFT_OVER)


def _remove_left(root: str, before: float) -> None:
    """Folders whose removal a crash cut short."""
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith(GOING) and entry.stat(follow_symlinks=False).st_ctime < before:
                shutil.rmtree(entry.path, ignore_errors=True)


def _empty(folder: str, before: float) -> None:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (
                entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_ctime < before
            ):  # mtime is the message's
                os.unlink(entry.path)
