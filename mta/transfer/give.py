"""An account's mailboxes as files: a Maildir++ tree, or an mbox for each folder.

The place is new or empty, so that nothing of anybody's is overwritten. A file has its name when it is complete and synced.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import IO

from mta.model.ids import ModSeq
from mta.model.mailbox import DELIMITER, MailboxInfo, Row
from mta.model.mailbox_name import INBOX
from mta.transfer.maildir import FLAGS, KEYWORDS, MOST_KEYWORDS, SUBSCRIPTIONS
from mta.wire import mbox
from mta.wire.imap.mailbox import encode_utf7
from mta.wire.mime.headers import header_end
from mta_hooks.backends.store import MailStore

_AT_ONCE = 4 * 2**20

Tell = Callable[[int], None]


async def _messages(store: MailStore, box: MailboxInfo) -> AsyncIterator[tuple[Row, bytes]]:
    batch: list[Row] = []
    octets = 0
    for row in (await store.changes(box.id, ModSeq(0))).rows:
        batch.append(row)
        octets += row.size
        if octets >= _AT_ONCE:
            for one, body in zip(batch, await store.read_many([row.blob for row in batch]), strict=True):
                yield one, body
            batch, octets = [], 0
    for one, body in zip(batch, await store.read_many([row.blob for row in batch]), strict=True):
        yield one, body


async def give_mbox(store: MailStore, boxes: Iterable[MailboxInfo], root: Path, tell: Tell) -> int:
    """``Sent/2024`` becomes ``Sent/2024.mbox``. Returns how many messages."""
    done = 0
    for box in boxes:
        path = root.joinpath(*map(_part, box.name.split(DELIMITER)))
        path = path.with_name(f"{path.name}.mbox")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.new")
        with _new(unfinished) as file:
            async for row, octets in _messages(store, box):
                _write_mbox(file, row, octets)
                done += 1
                tell(done)
            _sync(file)
        unfinished.rename(path)
    return done


def _write_mbox(file: IO[bytes], row: Row, octets: bytes) -> None:
    octets = octets.replace(b"\r\n", b"\n")
    end = header_end(octets)
    file.write(mbox.from_line(row.date))
    head = octets[:end]
    head = head.removesuffix(b"\n") if head.endswith(b"\n\n") or head == b"\n" else head
    file.writelines(map(mbox.quote, _lines(head)))
    if head and not head.endswith(b"\n"):
        file.write(b"\n")
    file.write(mbox.status_fields(row.flags, row.keywords) + b"\n")
    body = octets[end:]
    file.writelines(map(mbox.quote, _lines(body)))
    file.write(b"\n" if body.endswith(b"\n") or not body else b"\n\n")


def _lines(octets: bytes) -> list[bytes]:
    """Ends are LF alone: a bare CR, or a form feed, ends no line."""
    lines = [line + b"\n" for line in octets.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines


async def give_maildir(store: MailStore, boxes: Iterable[MailboxInfo], root: Path, tell: Tell) -> int:
    """Returns how many messages."""
    done = 0
    subscribed: list[str] = []
    for box in boxes:
        name = _folder(box.name)
        folder = root if box.name == INBOX else root / name
        for part in ("cur", "new", "tmp"):
            (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        if box.name != INBOX:
            (folder / "maildirfolder").touch(mode=0o600)
            if box.subscribed:
                subscribed.append(name[1:])
        table: list[str] = []
        async for row, octets in _messages(store, box):
            _write_message(folder, row, octets.replace(b"\r\n", b"\n"), table)
            done += 1
            tell(done)
        if table:
            (folder / KEYWORDS).write_text("".join(f"{number} {word}\n" for number, word in enumerate(table)), "utf-8")
        _sync_folder(folder / "cur")
    (root / SUBSCRIPTIONS).write_text("".join(f"{name}\n" for name in subscribed), "utf-8")
    return done


def _write_message(folder: Path, row: Row, octets: bytes, table: list[str]) -> None:
    host = socket.gethostname().replace("/", "\\057").replace(":", "\\072")
    stem = f"{max(row.date, 0)}.M0P{os.getpid()}U{row.uid}.{host},S={len(octets)},W={row.size}"
    for word in row.keywords.split():
        if word not in table and len(table) < MOST_KEYWORDS:
            table.append(word)
    letters = {letter for letter, flag in FLAGS.items() if row.flags & flag}
    letters |= {chr(97 + table.index(word)) for word in row.keywords.split() if word in table}
    unfinished = folder / "tmp" / stem
    with _new(unfinished) as file:
        file.write(octets)
        _sync(file)
    os.utime(unfinished, (row.date, row.date))
    unfinished.rename(folder / "cur" / f"{stem}:2,{''.join(sorted(letters))}")


def _folder(name: str) -> str:
    levels = (encode_utf7(level).decode("ascii").replace("\\", "\\5c").replace(".", "\\2e") for level in name.split(DELIMITER))
    return "." + ".".join(levels)


def _part(level: str) -> str:
    """A level as a file's name."""
    return f"_{level}" if level.startswith(".") else level


def _new(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
