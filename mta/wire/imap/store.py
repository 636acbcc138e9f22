"""STORE, COPY, MOVE, UID EXPUNGE: commands on a set of messages (RFC 9051 §6.4; UNCHANGEDSINCE: RFC 7162 §3.1.3)."""
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import dataclass
from typing import Literal

from mta.wire.imap.flags import FlagList, read_flags
from mta.wire.imap.mailbox import decode_name, encode_name
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.imap.sequence import SequenceSet, read_set

_ACTION = re.compile(rb"([+-]?)FLAGS(\.SILENT)? ", re.IGNORECASE)
_CHANGES: dict[bytes, Literal["set", "add", "remove"]] = {b"": "set", b"+": "add", b"-": "remove"}
_SIGNS = {"set": b"", "add": b"+", "remove": b"-"}


@dataclass(frozen=True, slots=True)
class Store:
    sequence: SequenceSet
    change: Literal["set", "add", "remove"]
    flags: FlagList
    silent: bool = False
    uid: bool = False
    unchanged_since: int | None = None

    def encode(self) -> bytes:
        since = b"" if self.unchanged_since is None else b" (UNCHANGEDSINCE %d)" % self.unchanged_since
        return b"%bSTORE %b%b %bFLAGS%b (%b)" % (
            b"UID " if self.uid else b"",
            self.sequence.encode(),
            since,
            _SIGNS[self.change],
            b".SILENT" if self.silent else b"",
            self.flags.encode(),
        )


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY and MOVE."""

    sequence: SequenceSet
    mailbox: str
    uid: bool = False

    def encode(self, verb: bytes, *, utf8: bool) -> bytes:
        return b"%b%b %b %b" % (b"UID " if self.uid else b"", verb, self.sequence.encode(), encode_name(self.mailbox, utf8=utf8))


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE (None) and UID EXPUNGE (RFC 4315 §2.1)."""

    uids: SequenceSet | None = None


def read_store(scan: Scanner, uid: bool) -> Store:
    sequence = read_set(scan)
    scan.space()
    since = None
    if scan.peek() == 0x28:
        modifiers = scan.parenthesised(_read_modifier, empty=False)
        since = modifiers[-1]
        scan.space()
    found = scan.match(_ACTION, "FLAGS")
    return Store(sequence, _CHANGES[found[1]], read_flags(scan), bool(found[2]), uid, since)


def _read_modifier(scan: Scanner) -> int:
    if scan.word() != "UNCHANGEDSINCE":
        raise Malformed("no such STORE modifier")
    scan.space()
    return scan.number(2**63 - 1)


def read_copy(scan: Scanner, uid: bool, utf8: bool) -> Copy:
    sequence = read_set(scan)
    scan.space()
    return Copy(sequence, decode_name(scan.astring(), utf8=utf8), uid)
