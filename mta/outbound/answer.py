"""What the other side says: octets to answers, without I/O (RFC 5321 §4.2).

Bounded: a line of ``MAX_LINE``, a reply of ``MAX_LINES``. What is no reply ends the connection; text of a peer never holds a
control character from here on.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from functools import lru_cache
from typing import NamedTuple

MAX_LINE = 4096  # RFC 5321 §4.5.3.1.5 allows 512; servers with long URLs in their refusals exist
MAX_LINES = 200
MAX_TEXT = 1000  # what queue, trace and DSN keep
_KNOWN = 256  # lines remembered with what they mean: most peers say the same again and again
_SHORT = 100  # octets of a line that is worth it

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
        self._code = 0
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
            more, answer = _read(line) if len(line) <= _SHORT else _read.__wrapped__(line)
            if not more and not self._lines:
                answers.append(answer)
                continue
            if self._lines and answer.code != self._code:
                raise ProtocolError("reply with different codes")
            self._code = answer.code
            self._lines += answer.lines
            if more:
                if len(self._lines) >= MAX_LINES:
                    raise ProtocolError("reply with too many lines")
                continue
            answers.append(Answer(answer.code, tuple(self._lines)))
            self._lines.clear()
        return answers


@lru_cache(_KNOWN)
def _read(line: bytes) -> tuple[bool, Answer]:
    """One line, as if it were all of a reply; and whether more follow. Raises ProtocolError."""
    match = _LINE.match(line.removesuffix(b"\r"))
    if match is None or len(line) > MAX_LINE:
        raise ProtocolError("no SMTP reply: " + clean(line[:80]))
    return match[2] == b"-", Answer(int(match[1]), (clean(match[3] or b""),))


def clean(octets: bytes) -> str:
    """Return what a peer said as text that can be logged and quoted."""
    text = octets.decode("utf-8", "replace").strip()
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
