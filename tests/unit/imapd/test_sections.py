"""Sections of a message."""
# SPDX-License-Identifier: Apache-2.0

import pytest

from mta.imapd.answer import Answer
from mta.imapd.sections import Message, literal
from mta.wire.imap.fetch import Octets, Section

MESSAGE = (
    b"Subject: s\r\nTo: t\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\nAGI=\r\n"
    b"--b\r\nContent-Transfer-Encoding: x-odd\r\n\r\nodd\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nner\r\n--b--\r\n"
)


def shown(form: str, section: Section, partial: tuple[int, int] | None = None) -> bytes | None:
    return Message(MESSAGE).shown(Octets(form, section, partial=partial))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (Section((), "HEADER.FIELDS", (b"SUBJECT", b"x")), b"Subject: s\r\n\r\n"),
        (Section((), "HEADER.FIELDS.NOT", (b"subject", b"content-type")), b"To: t\r\n\r\n"),
        (Section((3,), "HEADER"), b"Subject: in\r\n\r\n"),
        (Section((3,), "HEADER.FIELDS", (b"Subject",)), b"Subject: in\r\n\r\n"),
        (Section((3, 1)), b"ner"),
        (Section((3,), "TEXT"), b"ner"),
        (Section((1,)), b"AGI="),
        (Section((1,), "MIME"), b"Content-Transfer-Encoding: base64\r\n\r\n"),
        (Section((4,)), None),
        (Section((1, 1)), None),
        (Section((1,), "HEADER"), None),
    ],
)
def test_sections(section: Section, expected: bytes | None) -> None:
    assert shown("BODY", section) == expected


def test_partials() -> None:
    assert shown("BODY", Section(), (3, 4)) == MESSAGE[3:7]
    assert shown("BODY", Section(), (10_000, 4)) == b""
    assert shown("BODY", Section((9,)), (0, 4)) is None


def test_binary() -> None:
    """RFC 9051 §6.4.5.1: decoded; NUL needs a literal8; an unknown encoding is said to be unknown."""
    item = Octets("BINARY", Section((1,)), peek=True)
    octets = Message(MESSAGE).shown(item)
    assert octets == b"\0b"
    assert b"".join(literal(item, octets)) == b"BINARY[1] ~{2}\r\n\0b"
    assert b"".join(literal(Octets("BINARY.SIZE", Section((1,))), octets)) == b"BINARY.SIZE[1] 2"
    with pytest.raises(Answer, match="UNKNOWN-CTE"):
        shown("BINARY", Section((2,)))
    assert b"".join(literal(Octets("BODY", Section((9,))), None)) == b"BODY[9] NIL"
