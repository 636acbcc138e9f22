"""SMTP and LMTP replies (RFC 5321 §4.2, RFC 2034, RFC 3463)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """What is said to the peer.

    code      200-599
    enhanced  "2.1.0" or "" (greeting, EHLO, 354, HELP carry none)
    text      one line or several separated by "\\n"; never the text of an exception, never a secret
    close     hang up after sending
    """

    code: int
    enhanced: str
    text: str
    close: bool = False

    @property
    def positive(self) -> bool:
        return self.code < 400

    @property
    def temporary(self) -> bool:
        return 400 <= self.code < 500

    def encode(self) -> bytes:
        """Return the wire form with CRLF line ends; control characters in ``text`` become "?"."""
        prefix = f"{self.enhanced} " if self.enhanced else ""
        lines = self.text.split("\n")
        last = len(lines) - 1
        out = []
        for i, line in enumerate(lines):
            clean = line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line)
            out.append(f"{self.code}{' ' if i == last else '-'}{prefix}{clean}\r\n")
        return "".join(out).encode("utf-8", "replace")

    def __str__(self) -> str:
        return " ".join(p for p in (str(self.code), self.enhanced, self.text.replace("\n", " / ")) if p)
