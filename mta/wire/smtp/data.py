"""The octets behind 354 and BDAT: where the message ends, what it is (RFC 5321 §4.1.1.4, §4.5.2, RFC 3030).

Only CRLF.CRLF ends a message. A bare CR, a bare LF or a NUL makes it faulty (§2.3.8, §4.1.1.4): nothing of it is kept, the
rest is read up to the true end, and mta.smtpd refuses it; so what another server would take for an end smuggles nothing in.
Lines of any length are accepted: no buffer holds a line, and cutting one would break signatures (§4.5.3.1.6 sets a minimum,
Postfix and Gmail accept more than 1,000 octets too). All work is done on whole pieces: no loop runs over lines.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Literal

_END = b"\r\n.\r\n"
_HOLD = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")  # what a piece may end with that could still become the end, longest first

Fault = Literal["", "bare CR", "bare LF", "NUL", "too big"]


class DataDecoder:
    """Feed pieces until the end.

    fault  why the message cannot be taken, or ""; then ``feed`` returns no more content
    size   octets of content so far
    """

    __slots__ = ("_held", "_limit", "_started", "fault", "size")

    def __init__(self, limit: int) -> None:
        """``limit``: largest content, octets."""
        self._limit = limit
        self._held = b"\r\n"  # the end may come at once: the line of DATA itself ended with CRLF
        self._started = False
        self.fault: Fault = ""
        self.size = 0

    def feed(self, octets: bytes) -> tuple[bytes, bytes | None]:
        """Return the next content octets, and what follows the end of the message, or None before the end."""
        data = self._held + octets
        dot = data.find(b"\r\n.")  # most pieces have none: one search finds out that there is neither end nor doubled dot
        if dot >= 0 and (end := data.find(_END, dot)) >= 0:
            return self._content(data[: end + 2], dotted=dot < end), data[end + 5 :]
        held = b""
        for candidate in _HOLD:
            if data.endswith(candidate):
                held = candidate
                break
        self._held = held
        return self._content(data[: len(data) - len(held)] if held else data, dotted=dot >= 0), None

    def _content(self, piece: bytes, *, dotted: bool) -> bytes:
        if self.fault or not piece:
            return b""
        pairs = piece.count(b"\r\n")  # pieces never part a CR from its LF, so counts that differ are bare ones
        if piece.count(b"\n") != pairs:
            self.fault = "bare LF"
        elif piece.count(b"\r") != pairs:
            self.fault = "bare CR"
        elif b"\0" in piece:
            self.fault = "NUL"
        if self.fault:
            return b""
        content = piece.replace(b"\r\n.", b"\r\n") if dotted else piece
        if not self._started:
            self._started = True
            content = content[2:]
        self.size += len(content)
        if self.size > self._limit:
            self.fault = "too big"
            return b""
        return content


class ChunkDecoder:
    """The octets of BDAT (RFC 3030 §2): what was announced is the message, and no mark ends it, so nothing is held back.

    The rules of lines are those of DATA all the same: what came in by BDAT may leave by DATA, where a bare LF could smuggle.
    ``binary`` (BODY=BINARYMIME, §3) lifts them. ``fault`` and ``size`` as of DataDecoder.
    """

    __slots__ = ("_binary", "_last", "_limit", "fault", "size")

    def __init__(self, limit: int, *, binary: bool = False) -> None:
        self._limit = limit
        self._binary = binary
        self._last = b""
        self.fault: Fault = ""
        self.size = 0

    def feed(self, octets: bytes) -> bytes:
        """Return the octets as content, or nothing when the message is faulty."""
        if self.fault or not octets:
            return b""
        self.size += len(octets)
        if self.size > self._limit:
            self.fault = "too big"
        elif not self._binary:
            self._check(octets)
        self._last = octets[-2:] if len(octets) > 1 else self._last[-1:] + octets
        return b"" if self.fault else octets

    def _check(self, octets: bytes) -> None:
        pairs, feeds, returns = octets.count(b"\r\n"), octets.count(b"\n"), octets.count(b"\r")
        if self._last.endswith(b"\r"):
            if octets[0] != 0x0A:
                self.fault = "bare CR"
                return
            feeds -= 1  # of a pair that two pieces share
        if octets.endswith(b"\r"):
            returns -= 1  # its LF may come
        if feeds != pairs:
            self.fault = "bare LF"
        elif returns != pairs:
            self.fault = "bare CR"
        elif b"\0" in octets:
            self.fault = "NUL"

    def end(self) -> bytes:
        """No more will come: return what the last line lacks. A message is whole lines (RFC 5321 §2.3.8), whatever was announced."""
        if self.fault or self._binary or not self.size or self._last == b"\r\n":
            return b""
        if self._last.endswith(b"\r"):
            self.fault = "bare CR"
            return b""
        return b"\r\n"


def encode_data(octets: bytes) -> bytes:
    """Return content (CRLF line ends, the last line ended) as sent behind 354: dots doubled, end mark added."""
    stuffed = octets.replace(b"\r\n.", b"\r\n..") if b"\r\n." in octets else octets
    if stuffed.startswith(b"."):
        stuffed = b"." + stuffed
    return stuffed + (b".\r\n" if not stuffed or stuffed.endswith(b"\r\n") else _END)
