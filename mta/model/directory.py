"""Domains, users, aliases, and what the directory says about an address."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass, field
from typing import Literal

from mta.model.address import Address
from mta.model.ids import UserId


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain we are responsible for. ``kind``: "local" has mailboxes here; "relay": we accept and pass on."""

    name: str
    kind: Literal["local", "relay"] = "local"


@dataclass(frozen=True, slots=True)
class User:
    """An account. ``quota`` in octets, 0: unlimited. ``used`` in octets."""

    id: UserId
    address: Address
    enabled: bool = True
    quota: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True)
class Alias:
    """``source`` is ``local@domain``, or ``@domain`` for the catch-all; ``targets`` are addresses."""

    source: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MailboxTarget:
    """The address belongs to this account; ``detail`` is what stood behind the "+", or ""."""

    user: UserId
    address: Address
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AliasTarget:
    """The address stands for these; loops are cut by the engine. ``details``: what stood behind the "+" goes on to addresses among them."""

    targets: tuple[str, ...]
    details: bool = False


@dataclass(frozen=True, slots=True)
class RelayTarget:
    """Accepted, and passed on to the next hop of this address."""

    address: Address


@dataclass(frozen=True, slots=True)
class HookTarget:
    """Accepted without a mailbox: a ``deliver`` hook takes it, or it bounces."""

    address: Address


@dataclass(frozen=True, slots=True)
class NotFound:
    """No such recipient, said with authority: 550 5.1.1, or another code of the same class (551 5.1.6: has moved)."""

    text: str = "no such user here"
    code: int = 550
    enhanced: str = "5.1.1"


Target = MailboxTarget | AliasTarget | RelayTarget | HookTarget | NotFound


@dataclass(frozen=True, slots=True)
class AuthOk:
    """The credential is right. ``user`` is the account's canonical address; ``id`` None for accounts without a mailbox.

    app_password  its name, when one of the account's further passwords was used: such a login must not change passwords
    """

    user: str
    id: UserId | None = None
    app_password: str = ""


@dataclass(frozen=True, slots=True)
class AuthFail:
    """The credential is wrong, or the account may not log in. ``reason`` is for the log only."""

    reason: str = field(default="", compare=False)


AuthAnswer = AuthOk | AuthFail


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What SCRAM needs of a password (RFC 5802 §3). ``hash`` is "sha256" or "sha1"; salt and keys are octets."""

    hash: str
    salt: bytes = field(repr=False)
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """The keys of an account that may log in. ``user`` is its canonical address."""

    user: str
    scram: tuple[ScramKeys, ...]
