"""``dovecot-uidlist``: which message has which UID. Version 3, as Dovecot writes it; version 1 is read.

    3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
    25006 :1276528487.M364837P9451.kurkku,S=1355,W=1394:2,

Lines are added at the end; the N of the first line is then too small, and counts only where it is greater than what the lines
say. Fields between the UID and the colon (``W1394``) are Dovecot's and stay. A line whose file is gone does no harm.
Written under ``dovecot-uidlist.lock``, by appending or anew.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from mta_maildir import disk
from mta_maildir.filename import split

NAME = "dovecot-uidlist"


@dataclass(slots=True)
class Uidlist:
    """``uids``: by name for life. ``fields``: what Dovecot says of some lines."""

    validity: int
    next_uid: int = 1
    guid: str = ""
    uids: dict[str, int] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)

    def add(self, base: str, uid: int, more: str = "") -> None:
        self.uids[base] = uid
        if more:
            self.fields[base] = more
        self.next_uid = max(self.next_uid, uid + 1)

    def head(self) -> str:
        return f"3 V{self.validity} N{self.next_uid} G{self.guid}\n"

    def line(self, base: str, uid: int, name: str) -> str:
        more = self.fields.get(base, "")
        return f"{uid} {more + ' ' if more else ''}:{name}\n"


def new_guid() -> str:
    return secrets.token_hex(16)


def parse(octets: bytes) -> Uidlist | None:
    """None: not one. A last line without its end is one that is just being written."""
    whole = octets[: octets.rfind(b"\n") + 1].decode("utf-8", "surrogateescape").split("\n")
    head = whole[0].split(" ")
    try:
        if head[0] == "1":
            found = Uidlist(int(head[1]), int(head[2]))
        elif head[0] == "3":
            values = {word[0]: word[1:] for word in head[1:] if word}
            guid = values.get("G", "").lower()
            found = Uidlist(int(values["V"]), int(values.get("N", "1")), guid if _is_guid(guid) else "")
        else:
            return None
    except (ValueError, IndexError, KeyError):
        return None
    if not 0 < found.validity < 2**32:
        return None
    for line in whole[1:]:
        _take(found, line, head[0])
    return found


def _is_guid(text: str) -> bool:
    return len(text) == 32 and all(c in "0123456789abcdef" for c in text)


def _take(found: Uidlist, line: str, version: str) -> None:
    if version == "1":
        number, _, name = line.partition(" ")
        more = ""
    else:
        before, colon, name = line.partition(":")
        number, _, more = before.strip().partition(" ")
        if not colon:
            return
    if name and number.isdecimal() and 0 < int(number) < 2**32:
        found.add(split(name)[0], int(number), more)


def head_of(folder: str) -> tuple[str, int] | None:
    """(guid, validity) by the first line alone; None: there is none, or it lacks a guid."""
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            found = parse(file.readline(500))
    except FileNotFoundError:
        return None
    return (found.guid, found.validity) if found is not None and found.guid else None


def read(folder: str) -> Uidlist | None:
    octets = disk.read(os.path.join(folder, NAME))
    return None if octets is None else parse(octets)


def append(folder: str, lines: Iterable[str], mode: int) -> None:
    """Under the lock."""
    fd = disk.create(os.path.join(folder, NAME), os.O_APPEND, mode)
    try:
        octets = "".join(lines).encode("utf-8", "surrogateescape")
        size = os.fstat(fd).st_size
        if os.write(fd, octets) != len(octets):
            os.ftruncate(fd, size)
            raise OSError(28, "No space left on device", NAME)
    finally:
        os.close(fd)


def rewrite(folder: str, uidlist: Uidlist, names: Iterable[tuple[int, str]], mode: int) -> None:
    """Under the lock. ``names``: uids with full names, ascending."""
    lines = [uidlist.head(), *(uidlist.line(split(name)[0], uid, name) for uid, name in names)]
    disk.replace(os.path.join(folder, NAME), "".join(lines).encode("utf-8", "surrogateescape"), mode)
