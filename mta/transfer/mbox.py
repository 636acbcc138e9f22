"""mbox files: one, or a tree of them in which each is a folder."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mta.model.errors import MailError
from mta.model.message import Flags
from mta.spool.content import SpooledContent
from mta.transfer.take import Folder, Found, mailbox_name
from mta.wire import mbox
from mta.wire.mbox import Quoting

_IN_MEMORY = 2**20
_LONGEST_LINE = 2**20
_MOST_HEADER = 2**20
_BLANK = (b"\n", b"\r\n")
_INBOX_NAMES = ("inbox", "mbox")
_SUFFIX = re.compile(r"\.(mbox|mbx|sbd)\Z", re.IGNORECASE)


def folders(root: Path) -> Iterator[tuple[Folder, Path]]:
    """The mbox files below ``root``, by name: ``Sent``, ``Sent.mbox``, ``Sent.sbd/2024`` (Thunderbird)."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.name.startswith("."):
            continue
        if not path.stat().st_size or not is_mbox(path):
            continue
        levels = [_SUFFIX.sub("", part) for part in path.relative_to(root).parts]
        name = "INBOX" if len(levels) == 1 and levels[0].lower() in _INBOX_NAMES else mailbox_name(levels)
        yield Folder(name), path


def is_mbox(path: Path) -> bool:
    with path.open("rb") as file:
        return mbox.from_date(file.readline(_LONGEST_LINE)) is not None


def messages(file: IO[bytes], where: str, tmp: str, quoting: Quoting, tell: Callable[[int], None]) -> Iterator[Found]:
    """The messages of one file, in order. ``tell``: octets read, at each. Raises MailError for what is no mbox."""
    line = file.readline(_LONGEST_LINE)
    if not line:
        return
    date = mbox.from_date(line)
    if date is None:
        raise MailError(f'{where}: no mbox: it does not begin with a line like "From joe@example.org Tue Mar  1 09:04:00 2022"')
    number = 0
    read = len(line)
    while date is not None:
        number += 1
        message = _Message(tmp, quoting)
        begins, this, date = True, date, None
        while line := file.readline(_LONGEST_LINE):
            read += len(line)
            if begins and message.blank and (date := mbox.from_date(line)) is not None:
                break
            message.take(line, begins)
            begins = line.endswith(b"\n")
        found = message.found(this, f"{where}, message {number}")
        tell(read)
        if found is not None:
            yield found


class _Message:
    """Lines as they come; the blank line in front of the next From_ is not the message's."""

    def __init__(self, tmp: str, quoting: Quoting) -> None:
        self._quoting: Quoting = quoting
        self._content = SpooledContent(_IN_MEMORY, tmp)
        self._header: list[bytes] | None = []
        self._header_size = 0
        self._flags, self._keywords = Flags(0), frozenset[str]()
        self._pseudo = False
        self.blank = False

    def take(self, line: bytes, begins: bool) -> None:
        if self.blank:
            self.blank = False
            self._write(b"\r\n")
        if begins and line in _BLANK:
            self.blank = True
            return
        if line.endswith(b"\n"):
            line = line[: -2 if line.endswith(b"\r\n") else -1] + b"\r\n"
        self._write(mbox.unquote(line, self._quoting) if begins else line)

    def _write(self, line: bytes) -> None:
        if self._header is not None:
            self._header.append(line)
            self._header_size += len(line)
            if line != b"\r\n" and self._header_size < _MOST_HEADER:
                return
            self._end_header(self._header)
            return
        self._content.write(line)
        if self._content.full:
            self._content.spill()

    def _end_header(self, lines: list[bytes]) -> None:
        header = mbox.read_header(b"".join(lines))
        self._header = None
        self._flags, self._keywords, self._pseudo = header.flags, header.keywords, header.pseudo
        self._content.write(header.octets)

    def found(self, date: int, where: str) -> Found | None:
        if self._header is not None:
            self._end_header(self._header)
        self._content.finish()
        return None if self._pseudo else Found(self._content, self._flags, self._keywords, date, where)
