"""IMAP octets to commands: cut anywhere the same requests, bounds kept, and of bad grammar nothing but Malformed."""
# SPDX-License-Identifier: Apache-2.0

import hashlib

from mta.model.message import OctetContent
from mta.wire.imap.command import parse
from mta.wire.imap.decoder import BEFORE_LOGIN, Bounds, Decoder, Event, Overflow, Request, tag_of
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.search import UnknownCharset

FILES = ("/mta/wire/imap/",)
SEEDS = (
    b'a LOGIN "u\\"" {3+}\r\nabc\r\na AUTHENTICATE PLAIN AGEAYg==\r\na ID ("name" NIL)\r\na ENABLE CONDSTORE QRESYNC IMAP4rev2\r\n',
    b"a SELECT INBOX (QRESYNC (1 2 1:5,7 (1,2 3,4)) CONDSTORE)\r\na EXAMINE &AOQ-\r\na STATUS x (MESSAGES UIDNEXT UNSEEN SIZE)\r\n",
    b'a LIST (SUBSCRIBED RECURSIVEMATCH) "" ("%" *) RETURN (CHILDREN SPECIAL-USE STATUS (MESSAGES))\r\na LSUB "" %\r\n',
    b'a FETCH 1:*,$ (FLAGS BODY.PEEK[1.2.HEADER.FIELDS (From "To")]<0.5> BINARY[1]<1.2> RFC822.SIZE) (CHANGEDSINCE 5 VANISHED)\r\n',
    b"a UID STORE 1,3:* (UNCHANGEDSINCE 3) +FLAGS.SILENT (\\Seen $a b)\r\na STORE 1 FLAGS \\Deleted\r\na UID EXPUNGE 1:2\r\n",
    b"a SEARCH RETURN (MIN COUNT PARTIAL 1:5) CHARSET utf-8 OR (NOT FROM x) BODY {2}\r\nab HEADER a b SINCE 1-Jan-2020 UID 1:2 MODSEQ 5\r\n",
    b'a APPEND "x" (\\Seen a) " 1-Jan-2020 10:00:00 +0100" {4+}\r\nabcd {3+}\r\nxyz\r\na COPY 1 b\r\na UID MOVE 1:2 b\r\n',
    b"a UID SORT (REVERSE DATE SUBJECT) UTF-8 ALL\r\na THREAD REFERENCES UTF-8 ALL\r\na NOOP\r\na IDLE\r\nDONE\r\na CREATE x (USE (\\Sent))\r\n",
)
WORDS = (
    b"a ", b"\r\n", b"{1+}\r\n", b"{3}\r\n", b"~{2+}\r\n", b"(", b")", b'"', b"\\", b" ", b"1:*", b"$", b"NIL", b"[", b"]", b"<0.1>", b"UID ", b"NOT ",
    b"OR ", b"BODY[", b"HEADER.FIELDS (", b"RETURN (", b"\n", b"\r", b"\0", b"\xff", b"&AOQ-", b"4294967296", b"0", b"%", b"*",
)  # fmt: skip
_BOUNDS = Bounds(line=2000, string=500, message=1000, literals=10, memory=300, files=2, total=1500)


class _Memory:
    """A sink that keeps its octets."""

    full = False

    def __init__(self, _size: int) -> None:
        self._octets = b""

    def write(self, octets: bytes) -> None:
        self._octets += octets

    def spill(self) -> None:
        raise AssertionError("was never full")

    def finish(self) -> OctetContent:
        return OctetContent(self._octets)


def _events(bounds: Bounds, octets: bytes, step: int) -> list[Event]:
    decoder = Decoder(bounds, _Memory)
    found: list[Event] = []
    for at in range(0, len(octets), step):
        decoder.feed(octets[at : at + step])
        while (event := decoder.request()) is not None:
            found.append(event)
            if isinstance(event, Overflow):
                return found
        assert decoder.buffered <= bounds.line + step
    return found


def run(octets: bytes) -> None:
    step = hashlib.sha256(octets).digest()[0] % 40 + 1
    for bounds in (_BOUNDS, BEFORE_LOGIN):
        whole = _events(bounds, octets, max(1, len(octets)))
        assert [_comparable(e) for e in whole] == [_comparable(e) for e in _events(bounds, octets, step)]
        for event in whole:
            if isinstance(event, Request) and not event.problem:
                _parse(event)


def _comparable(event: Event) -> object:
    if not isinstance(event, Request):
        return type(event)  # of an endless line either the line or its beginning is too long
    return event.text, [each if isinstance(each, bytes) else each.raw() for each in event.literals], event.problem


def _parse(request: Request) -> None:
    for utf8 in (False, True):
        try:
            command = parse(request, utf8=utf8, others=lambda verb: verb == "XOTHER")
        except Malformed as exc:
            problem = str(exc)
        except UnknownCharset:
            problem = "charset"
        else:
            assert command.tag == tag_of(request.text)
            continue
        assert problem.isascii()
        assert len(problem) < 200
