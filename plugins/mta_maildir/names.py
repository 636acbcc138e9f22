"""Mailbox names as folders: ``Sent/2024`` is ``.Sent.2024``, in modified UTF-7; INBOX is the Maildir itself.

A dot or backslash within a level is written ``\\2e``, ``\\5c``, as Dovecot's ``listescape`` plugin does.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import re

from mta.model.errors import ConfigError, MailboxNotAllowed
from mta.model.mailbox import DELIMITER
from mta.model.mailbox_name import INBOX, normalise_name
from mta.wire.imap.mailbox import decode_utf7, encode_utf7
from mta.wire.imap.scanner import Malformed

LONGEST = 255
_ESCAPED = re.compile(r"\\([0-9a-fA-F]{2})")


def folder_of(name: str) -> str:
    """Raises MailboxNotAllowed when the file system has no room for the name."""
    levels = (encode_utf7(level).decode("ascii").replace("\\", "\\5c").replace(".", "\\2e") for level in name.split(DELIMITER))
    folder = "." + ".".join(levels)
    if len(folder) > LONGEST:
        raise MailboxNotAllowed("mailbox name too long for a folder")
    return folder


def name_of(folder: str) -> str:
    """Raises ValueError for a folder that no mailbox of ours can be."""
    levels = []
    for level in folder[1:].split("."):
        plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), level)
        try:
            levels.append(decode_utf7(plain.encode("ascii")) if plain.isascii() else plain)
        except Malformed as exc:
            raise ValueError(folder) from exc
    if any(DELIMITER in level for level in levels):
        raise ValueError(folder)
    try:
        name = normalise_name(DELIMITER.join(levels))
    except MailboxNotAllowed as exc:
        raise ValueError(folder) from exc
    if name == INBOX:
        raise ValueError(folder)
    return name


class Template:
    """``/srv/mail/%d/%n``: %d domain, %n local part in lower case, %u the whole address, %% a percent sign."""

    def __init__(self, url: str) -> None:
        self._text = url.removeprefix("maildir:")
        parts = re.split(r"(%.)", self._text)
        wrong = [part for part in parts if part.startswith("%") and part not in ("%d", "%n", "%u", "%%")]
        if not self._text.startswith("/") or wrong or not ("%u" in parts or {"%n", "%d"} <= set(parts)):
            raise ConfigError(
                "storage.mailboxes",
                "storage.mailboxes",
                f"{url!r} is no place of its own for each account",
                "write maildir:/srv/mail/%d/%n (%d domain, %n local part, %u address).",
            )
        self._parts = parts
        self.base = parts[0].rpartition("/")[0] or "/"
        """The folder that has to be there: below it we make what is missing."""

    def root(self, local: str, domain: str) -> str:
        values = {"%d": _safe(domain), "%n": _safe(local.lower()), "%u": _safe(f"{local.lower()}@{domain}"), "%%": "%"}
        return os.path.normpath("".join(values.get(part, part) for part in self._parts))


def _safe(text: str) -> str:
    """No account's name leads elsewhere: neither upwards nor into a folder of another."""
    text = text.replace("%", "%25").replace("/", "%2f").replace("\0", "%00")
    return f"%2e{text[1:]}" if text.startswith(".") else text
