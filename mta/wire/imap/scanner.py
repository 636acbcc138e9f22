"""The tokens of an IMAP command (RFC 9051 §9): atoms, strings, literals, numbers, parentheses.

A scanner walks one request. Literals stand in the text as their ``{n}`` marker with CRLF; the octets lie beside it, in
order. Every token counts against a bound, so that no request costs more than its size suggests.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from mta.model.message import Content

T = TypeVar("T")

MAX_TOKENS = 10_000
MAX_DEPTH = 20

_ATOM = re.compile(rb'[^\x00-\x1f\x7f-\xff(){ %*"\\\]]+')
_ASTRING = re.compile(rb'[^\x00-\x1f\x7f(){ %*"\\]+')  # ASTRING-CHAR adds "]"; octets above 127: see mailbox.decode
_LIST_CHARS = re.compile(rb'[^\x00-\x1f\x7f(){ "\\]+')  # list-char: wildcards and "]" too
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_LITERAL = re.compile(rb"~?\{[0-9]{1,10}\+?\}\r\n")
_NUMBER = re.compile(rb"[0-9]{1,19}")
_FLAG = re.compile(rb'\\?[^\x00-\x1f\x7f-\xff(){ %*"\\\]]+')
_UNQUOTE = re.compile(rb"\\(.)", re.DOTALL)

Literal = bytes | Content


class Malformed(ValueError):
    """Not IMAP. The text is short, ours, and may be shown to the peer: BAD."""


class Scanner:
    """Reads tokens from ``text`` at ``pos``. Every method raises Malformed when something else stands there."""

    __slots__ = ("_depth", "_literals", "_taken", "_tokens", "pos", "text")

    def __init__(self, text: bytes, literals: Sequence[Literal] = (), pos: int = 0) -> None:
        self.text = text
        self.pos = pos
        self._literals = literals
        self._taken = 0
        self._tokens = 0
        self._depth = 0

    @property
    def done(self) -> bool:
        return self.pos >= len(self.text)

    def peek(self) -> int:
        """The next octet, or -1 at the end."""
        return self.text[self.pos] if self.pos < len(self.text) else -1

    def take(self, octets: bytes) -> bool:
        """Pass over ``octets`` when they stand here."""
        if self.text.startswith(octets, self.pos):
            self.pos += len(octets)
            return True
        return False

    def expect(self, octets: bytes) -> None:
        if not self.take(octets):
            raise Malformed(f"expected {octets.decode('ascii')!r}" if self.pos < len(self.text) else "command too short")

    def space(self) -> None:
        self.expect(b" ")

    def end(self) -> None:
        if self.pos != len(self.text):
            raise Malformed("unexpected text after the command")

    def _count(self) -> None:
        self._tokens += 1
        if self._tokens > MAX_TOKENS:
            raise Malformed("too many words")

    def match(self, pattern: re.Pattern[bytes], what: str) -> "re.Match[bytes]":
        found = pattern.match(self.text, self.pos)
        if found is None:
            raise Malformed(f"expected {what}")
        self._count()
        self.pos = found.end()
        return found

    def atom(self) -> bytes:
        return self.match(_ATOM, "an atom")[0]

    def word(self) -> str:
        """An atom in upper case: keywords compare without regard to case."""
        return self.match(_ATOM, "a word")[0].decode("ascii").upper()

    def number(self, greatest: int = 2**32 - 1) -> int:
        value = int(self.match(_NUMBER, "a number")[0])
        if value > greatest:
            raise Malformed("number too large")
        return value

    def flag(self) -> bytes:
        return self.match(_FLAG, "a flag")[0]

    def quoted(self) -> bytes:
        value = self.match(_QUOTED, "a quoted string")[1]
        return _UNQUOTE.sub(rb"\1", value) if b"\\" in value else value

    def literal(self) -> Literal:
        """The octets of the literal here; content in a file when they were many."""
        self.match(_LITERAL, "a literal")
        if self._taken >= len(self._literals):
            raise Malformed("literal without octets")
        self._taken += 1
        return self._literals[self._taken - 1]

    def string(self) -> bytes:
        """A quoted string or a literal in memory."""
        if self.peek() == 0x22:
            return self.quoted()
        value = self.literal()
        if not isinstance(value, bytes):
            raise Malformed("literal too large here")
        return value

    def astring(self) -> bytes:
        if self.peek() in (0x22, 0x7B):
            return self.string()
        return self.match(_ASTRING, "a string")[0]

    def list_mailbox(self) -> bytes:
        """A mailbox name with wildcards (RFC 9051 §9 list-mailbox)."""
        if self.peek() in (0x22, 0x7B):
            return self.string()
        return self.match(_LIST_CHARS, "a pattern")[0]

    def nstring(self) -> bytes | None:
        if self.peek() not in (0x22, 0x7B):
            if self.word() != "NIL":
                raise Malformed("expected a string or NIL")
            return None
        return self.string()

    def parenthesised(self, item: Callable[["Scanner"], T], *, empty: bool = True) -> list[T]:
        """``( item item … )``. Depth is bounded over all nesting."""
        self.expect(b"(")
        self._enter()
        items: list[T] = []
        if not (empty and self.peek() == 0x29):
            items.append(item(self))
            while self.take(b" "):
                items.append(item(self))
        self.expect(b")")
        self._depth -= 1
        return items

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Malformed("nested too deeply")

    def nested(self, read: Callable[["Scanner"], T]) -> T:
        """``read`` one level deeper: for recursion without parentheses (NOT NOT NOT …)."""
        self._enter()
        value = read(self)
        self._depth -= 1
        return value
