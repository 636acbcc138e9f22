"""A command that IMAP does not know and a plugin may: verb and arguments as tokens (RFC 9051 §9), without a grammar of its own."""
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import dataclass
from typing import Any

from mta.wire.imap.scanner import Malformed, Scanner

Argument = str | None | list[Any]
"""An atom, a quoted string or a literal is str, NIL None, a parenthesised list a list of these. What is no UTF-8 comes as surrogates:
``encode("utf-8", "surrogateescape")`` gives the octets."""

_WORD = re.compile(rb'[^\x00-\x20\x7f-\xff(){"]+')


@dataclass(frozen=True, slots=True)
class ImapCommand:
    """``verb`` in upper case."""

    verb: str
    arguments: tuple[Argument, ...] = ()


def read_arguments(scan: Scanner) -> tuple[Argument, ...]:
    """Everything up to the end. Raises Malformed."""
    out = [_argument(scan)]
    while scan.take(b" "):
        out.append(_argument(scan))
    return tuple(out)


def _argument(scan: Scanner) -> Argument:
    first = scan.peek()
    if first == 0x28:
        return scan.parenthesised(_argument)
    if first in (0x22, 0x7B, 0x7E):
        return scan.string().decode("utf-8", "surrogateescape")
    if first < 0:
        raise Malformed("command too short")
    word = scan.match(_WORD, "an argument")[0].decode("ascii")
    return None if word.upper() == "NIL" else word
