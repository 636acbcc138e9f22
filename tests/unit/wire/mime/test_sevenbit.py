"""Messages in 7-bit form: the same content, read by another library; what has no such form says why."""
# SPDX-License-Identifier: Apache-2.0

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.mime.sevenbit import NoSevenBitForm, seven_bit

HEAD = b"From: a@b.test\r\nSubject: x\r\nMIME-Version: 1.0\r\n"


def text(octets):
    return email.message_from_bytes(octets, policy=email.policy.default)


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), max_size=300), st.booleans())
def test_text_is_the_same_afterwards(words, newline):
    body = (words + " end ü").encode() + (b"\r\n" if newline else b"")
    octets = HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + body
    done = seven_bit(octets)
    assert done.isascii()
    assert max(map(len, done.split(b"\r\n"))) <= 76
    assert text(done).get_payload(decode=True).rstrip(b"\r\n") == body.rstrip(b"\r\n")
    assert b"8bit" not in done


def test_many_lines_with_blanks_at_their_ends_and_long_ones():
    body = ("ü" + "x" * 200 + "\r\nblank at the end \r\n.\r\n..\r\ntab\t\r\n=3D\r\n").encode() + b"y" * 400 + b"\r\n"
    done = seven_bit(HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n" + body)
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in done
    assert text(done).get_payload(decode=True) == body


def test_parts_are_converted_each_for_itself():
    octets = (
        HEAD + b'Content-Transfer-Encoding: 8bit\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + "grün\r\n".encode() + b"\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n"
        b"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\xfe\xfd\r\n"
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n" + "weiß\r\n".encode() + b"--b--\r\nepilogue\r\n"
    )
    done = seven_bit(octets)
    assert done.isascii()
    one, two, three, four = text(done).iter_parts()
    assert (one.get_content().strip(), two.get_content().strip()) == ("grün", "plain")
    assert three.get_content().strip() == b"\xff\xfe\xfd"
    [inner] = four.iter_parts()
    assert (inner["Subject"], inner.get_content().strip()) == ("inner", "weiß")
    assert b"preamble\r\n" in done
    assert b"epilogue\r\n" in done


def test_text_without_a_type_gets_one():
    done = seven_bit(b"Subject: x\r\n\r\n" + "grün ist schön heute\r\n".encode())
    assert done.startswith(b"MIME-Version: 1.0\r\n")
    assert text(done).get_content().strip() == "grün ist schön heute"
    assert b"charset=unknown-8bit" in seven_bit(b"Subject: x\r\n\r\ngr\xfcn ist alles hier\r\n")


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("Subject: ü\r\n\r\nx".encode(), "8-bit header"),
        (HEAD + b'Content-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n\r\n\xfc\r\n--b\r\n\r\ns\r\n--b--\r\n', "signed"),
        (HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n\xfc\r\n--b\r\n\r\nx\r\n--b--\r\n', "between"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n\xfc\xfc", "as it says"),
    ],
)
def test_what_has_no_such_form(octets, reason):
    with pytest.raises(NoSevenBitForm, match=reason):
        seven_bit(octets)


@given(st.binary(max_size=400))
def test_rubbish_is_converted_or_refused(octets):
    try:
        assert seven_bit(octets).isascii()
    except NoSevenBitForm:
        pass
