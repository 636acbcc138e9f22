"""A search as a tree of frozen keys (RFC 9051 §6.4.4, and what extends it); strings are text."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from typing import Literal

from mta.wire.imap.sequence import SequenceSet


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class HasFlag:
    """System flag ``flag`` is set, or not."""

    flag: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class HasKeyword:
    keyword: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class Recent:
    wanted: bool
    unseen: bool = False
    """NEW: recent and not seen."""


@dataclass(frozen=True, slots=True)
class InSet:
    sequence: SequenceSet
    uid: bool


@dataclass(frozen=True, slots=True)
class Internal:
    """Internal date. ``day`` since 1970-01-01; before: < day, on: = day, since: >= day."""

    relation: Literal["before", "on", "since"]
    day: int


@dataclass(frozen=True, slots=True)
class Sent:
    """The same of the Date header field, whatever its zone (RFC 9051 §6.4.4)."""

    relation: Literal["before", "on", "since"]
    day: int


@dataclass(frozen=True, slots=True)
class Within:
    """OLDER (False) and YOUNGER (True) than so many seconds."""

    seconds: int
    younger: bool


@dataclass(frozen=True, slots=True)
class Size:
    octets: int
    larger: bool


@dataclass(frozen=True, slots=True)
class ModSeq:
    least: int


@dataclass(frozen=True, slots=True)
class Header:
    """Field ``name`` (lower case) is there and its value holds ``text``; "" asks only whether it is there."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """The message holds ``text``: in the body, with ``header`` in the header too."""

    text: str
    header: bool


@dataclass(frozen=True, slots=True)
class EmailId:
    """RFC 8474 §6."""

    id: str


@dataclass(frozen=True, slots=True)
class ThreadId:
    id: str


@dataclass(frozen=True, slots=True)
class Saved:
    """When it came into this mailbox (RFC 8514 §4.3); as ``Internal``."""

    relation: Literal["before", "on", "since"]
    day: int


@dataclass(frozen=True, slots=True)
class SavedKnown:
    """SAVEDATESUPPORTED."""


@dataclass(frozen=True, slots=True)
class Filter:
    """The criteria that are kept under this name (RFC 5466 §3.1). Not for evaluation: see ``mta.imapd.filters``."""

    name: str


@dataclass(frozen=True, slots=True)
class Fuzzy:
    """``key`` need not be met to the letter. Not for evaluation: see ``loosely`` and ``exactly``."""

    key: "Key"


@dataclass(frozen=True, slots=True)
class Not:
    key: "Key"


@dataclass(frozen=True, slots=True)
class Or:
    left: "Key"
    right: "Key"


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple["Key", ...]


Key = (
    All | HasFlag | HasKeyword | Recent | InSet | Internal | Sent | Within | Size | ModSeq | Header | Text | EmailId | ThreadId
    | Saved | SavedKnown | Filter | Fuzzy | Not | Or | And
)  # fmt: skip
