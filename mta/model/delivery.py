"""Delivery: what the queue hands out, and what comes back."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Literal

from mta.model.address import Address
from mta.model.ids import BlobId, QueueId, UserId
from mta.model.message import LocalDelivery, Notification, Origin, Placement, Transport


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """The message part of a queue row; see ``Intake`` for the fields."""

    id: QueueId
    origin: Origin
    sender: Address | None
    blob: BlobId
    size: int
    skip: int
    received_at: float
    envid: str | None
    ret: str | None
    smtputf8: bool
    eightbit: bool
    message_id: str
    user: str
    priority: int = 0
    deliver_by: float | None = None
    by_mode: str = ""
    requiretls: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a plugin did to the last attempts of a recipient: kept with its queue row until an attempt ends otherwise.

    file, line  where it happened, "" and 0 when that is not known
    traceback   for operators only: never in a reply or DSN; at most 8,000 characters
    at          wall clock of the last time
    times       attempts in a row that failed by this hook of this plugin; 0: it was not called
    crashes     how often, in a row, the worker died while the hook ran
    """

    plugin: str
    hook: str
    error: str
    file: str = ""
    line: int = 0
    traceback: str = ""
    at: float = 0.0
    times: int = 0
    crashes: int = 0


ERROR_HOLD = "error: "
"""A reason to hold that begins so is the error hold's."""
RESOLVE = "resolve:"
"""A next hop that an operator gave: the address is looked up again, as when the message came."""
QUARANTINE = "quarantine: "
"""A reason to hold that begins so is the quarantine's."""


@dataclass(frozen=True, slots=True)
class Leased:
    """One recipient that is ours until the lease ends.

    row       identifies the recipient in the queue
    site      what concurrency and rates count by: the recipient's domain, or "local"
    attempts  finished attempts so far
    route     a next hop that an operator gave it, as config ``routes`` has them, or RESOLVE; "": where it goes by itself
    """

    row: int
    message: QueuedMessage
    address: Address
    transport: Transport
    site: str
    user: UserId | None
    orcpt: str | None
    notify: frozenset[str]
    attempts: int
    due: float
    last_reply: str
    delay_warned: bool
    trouble: Trouble | None = None
    placement: Placement | None = None
    route: str = ""


Result = Literal["delivered", "relayed", "deferred", "failed", "expanded", "discarded", "held"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one leased recipient.

    due       next attempt, wall clock, for "deferred"
    reply     what the next hop or the hook said, one line, at most 1,000 characters, for DSN, trace and ``mta queue show``
    remote    who said it: "mx.example.org[192.0.2.1]:25", or ""
    delivery  for "delivered" into a mailbox: done in the transaction that removes the row, hence exactly once
    warned    a delay DSN has been made
    attempted False when nobody was asked (lease returned, destination at its limit): attempts does not grow
    trouble   of a row that stays: what is kept with it, None clears
    steps     what hooks said before, for the trace
    """

    leased: Leased
    result: Result
    reply: str = ""
    remote: str = ""
    due: float = 0.0
    delivery: LocalDelivery | None = None
    warned: bool = False
    attempted: bool = True
    notifications: tuple[Notification, ...] = ()
    trouble: Trouble | None = None
    steps: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """Where a recipient goes next; the answer of the ``route`` hook.

    transport  "smtp", "lmtp", "pipe" or "local"
    host       name or address literal, None: MX of the recipient's domain
    mx         ``host`` is a domain, and its MX are meant, with preference and fall-back; "smtp" only
    port       0: the transport's default
    path       Unix socket of "smtp" and "lmtp"; of "pipe" the name of a program in hooks_dir/pipe.d
    tls        "none", "may", "encrypt", "implicit"
    credentials name and password for AUTH, or None; never logged
    token_file a file with an OAuth token instead of the password, read at each login
    source     our address to connect from, or "": as config ``outbound.source_addresses`` says
    """

    transport: Literal["smtp", "lmtp", "pipe", "local"]
    host: str | None = None
    port: int = 0
    path: str = ""
    tls: Literal["none", "may", "encrypt", "implicit"] = "may"
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    token_file: str = ""
    source: str = ""
    mx: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """What differs from config ``queue`` for one envelope at one site; the answer of the ``delivery_policy`` hook. None: as configured.

    concurrency    connections to the site, 1 to 100; holds for all mail to it until another answer comes
    retry          waits between attempts in seconds, the last repeats
    lifetime       seconds after which, and after three attempts, a recipient bounces
    delay_warning  seconds after which the sender is told once that it is still being tried; 0: never
    rate           transactions a second to the site; holds, as concurrency does, until another answer comes
    recipients     recipients of one transaction, 1 to 1000; the others get transactions of their own
    sources        addresses of ours to connect from, each connection one at random of the host's family; no others are used.
                   Connections are counted for each set of them. Raises ValueError for what is no address
    """

    concurrency: int | None = None
    retry: tuple[float, ...] | None = None
    lifetime: float | None = None
    delay_warning: float | None = None
    rate: float | None = None
    recipients: int | None = None
    sources: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for source in self.sources or ():
            ip_address(source)


@dataclass(frozen=True, slots=True)
class DeliveryStatus:
    """What a next hop said of one recipient whom it did not take; what ``delivery_status`` changes.

    code      4xx: tried again; 5xx: given up
    enhanced  RFC 3463, or ""
    remote    who said it: "mx.example.org[192.0.2.1]:25"; does not change
    delay     seconds until the next attempt of a 4xx; None: the retry schedule
    """

    code: int
    enhanced: str
    text: str
    remote: str = ""
    delay: float | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """The record of ``delivered``, ``deferred`` and ``bounced``: complete, so that no hook has to guess."""

    id: QueueId
    message_id: str
    origin: Origin
    sender: str
    recipient: str
    orcpt: str | None
    result: Result
    reply: str
    remote: str
    attempts: int
    received_at: float
    at: float
    size: int
    user: str = ""
    next_attempt: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


State = Literal["due", "waiting", "leased", "held", "error", "quarantine"]


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One line of ``mta queue list``. "error": held because a plugin failed it, see ``trouble``; "quarantine": by a verdict."""

    row: int
    id: QueueId
    sender: str
    recipient: str
    state: State
    attempts: int
    received_at: float
    due: float
    size: int
    last_reply: str
    hold: str
    trouble: Trouble | None = None
    origin: Origin = "smtp"
    user: str = ""
    priority: int = 0
    route: str = ""
    transport: Transport = "remote"
    orcpt: str | None = None
    notify: tuple[str, ...] = ()


# ---- what a hook of mode "first answer" says about a custom delivery -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivered:
    text: str = "delivered"


@dataclass(frozen=True, slots=True)
class Deferred:
    text: str
    enhanced: str = "4.3.0"
    delay: float | None = None
    """Seconds until the next attempt; None: the retry schedule."""


@dataclass(frozen=True, slots=True)
class Failed:
    text: str
    enhanced: str = "5.3.0"


DeliveryAnswer = Delivered | Deferred | Failed
