"""What hooks see: read-only faces of a session, a transaction, a message. Edits are returned, never made on these."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from mta.model.address import Address
from mta.model.message import Origin, Recipient
from mta.wire.dsn.report import RecipientReport


class Session(Protocol):
    """One connection, whatever its protocol."""

    id: str
    """Joins log lines and traces."""
    protocol: str
    """"smtp", "submission", "lmtp", "imap", "pop3", "http", "local"."""
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


class Part(Protocol):
    """One MIME part: a leaf, or a message inside the message."""

    path: str
    """Numbers as IMAP counts them: "1", "2.1"."""
    content_type: str
    """Lower case, without parameters: "application/pdf"."""
    filename: str
    """As the sender named it, decoded; "" for none. Never a path to use."""
    disposition: str
    """"attachment", "inline" or ""."""
    size: int
    """Octets as sent, transfer encoding included."""

    @property
    def octets(self) -> bytes:
        """The content, transfer encoding undone."""
        ...

    @property
    def text(self) -> str:
        """The content of a text part as characters; what cannot be decoded is replaced."""
        ...


@runtime_checkable
class Sink(Protocol):
    """What ``message_sink`` returns."""

    def feed(self, octets: bytes) -> Any:
        """Take the next piece; may be ``async``."""
        ...

    def close(self) -> Any:
        """The message is complete: answer a verdict or None; may be ``async``."""
        ...


@dataclass(frozen=True, slots=True)
class Tls:
    """What a handshake came to. ``certificate``: the client's in DER, None when it sent none."""

    version: str
    """"TLSv1.3"."""
    cipher: str
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A queued message and those of its recipients that are meant: what hooks of the queue see.

    received_at  wall clock, seconds
    attempts     finished attempts so far; of several recipients the most
    user         the account that submitted it, or ""
    hold         why it is kept until it is released; "": it is not
    due          wall clock of the first attempt; 0: at once. Of ``queue_enqueue``, as priority is
    priority     0 to 9: tried before all that has waited up to ten minutes for each step
    """

    id: str
    sender: Address | None
    recipients: tuple[Address, ...]
    origin: Origin
    received_at: float
    attempts: int
    user: str = ""
    hold: str = ""
    due: float = 0.0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TlsCertificate:
    """What a server shows for itself: PEM text, the certificate first, then its chain; and its key, without a passphrase."""

    chain: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of the log; ``fields`` are JSON values, secrets struck out."""

    at: float
    level: str
    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to hand an envelope to a next hop.

    number      from 1
    site        what connections are kept for: the recipients' domain, or "smtp:host:port" of a route or smarthost
    transport   "smtp" or "lmtp"
    last_reply  what came of the attempt before, or ""
    """

    number: int
    site: str
    transport: str
    last_reply: str = ""


@dataclass(frozen=True, slots=True)
class UserChange:
    """What is about to be done to an account.

    action    "add", "delete", "password", "quota", "enable", "disable"
    password  the new one in clear ("add", "password"); never log it
    quota     the new one in octets, 0: unlimited ("quota", and "add" when one is given)
    by        who does it: "command"
    """

    action: str
    password: str | None = field(default=None, repr=False)
    quota: int | None = None
    by: str = "command"


@dataclass(frozen=True, slots=True)
class DsnReport:
    """A delivery status notification that is about to be written.

    id          queue id of the notification; ``about``: that of the message, whose Message-ID is ``message_id``
    sender      who is told
    recipients  what became of whom: ``address action orcpt status diagnostic remote attempted retry_until``
    ret         "FULL": the message comes with it, otherwise its header
    subject     instead of the usual one; "": the usual one
    text        put above the usual text, lines separated by LF
    """

    id: str
    about: str
    message_id: str
    sender: Address
    received_at: float
    recipients: tuple[RecipientReport, ...]
    ret: str | None = None
    subject: str = ""
    text: str = ""


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
