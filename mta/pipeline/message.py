"""A message as hooks see it (mta_hooks.views.Message): octets at hand, header parsed when somebody looks."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Sequence
from typing import Any

from mta.model.address import Address
from mta.model.ids import QueueId
from mta.model.message import Content, Origin
from mta.pipeline.header import parse_fields, read_head
from mta.spool.content import join


class MailMessage:
    """Read-only for hooks; the pipeline replaces ``head`` between the stages.

    head       header fields as octets, without the empty line; lowered: the same in lower case, for cheap tests
    notes      those of the transaction
    transaction  the one it came in, for ``verdict_override``
    """

    __slots__ = (
        "_content",
        "_head",
        "_headers",
        "_joined",
        "_lowered",
        "_separator",
        "_start",
        "id",
        "notes",
        "origin",
        "sender",
        "transaction",
    )

    def __init__(self, id: QueueId, origin: Origin, sender: Address | None, content: Content, notes: dict[str, Any]) -> None:
        self.id = id
        self.origin: Origin = origin
        self.sender = sender
        self.notes = notes
        self.transaction: object = None
        self._content = content
        self._head, self._separator, self._start = read_head(content)
        self._headers: list[tuple[str, str]] | None = None
        self._lowered: bytes | None = None
        self._joined: Content | None = content

    @property
    def head(self) -> bytes:
        return self._head

    @head.setter
    def head(self, octets: bytes) -> None:
        self._head = octets
        self._headers = self._joined = self._lowered = None

    @property
    def lowered(self) -> bytes:
        if self._lowered is None:
            self._lowered = b"\n" + self._head.lower()
        return self._lowered

    def count(self, name: bytes) -> int:
        """How many fields of this lower-case name there are, by a search in the octets."""
        return self.lowered.count(b"\n" + name + b":")

    @property
    def body(self) -> tuple[bytes, Content, int]:
        """What follows the header: octets that go first, and a content from an offset on."""
        return self._separator, self._content, self._start

    def set_body(self, content: Content, start: int = 0, separator: bytes = b"") -> None:
        """Another body, the empty line in front of it included; for the pipeline, as ``head``."""
        self._separator, self._content, self._start = separator, content, start
        self._joined = None

    def content(self, top: bytes = b"") -> Content:
        """The message as it is now, with ``top`` in front."""
        return join(top + self._head + self._separator, self._content, self._start)

    def _whole(self) -> Content:
        if self._joined is None:
            self._joined = self.content()
        return self._joined

    @property
    def size(self) -> int:
        return self._whole().size

    @property
    def raw(self) -> bytes:
        return self._whole().raw()

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        return self._whole().chunks(size)

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        if self._headers is None:
            self._headers = parse_fields(self._head)
        return self._headers

    def header(self, name: str) -> str | None:
        return next(iter(self.header_all(name)), None)

    def header_all(self, name: str) -> list[str]:
        lowered = name.lower()
        return [value for known, value in self.headers if known.lower() == lowered]
