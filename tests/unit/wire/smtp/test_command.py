# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.address import Address
from mta.model.errors import Refused
from mta.wire.smtp.command import Auth, Data, Ehlo, Helo, Help, Mail, Noop, Quit, Rcpt, StartTls, Unknown, Vrfy, parse
from mta.wire.smtp.params import decode_xtext, encode_xtext, read_notify, read_orcpt, read_size


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"EHLO mx.example", Ehlo("mx.example")),
        (b"helo [IPv6:2001:db8::1]", Helo("[IPv6:2001:db8::1]")),
        (b"MAIL FROM:<>", Mail(None, {})),
        (b"mail from: <a@B.Example> size=10 body=8bitmime", Mail(Address("a", "b.example"), {"SIZE": "10", "BODY": "8bitmime"})),
        (b'MAIL FROM:<"a b"@b.example>', Mail(Address("a b", "b.example"), {})),
        (b'RCPT TO:<"a\\"b>"@b.example>', Rcpt(Address('a"b>', "b.example"), {})),
        (b"RCPT TO:<@x.test,@y.test:a@b.example>", Rcpt(Address("a", "b.example"), {})),
        (b"RCPT TO:<a@[192.0.2.1]>", Rcpt(Address("a", "[192.0.2.1]"), {})),
        (b"RCPT TO:<PostMaster>", Rcpt(Address("PostMaster", ""), {})),
        (
            b"RCPT TO:<a@b.c> ORCPT=rfc822;Bob+2Bx@Y NOTIFY=NEVER",
            Rcpt(Address("a", "b.c"), {"ORCPT": "rfc822;Bob+2Bx@Y", "NOTIFY": "NEVER"}),
        ),
        (b"DATA  ", Data()),
        (b"AUTH plain AGE=", Auth("PLAIN", "AGE=")),
        (b"auth LOGIN", Auth("LOGIN", None)),
        (b"STARTTLS", StartTls()),
        (b"NOOP x y", Noop()),
        (b"VRFY bob", Vrfy("bob")),
        (b"HELP", Help("")),
        (b"QUIT", Quit()),
        (b"", Unknown("")),
        (b"EVIL", Unknown("EVIL")),
    ],
)
def test_lines_become_values(line: bytes, value: object) -> None:
    assert parse(line) == value


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"MAIL FROM:<a@b.c>\x00", "500 5.5.2"),
        (b"MAIL FROM:<a\x7f@b.c>", "500 5.5.2"),
        ("MAIL FROM:<ü@b.c>".encode(), "500 5.5.2"),
        (b"MAIL FROM:<a@b.c", "501 5.1.7"),
        (b"MAIL FROM:<a@b.c> SIZE", None),
        (b"MAIL FROM:<a@b.c>SIZE=1", "501 5.5.4"),
        (b"MAIL FROM:<a@b.c>  -X=1", "501 5.5.4"),
        (b"MAIL FROM:<a@b.c> X=a=b", "501 5.5.4"),
        (b"MAIL TO:<a@b.c>", "501 5.5.4"),
        (b"RCPT TO:<>", "501 5.1.3"),
        (b"RCPT TO:<a@b.c,d@e.f>", "501 5.1.3"),
        (b"RCPT TO:<a@b@c.d>", "501 5.1.3"),
        (b"RCPT TO:<a b@c.d>", "501 5.1.3"),
        (b"RCPT TO:<.a@c.d>", "501 5.1.3"),
        (b'RCPT TO:<"a@c.d>', "501 5.1.3"),
        (b"RCPT TO:<a@c..d>", "501 5.1.3"),
        (b"RCPT TO:<" + b"a" * 65 + b"@c.d>", "501 5.1.3"),
        (b"RCPT TO:<a@" + b"d." * 127 + b"dd>", "501 5.1.3"),
        (b"EHLO two words", "501 5.5.4"),
        (b"AUTH PLAIN a b", "501 5.5.4"),
        (b"RSET x", "501 5.5.4"),
    ],
)
def test_what_is_no_command_is_refused(line: bytes, code: str | None) -> None:
    if code is None:
        assert parse(line)
        return
    with pytest.raises(Refused) as caught:
        parse(line)
    assert str(caught.value.reply).startswith(code)


def test_utf8_only_when_announced() -> None:
    line = "RCPT TO:<δ@παράδειγμα.test>".encode()
    assert parse(line, utf8=True) == Rcpt(Address("δ", "xn--hxajbheg2az3al.test"), {})
    with pytest.raises(Refused):
        parse(line)
    for broken in (b"RCPT TO:<\xff@b.c>", "RCPT TO:<a\x85@b.c>".encode(), "RCPT TO:<a@b＠c.d>".encode()):
        with pytest.raises(Refused):
            parse(broken, utf8=True)


def test_quoting_of_an_address_survives_the_way_out_and_in() -> None:
    for local in ('a"b', "a@b", "a b", "<>", "a\\", ".a", "a..b", "plain"):
        address = Address(local, "b.example")
        assert parse(f"RCPT TO:<{address}>".encode()) == Rcpt(address, {})


@given(st.binary(max_size=300))
def test_no_octets_break_the_parser(line: bytes) -> None:
    for utf8 in (False, True):
        try:
            parse(line, utf8=utf8)
        except Refused:
            continue


@given(st.sampled_from([b"MAIL FROM:", b"RCPT TO:"]), st.text(st.sampled_from('<>@"\\ .,:[]ab%!='), max_size=40))
def test_a_path_is_one_address_or_refused(verb: bytes, text: str) -> None:
    try:
        command = parse(verb + text.encode())
    except Refused:
        return
    address = command.sender if isinstance(command, Mail) else command.address if isinstance(command, Rcpt) else None
    if address is not None and address.domain:
        assert not set('<>@" ,') & set(address.domain)
        assert Address.parse(str(address)) == address


def test_a_long_path_costs_little() -> None:
    for text in (b"<" + b'"\\' * 1000, b"<" + b"@a," * 600, b"<" + b"a" * 2000, b'<"' + b'a"' * 1000):
        with pytest.raises(Refused):
            parse(b"RCPT TO:" + text)


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x7F)))
def test_xtext_is_reversible(text: str) -> None:
    assert decode_xtext(encode_xtext(text)) == text


def test_values_of_parameters() -> None:
    assert read_notify("success,DELAY") == {"SUCCESS", "DELAY"}
    assert read_orcpt("utf-8;δ@x.test") == "utf-8;δ@x.test"
    for function, value in (
        (read_notify, None),
        (read_notify, "NEVER,SUCCESS"),
        (read_notify, "DELAY,DELAY"),
        (read_orcpt, "rfc822;"),
        (read_orcpt, "rfc822;a+0Ab"),
        (read_orcpt, "rfc822;" + "a" * 500),
        (read_size, "١"),
        (read_size, "-1"),
        (read_size, "1" * 21),
    ):
        with pytest.raises(Refused):
            function(value)
