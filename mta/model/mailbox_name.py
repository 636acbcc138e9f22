"""Mailbox names: one spelling, what is refused (RFC 9051 §5.1), and what a new account has. Every store keeps to this."""
# SPDX-License-Identifier: Apache-2.0

import unicodedata
from functools import lru_cache

from mta.model.errors import MailboxNotAllowed
from mta.model.mailbox import DELIMITER, MAX_DEPTH, MAX_NAME

INBOX = "INBOX"

STANDARD = (
    (INBOX, ""),
    ("Drafts", "\\Drafts"),
    ("Sent", "\\Sent"),
    ("Junk", "\\Junk"),
    ("Trash", "\\Trash"),
    ("Archive", "\\Archive"),
)
"""What a new account has, with special use (RFC 6154)."""


@lru_cache(maxsize=4096)
def normalise_name(name: str) -> str:
    """Return NFC with INBOX in capitals. Raises MailboxNotAllowed for what no LIST pattern could name or no client show."""
    if not name.isascii():
        name = unicodedata.normalize("NFC", name)
    levels = name.split(DELIMITER)
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    if not all(levels):
        raise MailboxNotAllowed("empty level in the mailbox name")
    if len(levels) > MAX_DEPTH or len(name) > MAX_NAME:
        raise MailboxNotAllowed("mailbox name too long or too deep")
    if any(c in "*%\x7f" or c < " " or "\ud800" <= c <= "\udfff" for c in name):
        raise MailboxNotAllowed("character not allowed in a mailbox name")
    return DELIMITER.join(levels)


def parents(name: str) -> list[str]:
    """The names above, outermost first."""
    levels = name.split(DELIMITER)
    return [DELIMITER.join(levels[:depth]) for depth in range(1, len(levels))]
