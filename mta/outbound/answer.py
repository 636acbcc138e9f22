"""What the other side says: octets to answers, without I/O (RFC 5321 §4.2).

Bounded: a line of ``MAX_LINE``, a reply of ``MAX_LINES``. What is no reply ends the connection; text of a peer never holds a
control character from here on.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from typing import NamedTuple

MAX_LINE = 4096  # RFC 5321 §4.5.3.1.5 allows 512; servers with long URLs in their refusals exist
MAX_LINES = 200
MAX_TEXT = 1000  # what queue, trace and DSN keep

_LINE = re.compile(rb"([1-5][0-9][0-9])(?:([ -])(.*))?\Z", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?: +|\Z)")


class ProtocolError(Exception):
    """The peer does not speak SMTP."""


class Answer(NamedTuple):
    """One reply. ``lines`` are without code, printable."""

    code: int
    lines: tuple[str, ...]

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def permanent(self) -> bool:
        return self.code >= 500

    @property
    def enhanced(self) -> str:
        match = _ENHANCED.match(self.lines[0])
        return match[1] if match else ""

    def __str__(self) -> str:
        return f"{self.code} {' / '.join(self.lines)}"[:MAX_TEXT].rstrip()


class AnswerReader:
    """Feed octets, get the answers they complete."""

    __slots__ = ("_code", "_lines", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._code = b""
        self._lines: list[str] = []

    @property
    def empty(self) -> bool:
        """Nothing is begun."""
        return not self._rest and not self._lines

    def feed(self, octets: bytes) -> list[Answer]:
        """Raises ProtocolError; then the connection is of no more use."""
        answers: list[Answer] = []
        *lines, self._rest = (self._rest + octets).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise ProtocolError("reply line too long")
        for line in lines:
            match = _LINE.match(line.removesuffix(b"\r"))
            if match is None or len(line) > MAX_LINE:
                raise ProtocolError("no SMTP reply: " + clean(line[:80]))
            if self._lines and match[1] != self._code:
                raise ProtocolError("reply with different codes")
            self._code = match[1]
            self._lines.append(clean(match[3] or b""))
            if match[2] == b"-":
                if len(self._lines) >= MAX_LINES:
                    raise ProtocolError("reply with too many lines")
                continue
            answers.append(Answer(int(match[1]), tuple(self._lines)))
            self._lines.clear()
        return answers


def clean(octets: bytes) -> str:
    """Return what a peer said as text that can be logged and quoted."""
    text = octets.decode("utf-8", "replace").strip()
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
