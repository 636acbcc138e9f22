"""A message as octets, and the values that travel with it from door to mailbox or next hop."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Literal, Protocol

from mta.model.address import Address
from mta.model.ids import QueueId, UserId

Origin = Literal["smtp", "submission", "lmtp", "local", "http", "imap", "dsn"]
"""The door a message came through."""

Transport = Literal["local", "remote"]


class Flags(IntFlag):
    """System flags of RFC 9051 §2.3.2 as stored; ``\\Recent`` is derived, keywords are kept beside."""

    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


class Content(Protocol):
    """The octets of one message, CRLF line ends, in memory or in a file. Reads do not block longer than a disk read."""

    @property
    def size(self) -> int: ...

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        """Yield all octets in order, in pieces of at most ``size``; may be called any number of times."""
        ...

    def raw(self) -> bytes:
        """Return all octets. For big messages prefer ``chunks``."""
        ...


@dataclass(frozen=True, slots=True)
class OctetContent:
    """Content in memory."""

    octets: bytes

    @property
    def size(self) -> int:
        return len(self.octets)

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        for start in range(0, len(self.octets), size):
            yield self.octets[start : start + size]

    def raw(self) -> bytes:
        return self.octets


@dataclass(frozen=True, slots=True)
class Recipient:
    """One accepted recipient of a transaction.

    address   as the transaction now has it (after edits and redirects)
    original  as the peer gave it in RCPT TO
    orcpt     ORCPT value verbatim ("rfc822;Bob+40x.org", RFC 3461 §4.2) or None
    notify    of NEVER, SUCCESS, FAILURE, DELAY; empty: not given (RFC 3461 §4.1)
    params    further RCPT parameters, keywords upper-cased, values verbatim
    """

    address: Address
    original: Address
    orcpt: str | None = None
    notify: frozenset[str] = frozenset()
    params: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where in the user's mailboxes a message goes; what ``mailbox_deliver`` changes.

    folder    name with "/" between levels; made when missing
    copies    further folders
    drop      deliver nowhere (the trace says which plugin)
    """

    folder: str = "INBOX"
    flags: Flags = Flags(0)
    keywords: frozenset[str] = frozenset()
    copies: tuple[str, ...] = ()
    drop: bool = False


@dataclass(frozen=True, slots=True)
class LocalDelivery:
    """One message into one user's mailbox, to be done in the transaction that carries it.

    orcpt, notify  as in QueuedRecipient, for when it becomes a row of the queue
    """

    user: UserId
    recipient: Address
    placement: Placement = Placement()
    orcpt: str | None = None
    notify: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """One recipient for the queue.

    transport  "local": the ``deliver`` hooks, then the mailbox of ``user`` if not None; "remote": route and next hop
    hold       not "": kept until released, with this reason
    due        wall-clock seconds of the first attempt; 0.0: at once
    placement  where in the mailboxes of ``user``, when that is decided: no hook is asked again
    route      as of Leased
    """

    address: Address
    transport: Transport
    user: UserId | None = None
    orcpt: str | None = None
    notify: frozenset[str] = frozenset()
    hold: str = ""
    due: float = 0.0
    placement: Placement | None = None
    route: str = ""


PRIORITY_STEP = 600.0
"""Seconds of waiting that one step of priority is worth: rows are taken oldest due first."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One durable call of a notification hook: a row of the outbox. ``payload`` is JSON-able."""

    hook: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Intake:
    """A message that we take responsibility for: all of it becomes durable in one transaction, or nothing.

    id           unique; a second intake with an id that was accepted before changes nothing and succeeds
    content      octets to store: trace lines first, then the message
    skip         octets at the start of ``content`` that only local readers see (the Return-Path line, RFC 5321 §4.4);
                 a next hop gets what follows
    received_at  wall clock, seconds
    envid, ret   RFC 3461 §4.3, §4.4; verbatim, or None
    smtputf8     needs SMTPUTF8 at the next hop (RFC 6531); eightbit: BODY=8BITMIME
    priority     -9 to 9 (RFC 6710): which goes first where many wait
    deliver_by   wall clock by which it has to be there, or None; by_mode: what else, "R" return it or "N" tell the sender,
                 with "T" behind it: relays are told of too (RFC 2852)
    requiretls   only over verified TLS, to hops that promise the same (RFC 8689)
    trace        JSON-able steps: who said what (``[{"at": …, "stage": …, "plugin": …, "verdict": …}]``)
    """

    id: QueueId
    origin: Origin
    sender: Address | None
    content: Content
    received_at: float
    skip: int = 0
    envid: str | None = None
    ret: str | None = None
    smtputf8: bool = False
    eightbit: bool = False
    message_id: str = ""
    user: str = ""
    client: str = ""
    deliveries: tuple[LocalDelivery, ...] = ()
    queued: tuple[QueuedRecipient, ...] = ()
    notifications: tuple[Notification, ...] = ()
    trace: tuple[Mapping[str, Any], ...] = ()
    priority: int = 0
    deliver_by: float | None = None
    by_mode: str = ""
    requiretls: bool = False


def first_due(intake: Intake, recipient: QueuedRecipient) -> float:
    """When it is tried first, wall clock. What is urgent was due before it came; what is not takes its turn, and is late in it."""
    return recipient.due or intake.received_at - PRIORITY_STEP * max(0, intake.priority)
