"""The dispatch lock: of all workers of one data_dir, the one that holds it runs the queue, the outbox and the maildrop."""
# SPDX-License-Identifier: Apache-2.0

import fcntl
import os
from pathlib import Path


class DispatchLock:
    """flock(2): released by the kernel when its holder dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> bool:
        """Take it if it is free."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        os.close(self._fd)
