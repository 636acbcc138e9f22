"""Identifiers that must not be mixed up: each its own type, checked by mypy, free at run time."""
# SPDX-License-Identifier: Apache-2.0

from typing import NewType

QueueId = NewType("QueueId", str)
"""Names one accepted message in replies, log, trace and queue. 1-64 characters of ``[A-Za-z0-9-]``."""

UserId = NewType("UserId", int)
MailboxId = NewType("MailboxId", int)
BlobId = NewType("BlobId", int)
"""The octets of one message as stored once, however many mailboxes and queue rows name it."""

Uid = NewType("Uid", int)
"""32-bit, only grows within a mailbox, never given twice (RFC 9051 §2.3.1.1)."""

ModSeq = NewType("ModSeq", int)
"""63-bit, per mailbox; every change takes the next one (RFC 7162 §3.1)."""
