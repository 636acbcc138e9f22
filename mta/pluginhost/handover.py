"""The octets of a message for a program: as its standard input, in the line, or as a file whose path it is told."""
# SPDX-License-Identifier: Apache-2.0

import base64
import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

from mta.model.errors import TemporaryFailure
from mta.pluginhost.jsonlines import INLINE
from mta.pluginhost.threads import Pool
from mta_hooks.views import Message

IN_MEMORY = 2**20
"""Octets up to which standard input is a file in memory, written in the loop; a larger one is a file, written in a thread."""


def octets_file(octets: bytes) -> int:
    """A descriptor that reads these octets. Raises TemporaryFailure."""
    try:
        fd = os.memfd_create("mta", os.MFD_CLOEXEC)
        _write(fd, octets)
    except OSError as exc:
        raise TemporaryFailure(f"no file for a program: {exc.strerror}") from exc
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


async def message_file(message: Message, pool: Pool) -> int:
    """A descriptor that reads the message. A file, not a pipe: nobody has to feed it, whenever and however far it is read."""
    if message.size <= IN_MEMORY:
        return octets_file(message.raw)
    return await pool.run(_on_disk, message)


def _on_disk(message: Message) -> int:
    try:
        with tempfile.TemporaryFile() as file:
            file.writelines(message.chunks())
            file.flush()
            os.fchmod(file.fileno(), 0o444)  # it has no name: only who is given it can open it again
            file.seek(0)
            return os.dup(file.fileno())
    except OSError as exc:
        raise TemporaryFailure(f"no file for a program: {exc.strerror}") from exc


def _write(fd: int, octets: bytes) -> None:
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]


class Handover:
    """Files for one process that stays, in a folder whose names can neither be guessed nor listed: to know one is to be told."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._folder = ""

    async def put(self, message: Message) -> dict[str, Any]:
        """What to add to the message's object: ``raw`` in base64, or ``file``, to be given to ``drop`` after the call."""
        if message.size <= INLINE:
            return {"raw": base64.b64encode(message.raw).decode("ascii")}
        return {"file": await self._pool.run(self._file, message.chunks())}

    async def put_octets(self, octets: bytes) -> dict[str, Any]:
        """The same of a body: ``body`` or ``file``."""
        if len(octets) <= INLINE:
            return {"body": base64.b64encode(octets).decode("ascii")}
        return {"file": await self._pool.run(self._file, (octets,))}

    def _file(self, chunks: Iterable[bytes]) -> str:
        try:
            if not self._folder:
                self._folder = tempfile.mkdtemp(prefix="mta-hook-")
                os.chmod(self._folder, 0o711)  # noqa: S103  # to be passed through, not to be listed
            path = os.path.join(self._folder, secrets.token_hex(16))
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444), "wb") as file:
                os.fchmod(file.fileno(), 0o444)
                file.writelines(chunks)
        except OSError as exc:
            raise TemporaryFailure(f"no file for a program: {exc.strerror}") from exc
        return path

    def drop(self, path: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(path)

    def close(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""
