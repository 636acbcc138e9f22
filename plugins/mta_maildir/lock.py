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
_MARK = b"mta\n"


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
def dotlock(path: str, mode: int) -> Iterator[None]:
    """Hold ``path.lock`` against Dovecot, within the account's lock. Raises TemporaryFailure.

    The account's lock keeps our own processes apart, so a lock file with our mark is one that a killed process left: it is taken
    away at once. The mark is in it from the start, since it comes by ``link``.
    """
    name, until = f"{path}.lock", time.monotonic() + WAIT
    while not _make(path, name, mode):
        if time.monotonic() > until:
            raise TemporaryFailure(f"{name}: locked for {WAIT:g} s")
        if not _break_stale(name):
            time.sleep(_STEP)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _make(path: str, name: str, mode: int) -> bool:
    made = f"{path}.mta-lock"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(made)  # its time must be of now: Dovecot goes by that
    fd = disk.create(made, os.O_EXCL, mode)
    try:
        os.write(fd, _MARK)
    finally:
        os.close(fd)
    try:
        os.link(made, name)
    except FileExistsError:
        return False
    except OSError:  # no hard links here
        return _make_alone(name, mode)
    finally:
        os.unlink(made)
    return True


def _make_alone(name: str, mode: int) -> bool:
    try:
        fd = disk.create(name, os.O_EXCL, mode)
    except FileExistsError:
        return False
    try:
        os.write(fd, _MARK)
    finally:
        os.close(fd)
    return True


def _break_stale(name: str) -> bool:
    """False: somebody holds it."""
    try:
        with open(name, "rb") as file:
            stale = file.read(len(_MARK) + 1) == _MARK or time.time() - os.fstat(file.fileno()).st_mtime > STALE
        if stale:
            os.unlink(name)
    except FileNotFoundError:
        return True
    return stale
