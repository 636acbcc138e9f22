"""Locks: ``flock`` among our own processes, which the kernel releases when a holder dies; a dot-lock against Dovecot."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from mta.model.errors import TemporaryFailure
from mta_maildir import disk

WAIT = 30.0
STALE = 120.0
"""Seconds after which Dovecot, too, takes a lock file for left behind."""
_STEP = 0.02


def hold(fd: int, name: str) -> None:
    """Wait for the exclusive lock. Raises TemporaryFailure after half a minute."""
    until, step = time.monotonic() + WAIT, 0.0005
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise TemporaryFailure(f"{name}: locked for {WAIT:g} s") from None
        time.sleep(step)
        step = min(_STEP, step * 2)


@contextlib.contextmanager
def dotlock(path: str, mode: int) -> Iterator[str]:
    """Hold ``path.lock``; gives its name, which may be renamed over ``path``. Raises TemporaryFailure."""
    name, until = f"{path}.lock", time.monotonic() + WAIT
    while True:
        try:
            fd = disk.create(name, os.O_EXCL, mode)
            break
        except FileExistsError:
            if time.monotonic() > until:
                raise TemporaryFailure(f"{name}: locked for {WAIT:g} s") from None
            _break_stale(name)
        time.sleep(_STEP)
    try:
        mine = os.fstat(fd).st_ino
    finally:
        os.close(fd)
    try:
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(name).st_ino == mine:
                os.unlink(name)


def _break_stale(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if time.time() - os.stat(name).st_mtime > STALE:
            os.unlink(name)
