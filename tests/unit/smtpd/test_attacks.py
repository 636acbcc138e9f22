# SPDX-License-Identifier: Apache-2.0
"""The catalogue of SMTP attacks, row by row; what needs real sockets is in tests/integration/smtp/test_attacks.py.

Rows that are about other parts have their tests there: MIME bombs also in tests/unit/wire/mime, regular expressions with the plugins
that have them, pipes in tests/plugins/host/test_executables.py, links in tests/integration/app/test_maildrop.py (Maildirs are the server's own), the
sendmail command in tests/e2e/test_sendmail.py and tests/integration/app/test_maildrop.py, DSNs in tests/unit/dispatch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mta.config.sections import Smtp
from mta.model.address import Address
from mta.model.verdict import reject
from mta.smtpd.protocol import SmtpProtocol
from mta.testing.smtpd import FakeTransport, SmtpSite
from mta.wire.smtp.data import encode_data
from mta_hooks.edits import AddHeader

MAIL = b"MAIL FROM:<a@elsewhere.test>\r\n"
RCPT = b"RCPT TO:<alice@example.test>\r\n"
SMUGGLED = b"MAIL FROM:<admin@example.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"
ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n\n.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\r\r\n",
    b"\r\n\x00.\x00\r\n",
]
DOORS = {
    "stranger": {},
    "relay network": {"peer": ("192.0.2.9", 1)},
    "submission": {"protocol": "submission", "tls": True},
    "lmtp": {"protocol": "lmtp"},
    "sendmail socket": {"protocol": "submission", "local": True},
}

Talk = Callable[[bytes], Awaitable[str]]


def attack(site: SmtpSite, play: Callable[[Talk, SmtpProtocol, FakeTransport], Awaitable[None]], **connection: Any) -> None:
    async def run() -> None:
        link, transport = site.connect(**connection)
        await site.settle(link)

        async def talk(octets: bytes) -> str:
            return (await site.talk(link, transport, octets)).decode()

        await play(talk, link, transport)
        await site.tasks.close()

    asyncio.run(run())


def hello(door: str) -> bytes:
    login = b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=\r\n" if door == "submission" else b""
    return (b"LHLO" if door == "lmtp" else b"EHLO") + b" client.example\r\n" + login


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("end", ENDS)
def test_smuggling_inbound(door: str, end: bytes) -> None:
    """CVE-2023-51764: nobody is exempt, relay networks and internal hops included."""
    site = SmtpSite(relay=("192.0.2.9",))

    async def play(talk: Talk, _link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(hello(door))
        sender = MAIL.replace(b"a@elsewhere.test", b"alice@example.test")
        assert (await talk(sender + RCPT + b"DATA\r\n")).splitlines()[-1].startswith("354")
        said = await talk(b"Subject: x\r\n\r\nbody" + end + SMUGGLED)
        assert said.startswith("550 5.6.0")
        assert transport.gone

    attack(site, play, **DOORS[door])
    assert site.spool.accepted == []


@pytest.mark.parametrize("bare", [b"\n", b"\r", b"\0"])
def test_smuggling_outbound(bare: bytes) -> None:
    """What is stored, and leaves, is lines with CRLF: by BDAT, by ``inject``, out of fields of hooks."""
    site = SmtpSite()
    site.hook("message_modify", lambda **_: [AddHeader("X-Hook", f"a{bare.decode()}.{bare.decode()}MAIL FROM:<x@y>")])

    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        await talk(hello("stranger") + MAIL + RCPT)
        chunk = b"Subject: x\r\n\r\nbody" + bare + b"." + bare + b"\r\n"
        assert (await talk(b"BDAT %d LAST\r\n" % len(chunk) + chunk)).startswith("550 5.6.0")
        if bare != b"\0":
            octets = b"Subject: x\n\nbody" + bare + b"." + bare + SMUGGLED
            await site.pipeline.inject(origin="local", sender=None, recipients=[Address.parse("alice@example.test")], octets=octets)

    attack(site, play)
    for intake in site.spool.accepted:
        stored = intake.content.raw()
        assert stored.count(b"\r\n") == stored.count(b"\n") == stored.count(b"\r")
        assert b"X-Hook" not in stored
        assert encode_data(stored).count(b"\r\n.\r\n") == 1


@pytest.mark.parametrize("behind", [b"X: y\r\n", b"\r\n.\r\n", b"MAIL FROM:<a@elsewhere.test>\r\n"])
def test_early_talk_and_pipelining_into_data(behind: bytes) -> None:
    async def play(talk: Talk, _link: SmtpProtocol, transport: FakeTransport) -> None:
        said = await talk(hello("stranger") + MAIL + RCPT + b"DATA\r\n" + behind)
        assert said.splitlines()[-1].startswith("503 5.5.0 improper pipelining")
        assert transport.gone

    attack(SmtpSite(), play)

    async def early() -> None:
        site = SmtpSite(smtp=Smtp(greeting_delay=5.0))
        link, transport = site.connect()
        link.data_received(b"EHLO bot.example\r\n")
        await site.settle(link)
        assert transport.take() == b"554 5.5.0 wait for the greeting\r\n"
        assert transport.gone
        for peer, protocol, waits in ((("192.0.2.1", 1), "smtp", 5.0), (("192.0.2.1", 1), "submission", 0.0)):
            began = site.clock.now()
            link, transport = site.connect(protocol, peer=peer)
            await site.settle(link)
            assert transport.take().startswith(b"220 ")
            assert site.clock.now() - began == waits
        await site.tasks.close()

    asyncio.run(early())


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1", b"POST /x HTTP/1.1", b"Host: mx.example.test", b"OPTIONS * HTTP/1.0", b"CONNECT a:25 HTTP/1.1"]
)
def test_cross_protocol(line: bytes) -> None:
    """ALPACA: a browser that is made to speak to us gets nothing across."""
    site = SmtpSite(relay=("192.0.2.0/24",))

    async def later(talk: Talk, _link: SmtpProtocol, transport: FakeTransport) -> None:
        """Where somebody in the middle said EHLO and STARTTLS before."""
        await talk(hello("stranger"))
        assert (await talk(line + b"\r\n" + MAIL)).endswith("554 5.5.1 this is a mail server\r\n")
        assert transport.gone

    attack(site, later)

    async def play(talk: Talk, _link: SmtpProtocol, transport: FakeTransport) -> None:
        said = await talk(line + b"\r\nX: y\r\n\r\n" + hello("stranger") + MAIL + RCPT + b"DATA\r\n")
        assert said.splitlines()[1:] == ["554 5.5.1 this is a mail server"]
        assert transport.gone

    attack(site, play)


@pytest.mark.parametrize(
    "recipient",
    [
        "a%elsewhere.test@example.test",
        "elsewhere.test!a@example.test",
        '"a@elsewhere.test"@example.test',
        "@example.test:a@elsewhere.test",
        "@example.test,@b.test:a@elsewhere.test",
        "a@elsewhere.test@example.test",
        "a@[198.51.100.1]",
        "a@[IPv6:2001:db8::1]",
        "IMCEASMTP-a+40elsewhere+2Etest@example.test",
        "=?utf-8?q?a=40elsewhere.test?=@example.test",
        "a＠elsewhere.test@example.test",
        "a@elsewhere.test＠example.test",
        "a(c)@elsewhere.test",
        "a@elsewhere.test\\@example.test",
        "a\\@elsewhere.test@example.test",
        '"a"@elsewhere.test@example.test',
        "alice@example.test>,<b@elsewhere.test",
    ],
)  # fmt: skip
@pytest.mark.parametrize("catch_all", [False, True])
def test_open_relay_tricks(recipient: str, catch_all: bool) -> None:
    """Nothing goes elsewhere for a stranger; not even where every address of the domain is taken."""
    site = SmtpSite()
    if catch_all:
        site.hook(
            "recipient_lookup",
            lambda address: site._recipient(Address("alice", "example.test")) if address.domain == "example.test" else None,
        )

    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        await talk(hello("stranger") + MAIL[:-2] + b" SMTPUTF8\r\n")
        if (await talk(f"RCPT TO:<{recipient}>\r\n".encode())).startswith("250"):
            assert catch_all
            await talk(b"DATA\r\n")
            await talk(b"x\r\n.\r\n")

    attack(site, play)
    assert all(intake.queued == () for intake in site.spool.accepted)


@pytest.mark.parametrize("parameter", ["ENVID=a+0D+0AX-Evil:+20y", "ENVID=a+00", "RET=FULL\r\nX:y", "AUTH=<+0A>", "SIZE=1\x0bX"])
def test_header_and_log_injection_by_mail(parameter: str) -> None:
    async def play(talk: Talk, link: SmtpProtocol, _transport: FakeTransport) -> None:
        await talk(hello("stranger"))
        said = await talk(f"MAIL FROM:<a@elsewhere.test> {parameter}\r\n".encode())
        assert said.startswith("5") or link.transaction is None or link.transaction.envid is None

    attack(SmtpSite(), play)


@pytest.mark.parametrize(
    "parameter", ["ORCPT=rfc822;a+0D+0AX-Evil:+20y", "ORCPT=rfc822;a+0Ab", "ORCPT=utf-8;a\\x{0A}b\x00", "NOTIFY=NEVER\x00"]
)
def test_header_and_log_injection_by_rcpt(parameter: str) -> None:
    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        await talk(hello("stranger") + MAIL)
        assert (await talk(f"RCPT TO:<alice@example.test> {parameter}\r\n".encode())).startswith("50")

    attack(SmtpSite(), play)


def test_recipient_harvest() -> None:
    """VRFY knows nobody, EXPN nothing; who asks for many unknown ones waits, and is sent away."""
    site = SmtpSite()

    async def play(talk: Talk, _link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(hello("stranger"))
        assert await talk(b"VRFY alice\r\n") == await talk(b"VRFY nobody\r\n")
        assert (await talk(b"EXPN all\r\n")).startswith("502")
        await talk(MAIL)
        began = site.clock.now()
        for number in range(4):
            await talk(b"RCPT TO:<nobody%d@example.test>\r\n" % number)
        assert site.clock.now() == began
        said = ""
        for number in range(30):
            said += await talk(b"RCPT TO:<someone%d@example.test>\r\n" % number)
        assert site.clock.now() - began >= 14
        assert said.splitlines()[-1].startswith("421 4.7.0")
        assert transport.gone

    attack(site, play)


def test_backscatter() -> None:
    """Who cannot be served is refused while the sender is on the line: at RCPT, or at the end of DATA."""
    site = SmtpSite()
    site.hook("message_check", lambda **_: reject("spam"))

    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        await talk(hello("stranger") + MAIL)
        assert (await talk(b"RCPT TO:<nobody@example.test>\r\n")).startswith("550 5.1.1")
        await talk(RCPT + b"DATA\r\n")
        assert (await talk(b"x\r\n.\r\n")).startswith("550")

    attack(site, play)
    assert site.spool.accepted == []


def test_loops() -> None:
    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        for hops, answer in ((50, "250 2.0.0"), (51, "554 5.4.6")):
            await talk(hello("stranger") + MAIL + RCPT + b"DATA\r\n")
            assert (await talk(b"Received: from x by y\r\n" * hops + b"\r\nx\r\n.\r\n")).startswith(answer)

    attack(SmtpSite(), play)


@pytest.mark.parametrize("state", ["greeted", "in a line", "in DATA", "in a chunk", "between chunks", "in AUTH"])
def test_slow_clients(state: str) -> None:
    """Octets that trickle hold no place: each state has an end."""
    site = SmtpSite()
    start = {
        "greeted": b"",
        "in a line": b"MA",
        "in DATA": MAIL + RCPT + b"DATA\r\n",
        "in a chunk": MAIL + RCPT + b"BDAT 100000\r\n",
        "between chunks": MAIL + RCPT,
        "in AUTH": b"AUTH PLAIN\r\n",
    }[state]

    async def play(talk: Talk, _link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(hello("stranger") + start)
        drop = b"BDAT 1\r\nx" if state == "between chunks" else b"" if state == "greeted" else b"x"
        for _ in range(20):
            site.clock.advance(60)
            if drop and not transport.gone:
                await talk(drop)
            site.server._look()
        assert b"421 4.4.2" in transport.written or transport.gone

    attack(site, play, protocol="submission" if state == "in AUTH" else "smtp", tls=state == "in AUTH")


def test_many_clients() -> None:
    """One client is an address or a /64; strangers leave the last tenth of all connections to users."""

    async def run() -> None:
        site = SmtpSite(limits={"connections": 20, "connections_per_client": 3})
        said = [site.connect(peer=(f"2001:db8::{number:x}", 1))[1].take()[:3] for number in range(5)]
        assert said == [b"220", b"220", b"220", b"421", b"421"]
        said = [site.connect(peer=(f"192.0.2.{number}", 1))[1].take()[:3] for number in range(20)]
        assert said[:13] == [b"220"] * 13
        assert said[13:] == [b"421"] * 7
        await site.tasks.close()

    asyncio.run(run())

    async def reserve() -> None:
        site = SmtpSite(limits={"connections": 20}, relay=("198.51.100.0/24",))
        for number in range(18):
            site.connect(peer=(f"192.0.2.{number}", 1))
        assert site.connect(peer=("192.0.2.200", 1))[1].take().startswith(b"421")
        assert site.connect("submission", peer=("192.0.2.201", 1))[1].take().startswith(b"220")
        await site.tasks.close()

    asyncio.run(reserve())


def test_huge_things() -> None:
    """Each has its bound, and the answer comes while it is read."""
    site = SmtpSite(
        limits={"message_size": 65536, "recipients": 100},
        aliases={f"r{n}@example.test": ("alice@example.test",) for n in range(101)},
    )

    async def play(talk: Talk, link: SmtpProtocol, _transport: FakeTransport) -> None:
        assert (await talk(b"EHLO " + b"x" * 5000 + b"\r\n")).splitlines()[-1].startswith("500 5.5.2")
        await talk(hello("stranger"))
        assert (await talk(MAIL[:-2] + b" SIZE=65537\r\n")).startswith("552")
        await talk(MAIL)
        said = await talk(b"".join(b"RCPT TO:<r%d@example.test>\r\n" % n for n in range(101)))
        assert [line[:3] for line in said.splitlines()] == ["250"] * 100 + ["452"]
        await talk(b"DATA\r\n")
        assert await talk(b"x" * 70000) == ""
        assert link.reader is not None
        assert link.reader.overdue.code == 552
        assert link.reader._content.size == 0
        assert (await talk(b"\r\n.\r\n")).startswith("552 5.3.4")

    attack(site, play)


def test_a_huge_header_is_taken_and_costs_no_more_than_a_body() -> None:
    site = SmtpSite()

    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        await talk(hello("stranger") + MAIL + RCPT + b"DATA\r\n")
        assert (await talk(b"X-A: b\r\n" * 300_000 + b"\r\nx\r\n.\r\n")).startswith("250")

    attack(site, play)


def test_write_side_flood() -> None:
    """Who reads nothing is not obeyed, and is cut off after 30 s without progress."""
    site = SmtpSite(limits={"errors": 10**9})

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(hello("stranger"))
        transport.unread = 70_000
        link.pause_writing()
        assert transport.paused
        assert await talk(b"HELP\r\n" * 100) == ""
        site.clock.advance(29)
        site.server._look()
        assert not transport.gone
        site.clock.advance(2)
        site.server._look()
        assert transport.aborted

    attack(site, play)


BOMBS = {
    "nesting": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000)),
    "nested messages": b"Content-Type: message/rfc822\r\n\r\n" * 20_000,
    "parts": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 50_000,
    "parameters": b"Content-Type: text/plain; " + b"".join(b"a*%d=x; " % n for n in range(50_000)) + b"\r\n\r\nx\r\n",
    "addresses": b"From: " + b"<" * 100_000 + b"\r\n\r\nx\r\n",
    "comments": b"From: " + b"(" * 100_000 + b"\r\nSubject: x\r\n\r\n",
    "__proto__": b"__proto__: x\r\nconstructor: y\r\n\r\nx\r\n",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_mime_and_header_bombs(bomb: str) -> None:
    """They are delivered: limits make the rest opaque, and nothing recurses."""
    site = SmtpSite()
    site.hook("mime_part", lambda **_: None)

    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        await talk(hello("stranger") + MAIL + RCPT + b"DATA\r\n")
        assert (await talk(BOMBS[bomb] + b"\r\n.\r\n")).startswith("250 2.0.0")

    attack(site, play)


@pytest.mark.parametrize(
    "address", ["|/bin/sh", "/etc/passwd", ":include:/etc/passwd", ";sleep 66;", "-oQ/tmp", "$(id)", "`id`", "../../x"]
)
def test_command_and_file_addresses(address: str) -> None:
    """CVE-2020-7247: a local part is a name, wherever it comes from; a sender's is carried and never run."""
    site = SmtpSite()

    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        await talk(hello("stranger"))
        said = await talk(f'MAIL FROM:<"{address}"@elsewhere.test>\r\nRCPT TO:<"{address}"@example.test>\r\n'.encode())
        assert [line[:9] for line in said.splitlines()] == ["250 2.1.0", "550 5.1.1"]

    attack(site, play)
