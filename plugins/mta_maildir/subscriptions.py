"""``subscriptions``: the names a reader wants to see. Version 2 (levels separated by tabs) is written; Dovecot's old form is kept as it is."""
# SPDX-License-Identifier: Apache-2.0

import os

from mta.model.errors import MailboxNotAllowed
from mta.model.mailbox import DELIMITER
from mta.model.mailbox_name import normalise_name
from mta.wire.imap.mailbox import decode_utf7, encode_utf7
from mta.wire.imap.scanner import Malformed
from mta_maildir import disk
from mta_maildir.lock import dotlock

NAME = "subscriptions"
_HEAD = b"V\t2\n\n"


def read(root: str) -> set[str]:
    return _parse(disk.read(os.path.join(root, NAME)))[0]


def _parse(octets: bytes | None) -> tuple[set[str], bool]:
    """Names, and whether the form is the new one."""
    if octets is None:
        return set(), True
    new = octets.startswith(_HEAD)
    found = set()
    for line in (octets[len(_HEAD) :] if new else octets).split(b"\n"):
        levels = line.split(b"\t" if new else b".")
        try:
            found.add(normalise_name(DELIMITER.join(_decode(level) for level in levels)))
        except (Malformed, MailboxNotAllowed, UnicodeDecodeError):
            continue
    return found, new


def _decode(level: bytes) -> str:
    return decode_utf7(level) if level.isascii() else level.decode("utf-8")


def change(root: str, name: str, subscribed: bool, mode: int) -> bool:
    """False: it was so already."""
    path = os.path.join(root, NAME)
    with dotlock(path, mode):
        names, new = _parse(disk.read(path))
        if (name in names) == subscribed:
            return False
        (names.add if subscribed else names.discard)(name)
        disk.replace(path, _format(names, new), mode)
    return True


def write(root: str, names: list[str], mode: int) -> None:
    """For a new account."""
    disk.replace(os.path.join(root, NAME), _format(set(names), new=True), mode)


def _format(names: set[str], new: bool) -> bytes:
    between = b"\t" if new else b"."
    lines = [between.join(encode_utf7(level) for level in name.split(DELIMITER)) + b"\n" for name in sorted(names)]
    return (_HEAD if new else b"") + b"".join(lines)
