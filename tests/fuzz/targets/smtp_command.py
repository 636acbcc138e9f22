"""One command line of SMTP: a value or a refusal; what is taken can be said again and means the same."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.errors import Refused
from mta.model.reply import Reply
from mta.wire.smtp import params
from mta.wire.smtp.command import Mail, Rcpt, parse

FILES = ("/mta/wire/smtp/", "/mta/model/")
SEEDS = (
    b"EHLO [IPv6:2001:db8::1]",
    b"MAIL FROM:<@x.test,@y.test:a@b.example> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=a+2Bb SMTPUTF8 AUTH=<>",
    b"MAIL FROM:<> BY=60;RT MT-PRIORITY=-9 HOLDUNTIL=2030-01-31T09:30:00Z HOLDFOR=60 REQUIRETLS",
    b'RCPT TO:<"a\\"b c"@[192.0.2.1]> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b',
    "RCPT TO:<δ@bücher.test> ORCPT=utf-8;δ@x".encode(),
    b"RCPT TO:<Postmaster>",
    b"BDAT 1000 LAST",
    b"AUTH PLAIN AGFiYw==",
    b"XCLIENT ADDR=IPV6:2001:db8::1 NAME=[UNAVAILABLE] LOGIN=a+40b",
    b"ETRN @example.test",
    b"VRFY a",
    b"NOOP x",
)
WORDS = (
    b"MAIL FROM:<", b"RCPT TO:<", b"BDAT ", b" LAST", b"AUTH ", b"@", b'"', b"\\", b">", b"<", b":", b",", b".", b"[", b"]", b"IPv6:", b"%", b"!",
    b"+40", b"+0A", b"\\x{40}", b" SIZE=", b" BODY=", b" ORCPT=", b" NOTIFY=", b" ENVID=", b" BY=", b";R", b";NT", b" HOLDFOR=", b" HOLDUNTIL=",
    b"xn--", "ü".encode(), "＠".encode(), "。".encode(), b"\0", b"\r", b"\n", b"\x7f", b"\xff",
)  # fmt: skip

_READERS = {
    "SIZE": params.read_size,
    "BODY": params.read_body,
    "RET": params.read_ret,
    "ENVID": params.read_envid,
    "NOTIFY": params.read_notify,
    "ORCPT": params.read_orcpt,
    "HOLDFOR": params.read_hold_for,
    "HOLDUNTIL": params.read_hold_until,
    "BY": params.read_by,
    "MT-PRIORITY": params.read_priority,
}


def run(octets: bytes) -> None:
    for utf8 in (False, True):
        try:
            command = parse(octets, utf8=utf8)
            address = command.sender if isinstance(command, Mail) else command.address if isinstance(command, Rcpt) else None
            if address is not None:
                text = str(address)
                assert not any(c < " " or c == "\x7f" for c in text), text
                again = parse(f"RCPT TO:<{text}>".encode(), utf8=True)
                assert again == Rcpt(address, {}), (address, again)
            for keyword, value in getattr(command, "params", {}).items():
                if keyword in _READERS:
                    read = _READERS[keyword](value)
                    if keyword in ("ENVID", "ORCPT"):
                        assert "\r" not in str(read)
                        assert "\n" not in str(read)
        except Refused as refusal:
            _check(refusal.reply)


def _check(reply: Reply) -> None:
    assert reply.code in (500, 501)
    assert reply.text.isprintable()
