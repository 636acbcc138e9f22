"""Flags and keywords (RFC 9051 §2.3.2): names on the wire, bits and words within."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass

from mta.model.message import Flags
from mta.wire.imap.scanner import Malformed, Scanner

NAMES: tuple[tuple[int, bytes], ...] = (
    (int(Flags.ANSWERED), b"\\Answered"),
    (int(Flags.FLAGGED), b"\\Flagged"),
    (int(Flags.DELETED), b"\\Deleted"),
    (int(Flags.SEEN), b"\\Seen"),
    (int(Flags.DRAFT), b"\\Draft"),
)
SYSTEM = b" ".join(name for _, name in NAMES)
_BITS = {name.upper(): bit for bit, name in NAMES}
MOST_KEYWORDS = 64
LONGEST_KEYWORD = 100


@dataclass(frozen=True, slots=True)
class FlagList:
    """System flags as bits, keywords as given (they keep their case; equal when equal without regard to case)."""

    flags: int = 0
    keywords: frozenset[str] = frozenset()

    def encode(self) -> bytes:
        return encode_flags(self.flags, " ".join(sorted(self.keywords)))


def read_flag(scan: Scanner) -> tuple[int, str]:
    """One flag: (bit, "") or (0, keyword). ``\\Recent`` is nobody's to set: RFC 3501 §2.3.2."""
    name = scan.flag()
    if name.startswith(b"\\"):
        bit = _BITS.get(name.upper())
        if bit is None:
            raise Malformed("no such system flag")
        return bit, ""
    if len(name) > LONGEST_KEYWORD:
        raise Malformed("keyword too long")
    return 0, name.decode("ascii")


def read_flags(scan: Scanner) -> FlagList:
    """A parenthesised list, or bare flags separated by spaces (STORE takes both)."""
    if scan.peek() == 0x28:
        found = scan.parenthesised(read_flag)
    else:
        found = [read_flag(scan)]
        while scan.take(b" "):
            found.append(read_flag(scan))
    bits = 0
    words: set[str] = set()
    for bit, word in found:
        bits |= bit
        if word:
            words.add(word)
    if len(words) > MOST_KEYWORDS:
        raise Malformed("too many keywords")
    return FlagList(bits, frozenset(words))


def encode_flags(flags: int, keywords: str) -> bytes:
    """Space-separated names. ``keywords`` as in a Row."""
    names = [name for bit, name in NAMES if flags & bit]
    if keywords:
        names.append(keywords.encode("ascii", "replace"))
    return b" ".join(names)
