"""Tagged answers: what a verb returns or raises (RFC 9051 §7.1; response codes: RFC 5530)."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.errors import (
    MailboxExists,
    MailboxNotAllowed,
    MailError,
    NoSuchMailbox,
    OverQuota,
    StorageFull,
    TemporaryFailure,
)
from mta.wire.imap.response import status_line


class Answer(Exception):
    """The command ends here with this tagged answer. ``octets`` is what follows the tag."""

    def __init__(self, octets: bytes) -> None:
        super().__init__(octets.decode("utf-8", "replace"))
        self.octets = octets


def ok(text: bytes, code: bytes = b"") -> bytes:
    return status_line(b"OK", code, text)


def no(text: bytes, code: bytes = b"") -> Answer:
    return Answer(status_line(b"NO", code, text))


def bad(text: bytes, code: bytes = b"") -> Answer:
    return Answer(status_line(b"BAD", code, text))


def readable(text: str) -> bytes:
    """A plugin's words as one line of printable ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in text).encode("ascii")


def of_error(error: MailError, *, target: bool = False) -> bytes:
    """The answer for a failure with a meaning. ``target``: the mailbox named is the target of APPEND, COPY or MOVE."""
    if isinstance(error, NoSuchMailbox):
        return status_line(b"NO", b"TRYCREATE" if target else b"NONEXISTENT", b"no such mailbox")
    if isinstance(error, MailboxExists):
        return status_line(b"NO", b"ALREADYEXISTS", b"mailbox exists already")
    if isinstance(error, MailboxNotAllowed):
        return status_line(b"NO", b"CANNOT", b"not possible with this name")
    if isinstance(error, OverQuota):
        return status_line(b"NO", b"OVERQUOTA", b"the account is full")
    if isinstance(error, StorageFull):
        return status_line(b"NO", b"OVERQUOTA", b"no room on the server for now")
    if isinstance(error, TemporaryFailure):
        return status_line(b"NO", b"UNAVAILABLE", b"try again later")
    return SERVERBUG


SERVERBUG = b"NO [SERVERBUG] internal error, it has been logged"
