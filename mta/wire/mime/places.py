"""Where addresses stand in a header field's octets, to put others in their places (RFC 5322 §3.6.2, §3.6.3, §3.6.6).

Only the octets of an address change. Names, comments, encoded words, groups and folding stay as they are; a field that cannot be
read (an open comment, two addresses without a comma) is left alone as far as it cannot.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable, Iterator, Sequence

_SENDER = frozenset({b"from", b"sender", b"reply-to", b"resent-from", b"resent-sender", b"resent-reply-to", b"errors-to", b"return-receipt-to", b"disposition-notification-to"})  # fmt: skip
_RECIPIENT = frozenset({b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc"})

_TOKEN = re.compile(rb'[ \t\r\n]+|"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|\(|[<>@,;:.\\)]|[^ \t\r\n"\[(<>@,;:.\\)]+|.', re.DOTALL)
_COMMENT_PIECE = re.compile(rb"[^()\\]+|\\.|[()]", re.DOTALL)

Span = tuple[int, int]
"""[start, end) of one token."""


def find_addresses(value: bytes) -> Iterator[tuple[list[Span], bytes]]:
    """Yield (places of the tokens, ``local@domain``) of each address in a list of mailboxes and groups."""
    bare: list[Span] = []  # tokens of a mailbox that may be an address without brackets
    angle: list[Span] | None = None  # those between < and >
    named = False  # this mailbox had its brackets
    for start, end in _tokens(value):
        token = value[start:end]
        if angle is not None:
            if token == b">":
                yield from _address(value, angle)
                angle, named = None, True
            elif token in (b",", b":"):
                angle = []  # an obsolete route: the address is behind it
            else:
                angle.append((start, end))
        elif token == b"<":
            bare, angle = [], []
        elif token in (b",", b";"):
            if not named:
                yield from _address(value, bare)
            bare, named = [], False
        elif token == b":":
            bare, named = [], False  # a group's name
        else:
            bare.append((start, end))
    if not named and angle is None:
        yield from _address(value, bare)


def _tokens(value: bytes) -> Iterator[Span]:
    """Without white space and comments."""
    at = 0
    while (match := _TOKEN.match(value, at)) is not None:
        at = match.end()
        if match[0] == b"(":
            at = _comment_end(value, at)
        elif not match[0].isspace():
            yield match.span()


def _comment_end(value: bytes, at: int) -> int:
    depth = 1
    while depth and (match := _COMMENT_PIECE.match(value, at)) is not None:
        at = match.end()
        depth += (match[0] == b"(") - (match[0] == b")")
    return len(value) if depth else at


def _address(value: bytes, places: list[Span]) -> Iterator[tuple[list[Span], bytes]]:
    tokens = [value[start:end] for start, end in places]
    if tokens.count(b"@") != 1:
        return
    at = tokens.index(b"@")
    for side in tokens[:at], tokens[at + 1 :]:
        if len(side) % 2 == 0 or any((token == b".") != (i % 2 == 1) for i, token in enumerate(side)):
            return  # words with dots between them, and nothing else
    yield places, b"".join(tokens)


def role_of(name: bytes) -> str:
    """The role that ``address_rewrite`` gives a field with addresses, "header_sender" or "header_recipient", by its lower-case name; else ""."""
    return "header_sender" if name in _SENDER else "header_recipient" if name in _RECIPIENT else ""


def replaced(value: bytes, found: Sequence[tuple[list[Span], bytes]], new: Callable[[bytes], bytes]) -> bytes:
    """The first token of each address becomes the new one, the others go; what stands between them stays."""
    out, at = [], 0
    for places, text in found:
        made = new(text)
        if made == text:
            continue
        for number, (start, end) in enumerate(places):
            out.append(value[at:start])
            if not number:
                out.append(made)
            at = end
    return b"".join((*out, value[at:]))
