"""A message as a search index takes it, and what an index answers.

Everything is folded text (``mta.wire.mime.searchable.fold``): index and matcher compare the same characters.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from mta.model.ids import BlobId

FIELDS = ("subject", "from", "to", "cc", "bcc")
"""Header fields that are kept as columns of their own."""


@dataclass(frozen=True, slots=True)
class Document:
    """One message.

    fields    the values of each field of ``FIELDS``, a line for each occurrence; None: too long to be kept
    text      header lines and readable parts, a line for each
    complete  ``text`` holds all of it; False: it was cut, so that the message is a candidate always
    keys      what SORT and THREAD look at; opaque to the index
    """

    blob: BlobId
    fields: tuple[str | None, ...]
    text: str
    complete: bool
    keys: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """Which messages hold a text.

    position  messages with a higher id are not known yet: any of them may match
    sure      match for certain
    unsure    may match; every other one up to ``position`` does not
    """

    position: int
    sure: AbstractSet[int]
    unsure: AbstractSet[int]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Messages above a position, ascending: ids with octets in a mailbox, and their sizes.

    upto     every message up to here is among them, or held by no mailbox
    unheld   those that no mailbox holds at present: in the queue, say
    newest   the highest id given so far
    """

    held: list[tuple[BlobId, int]]
    unheld: list[BlobId]
    upto: int
    newest: int
