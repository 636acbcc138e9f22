"""Mail that ``mta-sendmail`` left in data_dir/maildrop while no server ran.

Everybody may write into the folder, so nothing in it is trusted: only regular files that are nobody's second name are
read, without following links, up to the size of a message; the file's owner is the submitter. A file is one line of JSON
(``{"sender": …, "recipients": […]}``, and as MAIL and RCPT have them ``notify``, ``ret``, ``envid``) and the message. Its queue id is made from its name and inode: a crash between
commit and unlink doubles nothing. Unknown recipients bounce to the sender; what hooks refuse, and what is no message, is
kept in data_dir/maildrop-bad and logged.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib
import json
import os
import pwd
import re
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mta.model.address import Address
from mta.model.errors import Refused, TemporaryFailure
from mta.model.ids import QueueId
from mta.obs.log import Log
from mta.pipeline.pipeline import Pipeline
from mta.pluginhost.flight import Recorder
from mta.wire.smtp.params import read_envid, read_notify, read_ret

POLL = 2.0
_AT_ONCE = 100
_HEAD = 1 << 20  # octets of the JSON line: 10,000 recipients
_ABANDONED = 86400.0  # seconds after which an unfinished file is nobody's any more
_NAME = re.compile(r"[0-9a-f][0-9a-f-]{0,99}\Z")
UNFINISHED = "tmp-"


class Malformed(Exception):
    """Not a file that mta-sendmail writes."""


@dataclass(frozen=True, slots=True)
class Drop:
    """One file, read."""

    id: QueueId
    uid: int
    sender: Address | None
    recipients: tuple[Address, ...]
    octets: bytes
    notify: frozenset[str] = frozenset()
    ret: str | None = None
    envid: str | None = None


def read_drop(path: Path, largest: int) -> Drop:
    """Raises Malformed with the reason, OSError when it is not there or not readable."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as stream:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise Malformed("not a regular file with one name")
        if found.st_size > largest + _HEAD:
            raise Malformed(f"larger than {largest} octets")
        head = stream.readline(_HEAD)
        octets = stream.read(largest + 1)
    if not head.endswith(b"\n") or len(octets) > largest:
        raise Malformed("too large")
    try:
        envelope: Any = json.loads(head)
        sender = Address.parse(envelope["sender"]) if envelope["sender"] else None
        recipients = tuple(Address.parse(text) for text in envelope["recipients"])
        notify = read_notify(envelope["notify"]) if "notify" in envelope else frozenset[str]()
        ret = read_ret(envelope["ret"]) if "ret" in envelope else None
        envid = read_envid(envelope["envid"]) if "envid" in envelope else None
    except (Refused, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise Malformed(f"malformed envelope: {exc}") from exc
    if not recipients:
        raise Malformed("no recipients")
    digest = hashlib.sha256(f"{path.name} {found.st_ino}".encode()).hexdigest()
    return Drop(QueueId(f"drop-{digest[:40]}"), found.st_uid, sender, recipients, octets, notify, ret, envid)


class Maildrop:
    def __init__(
        self,
        *,
        folder: Path,
        bad: Path,
        pipeline: Pipeline,
        hostname: str,
        largest: int,
        log: Log,
        recorder: Recorder | None = None,
    ) -> None:
        self._recorder = recorder or Recorder()
        self._folder, self._bad, self._pipeline = folder, bad, pipeline
        self._hostname, self._largest, self._log = hostname, largest, log

    async def run(self, sleep: Callable[[float], Any] = asyncio.sleep) -> None:
        """Look at start and every two seconds, until cancelled."""
        while True:
            try:
                await self.collect()
            except OSError as exc:
                self._log.error("maildrop.failed", folder=self._folder, problem=exc.strerror)
            await sleep(POLL)

    async def collect(self) -> int:
        """Take what is there now. Returns how many messages became ours."""
        taken = 0
        names = sorted(await asyncio.to_thread(os.listdir, self._folder))
        for name in names[:_AT_ONCE]:
            path = self._folder / name
            if name.startswith(UNFINISHED):
                self._sweep(path)
            elif not _NAME.match(name):
                self._set_aside(path, "not a name that mta-sendmail gives")
            elif await self._take(path):
                taken += 1
        return taken

    async def _take(self, path: Path) -> bool:
        try:
            drop = await asyncio.to_thread(read_drop, path, self._largest)
        except FileNotFoundError:
            return False
        except Malformed as exc:
            self._set_aside(path, str(exc))
            return False
        except OSError as exc:
            self._set_aside(path, exc.strerror or "cannot be read")
            return False
        user = f"{_name_of(drop.uid)}@{self._hostname}"
        try:
            with self._recorder.of("maildrop", path.name):
                await self._pipeline.inject(
                    origin="local",
                    sender=drop.sender,
                    recipients=drop.recipients,
                    octets=drop.octets,
                    user=user,
                    id=drop.id,
                    bounce=True,
                    notify=drop.notify,
                    ret=drop.ret,
                    envid=drop.envid,
                )
        except TemporaryFailure as exc:
            self._log.warning("maildrop.waiting", file=path.name, reason=str(exc))
            return False
        except Refused as exc:
            self._set_aside(path, str(exc.reply))
            return False
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._log.info("maildrop.taken", id=drop.id, user=user, recipients=len(drop.recipients), size=len(drop.octets))
        return True

    def set_aside(self, name: str, problem: str) -> None:
        """A file that killed the server, out of the way."""
        if _NAME.match(name) and (self._folder / name).exists():
            self._set_aside(self._folder / name, problem)

    def _set_aside(self, path: Path, problem: str) -> None:
        target = self._bad / f"{time.time_ns():x}-{path.name[:100]}"
        try:
            os.rename(path, target)
        except OSError as exc:
            self._log.error("maildrop.stuck", file=path.name, reason=exc.strerror)
            return
        self._log.error("maildrop.refused", file=path.name, reason=problem, kept=target)

    def _sweep(self, path: Path) -> None:
        """A sender that died while writing was told nothing; its file is of no use."""
        try:
            if time.time() - path.lstat().st_mtime > _ABANDONED:
                path.unlink()
        except OSError:
            return


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid{uid}"
