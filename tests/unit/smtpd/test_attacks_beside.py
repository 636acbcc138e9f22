# SPDX-License-Identifier: Apache-2.0
"""Rows of the catalogue of SMTP attacks which other tests show in pieces: each here in one, named after its row."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from mta.model.address import Address
from mta.sendmail import options
from mta.smtpd.protocol import SmtpProtocol
from mta.testing.smtpd import FakeTransport, SmtpSite
from mta.wire.mime.addresses import addresses

Talk = Callable[[bytes], Awaitable[str]]
ENVELOPE = b"MAIL FROM:<a@elsewhere.test>\r\nRCPT TO:<alice@example.test>\r\n"


def attack(site: SmtpSite, play: Callable[[Talk, SmtpProtocol, FakeTransport], Awaitable[None]], *, local: bool = False) -> None:
    async def run() -> None:
        link, transport = site.connect("submission" if local else "smtp", local=local)
        await site.settle(link)

        async def talk(octets: bytes) -> str:
            return (await site.talk(link, transport, octets)).decode()

        await talk(b"EHLO client.example\r\n")
        await play(talk, link, transport)
        await site.tasks.close()

    asyncio.run(run())


def test_bdat() -> None:
    """CVE-2017-16943, 16944: a size is judged before an octet is read, and reserves nothing; the octets of a refused chunk are no commands."""
    site = SmtpSite(limits={"message_size": 65536})

    async def play(talk: Talk, link: SmtpProtocol, transport: FakeTransport) -> None:
        await talk(ENVELOPE)
        inside = b"RSET\r\nMAIL FROM:<smuggled@elsewhere.test>\r\n"
        said = await talk(b"BDAT 65537\r\n" + inside)
        assert link.chunks is None or link.chunks._content.size == 0
        said += await talk(b"x" * (65537 - len(inside)))
        assert [line[:9] for line in said.splitlines()] == ["552 5.3.4"], "one answer, to the chunk"
        assert (await talk(b"BDAT 4 LAST\r\nRSET")).startswith("5")
        await talk(b"RSET\r\n" + ENVELOPE)
        assert await talk(b"BDAT 60000 LAST\r\nx") == ""
        assert link.chunks is not None
        assert link.chunks._content.size == 1
        await talk(b"x" * 59_999)
        for nonsense in (b"BDAT -1", b"BDAT 1x", b"BDAT", b"BDAT 1 LAST LAST", b"BDAT 99999999999999999999"):
            if not transport.gone:
                assert (await talk(nonsense + b"\r\n")).startswith("50")

    attack(site, play)
    assert [intake.content.size > 60_000 for intake in site.spool.accepted] == [True]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"alice@example.org)bob@example.test", {b"alice@example.org"}),  # CVE-2023-27043
        (b"<alice@example.org>bob@example.test", {b"alice@example.org"}),
        (b"=?utf-8?q?a=40evil.test=2C_?= <bob@example.test>", {b"bob@example.test"}),  # CVE-2025-1795
        (b'"a@evil.test, " <bob@example.test>', {b"bob@example.test"}),
        (
            b"=?utf-8?q?admin=40example.test?=@elsewhere.test",
            {b"=?utf-8?q?admin=40example.test?=@elsewhere.test"},
        ),  # cpython 152519
    ],
)
def test_parser_confusion(value: bytes, expected: set[bytes]) -> None:
    """What is encoded, quoted or behind an address is none; one that is found is written out."""
    found = {(one.mailbox or b"") + b"@" + one.host for one in addresses(value) if one.host}
    assert b"a@evil.test" not in found
    assert b"bob@example.test" not in found or b"bob@example.test" in expected
    assert b"admin@example.test" not in found
    for text in ("=?utf-8?q?a=40b.test?=@c.test", '"a@b.test"@c.test'):
        assert Address.parse(text).domain == "c.test"


FORWARDS = {"fwd@example.test": ("x@far.test",), "both@example.test": ("alice@example.test", "y@far.test")}


@pytest.mark.parametrize("name", ["fwd", "Both"])
def test_loops_of_forwarders(name: str) -> None:
    """What was sent on for an address once, and comes back to it, is not sent on again; there is no need of fifty rounds."""
    site = SmtpSite(aliases=FORWARDS)

    async def play(talk: Talk, _link: SmtpProtocol, _transport: FakeTransport) -> None:
        async def send(octets: bytes, *recipients: str) -> str:
            rcpt = "".join(f"RCPT TO:<{one}@example.test>\r\n" for one in recipients).encode()
            await talk(b"RSET\r\nMAIL FROM:<a@elsewhere.test>\r\n" + rcpt + b"DATA\r\n")
            return await talk(octets + b".\r\n")

        assert (await send(b"Subject: x\r\n\r\nbody\r\n", name)).startswith("250")
        [intake] = site.spool.accepted
        gone = intake.content.raw()[intake.skip :]
        assert gone.startswith(f"Delivered-To: {name}@example.test\r\nReceived:".encode())
        assert await send(gone, name) == "554 5.4.6 mail forwarding loop\r\n"
        assert (await send(gone, "alice")).startswith("250"), "who only has a mailbox gets what he is sent"
        assert (await send(gone, "bob", name)).startswith("250")
        assert [str(one.recipient) for one in site.spool.accepted[-1].deliveries] == ["bob@example.test"]
        assert site.spool.accepted[-1].queued == (), "and nobody is told who may have been forged"
        assert (await send(gone.replace(b"Delivered-To: ", b"Delivered-To: mailing list "), name)).startswith("250")
        assert (await send(b"\r\nx\r\n", "bob", name)).startswith("250")
        assert b"Delivered-To" not in site.spool.accepted[-1].content.raw(), "one recipient is not shown to another"

    attack(site, play)


def test_sendmail_command() -> None:
    """Over a socket that says which uid speaks: no set-uid program, no file that an option names, the size limit of everybody."""
    site = SmtpSite(limits={"message_size": 65536})

    async def play(talk: Talk, link: SmtpProtocol, _transport: FakeTransport) -> None:
        user = link.peer.user
        assert user == "unknown@mx.example.test", "whom the socket does not know"
        assert (await talk(b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=\r\n")).startswith("50")
        assert (await talk(b"XCLIENT LOGIN=admin\r\n")).startswith("5")
        assert link.peer.user == user
        assert (await talk(b"MAIL FROM:<a@example.test> SIZE=70000\r\n")).startswith("552 5.3.4")

    attack(site, play, local=True)
    chosen = options.parse(["-oQ/tmp/evil", "-X/tmp/log", "-OQueueDirectory=/tmp", "-C/etc/shadow", "x@y.test"])
    assert (chosen.recipients, chosen.config) == (["x@y.test"], "/etc/shadow"), (
        "read as the caller, who has no right more than before"
    )
