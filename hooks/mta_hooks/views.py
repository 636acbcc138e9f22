"""What hooks see: read-only faces of a session, a transaction, a message. Edits are returned, never made on these."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mta.model.address import Address
from mta.model.message import Origin, Recipient


class Session(Protocol):
    """One connection, whatever its protocol."""

    id: str
    """Joins log lines and traces."""
    protocol: str
    """"smtp", "submission", "lmtp", "imap", "pop3", "local"."""
    client_ip: str
    """"" for Unix sockets."""
    client_port: int
    local_ip: str
    local_port: int
    tls: bool
    helo: str
    """"" before HELO, EHLO or LHLO."""
    user: str
    """Canonical address of the authenticated account, "" before."""
    notes: dict[str, Any]
    """Free for plugins, namespaced by plugin name by convention; lives as long as the connection."""


class Transaction(Protocol):
    """One mail transaction: from MAIL until its end or RSET."""

    id: str
    """The queue id that the message will have."""
    origin: Origin
    sender: Address | None
    """None is the null sender."""
    recipients: Sequence[Recipient]
    params: Mapping[str, str | None]
    """MAIL parameters, keywords upper-cased, values verbatim."""
    notes: dict[str, Any]


class Message(Protocol):
    """A complete message: header fields and octets."""

    id: str
    origin: Origin
    sender: Address | None
    size: int
    notes: dict[str, Any]

    @property
    def raw(self) -> bytes:
        """All octets, CRLF line ends."""
        ...

    def chunks(self, size: int = 65536) -> Iterator[bytes]: ...

    @property
    def headers(self) -> Sequence[tuple[str, str]]:
        """Header fields in order: name as written, value unfolded, octets decoded as UTF-8 with surrogateescape."""
        ...

    def header(self, name: str) -> str | None:
        """First value of this name, or None."""
        ...

    def header_all(self, name: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Tls:
    """What a handshake came to. ``certificate``: the client's in DER, None when it sent none."""

    version: str
    """"TLSv1.3"."""
    cipher: str
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class MailboxEvent:
    """Something happened in a mailbox; names of RFC 5423 §4: MessageNew, MessageAppend, MessageExpunge, FlagsSet, FlagsClear, …"""

    event: str
    user: str
    mailbox: str
    at: float
    uids: tuple[int, ...] = ()
    flags: tuple[str, ...] = ()
    message_id: str = ""
    queue_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
