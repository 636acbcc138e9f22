"""EMAILID, THREADID, MAILBOXID (RFC 8474): names of what messages hold, of conversations, of mailboxes.

An email's id is that of its octets in the store, a mailbox's that of its row: both stay in COPY, MOVE and RENAME. A thread's is a digest of
the first message-id that a message refers to, or of its own: it needs no memory, is the same in every mailbox, and never
changes; a reply that names only its parent (no References field) begins a thread of its own.
"""
# SPDX-License-Identifier: Apache-2.0

from hashlib import sha256

from mta.model.ids import MailboxId
from mta.wire.imap.sort_keys import SortKeys


def email_id(blob: int) -> bytes:
    return b"M%d" % blob


def blob_of(email: str) -> int:
    """0, which is no blob's number, for an id that is none of ours."""
    digits = email[1:]
    return int(digits) if email[:1] == "M" and digits.isascii() and digits.isdecimal() and not digits.startswith("0") else 0


def mailbox_id(mailbox: MailboxId) -> bytes:
    return b"F%d" % mailbox


def thread_id(keys: SortKeys, blob: int) -> bytes:
    root = keys.references[0] if keys.references else keys.message_id
    if not root:
        return b"T%d" % blob
    return b"T" + sha256(root.encode("utf-8", "surrogatepass")).hexdigest()[:24].encode("ascii")
