"""Names of message files: ``1700000000.M1P2Q3.host,S=812,W=830:2,FSa``.

What stands before ``:2,`` is the message's for life; behind it a letter for each flag: Dovecot's capitals for system flags, a to z
for the keywords of ``dovecot-keywords``. ``S`` is the file's size, ``W`` with CRLF line ends: equal means that the octets are as they
go to clients. Letters that nobody here knows (``P`` of other programs) are kept.
"""
# SPDX-License-Identifier: Apache-2.0

import hashlib
import itertools
import os
import re
import socket
import time
from collections.abc import Iterable

from mta.model.message import Flags

_INFO = ":2,"
_SYSTEM = {"D": Flags.DRAFT, "F": Flags.FLAGGED, "R": Flags.ANSWERED, "S": Flags.SEEN, "T": Flags.DELETED}
_BITS = {letter: int(flag) for letter, flag in _SYSTEM.items()}
_SIZES = re.compile(r",([SW])=([0-9]{1,18})(?=,|$)")
_TIME = re.compile(r"([0-9]{1,12})\.(?:M([0-9]{1,6}))?")
_HOST = socket.gethostname().replace("/", "\\057").replace(":", "\\072").replace(",", "\\054")
_count = itertools.count(1)

USABLE = re.compile(r"[^\x00-\x1f\x7f/]{1,255}\Z")


def split(name: str) -> tuple[str, str]:
    """The name for life, and the letters."""
    base, _, letters = name.partition(_INFO)
    return base, letters.partition(",")[0]


def join(base: str, letters: str) -> str:
    return f"{base}{_INFO}{letters}"


def sizes(base: str) -> tuple[int | None, int | None]:
    """(S, W); None where it does not say."""
    found = {key: int(value) for key, value in _SIZES.findall(base)}
    return found.get("S"), found.get("W")


def order(base: str) -> tuple[int, int, str]:
    """Sorts by arrival, as far as names tell."""
    match = _TIME.match(base)
    return (int(match[1]), int(match[2] or 0), base) if match else (0, 0, base)


def fresh(now: float, size: int, virtual: int | None = None) -> str:
    """A name that nobody has."""
    stem = f"{int(now)}.M{int(now % 1 * 1e6)}P{os.getpid()}Q{next(_count)}R{time.monotonic_ns() % 10**9:x}.{_HOST}"
    return f"{stem},S={size},W={size if virtual is None else virtual}"


def delivered(date: int, key: str, size: int) -> str:
    """The one name of a delivery: the same key gives the same name, on every machine that shares the queue."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    return f"{date}.mta{digest}.delivery,S={size},W={size}"


def is_delivery(base: str) -> bool:
    return ".mta" in base and ".delivery," in base


def flags_of(letters: str) -> int:
    flags = 0
    for letter in letters:
        flags |= _BITS.get(letter, 0)
    return flags


def keywords_of(letters: str, table: list[str]) -> list[str]:
    """Those that the folder's table names."""
    return [table[n] for n in (ord(letter) - 97 for letter in letters if "a" <= letter <= "z") if n < len(table) and table[n]]


def letters_of(flags: int, keyword_letters: Iterable[str], before: str = "") -> str:
    """In the order that every reader expects; ``before``: the letters until now, of which the unknown ones stay."""
    kept = {letter for letter in before if letter not in _BITS and not "a" <= letter <= "z"}
    return "".join(sorted({letter for letter, bit in _BITS.items() if flags & bit} | kept | set(keyword_letters)))
