"""Multi-line responses: dots at line starts are doubled, ".CRLF" ends them (RFC 1939 §3)."""
# SPDX-License-Identifier: Apache-2.0


def stuff(octets: bytes) -> bytes:
    """Return a whole body with its dots doubled and the end mark behind; a missing last line end is added."""
    if b"\r\n." in octets:
        octets = octets.replace(b"\r\n.", b"\r\n..")
    return b"".join((b"." if octets.startswith(b".") else b"", octets, b".\r\n" if _ends(octets) else b"\r\n.\r\n"))


def _ends(octets: bytes) -> bool:
    return not octets or octets.endswith(b"\r\n")


class Stuffer:
    """The same for a body that comes in pieces, cut anywhere."""

    __slots__ = ("_held", "_started")

    def __init__(self) -> None:
        self._held = b"\r\n"  # a line end that may be followed by a dot; at the start it is only thought
        self._started = False

    def feed(self, octets: bytes) -> bytes:
        data = self._held + octets
        keep = 2 if data.endswith(b"\r\n") else 1 if data.endswith(b"\r") else 0
        self._held = data[len(data) - keep :]
        out = data[: len(data) - keep].replace(b"\r\n.", b"\r\n..")
        return self._cut(out)

    def finish(self) -> bytes:
        """Return what was held back and the end mark."""
        return self._cut(self._held + (b".\r\n" if self._held == b"\r\n" else b"\r\n.\r\n"))

    def _cut(self, octets: bytes) -> bytes:
        """Take the thought line end off the first octets that leave."""
        if self._started or not octets:
            return octets
        self._started = True
        return octets[2:]
