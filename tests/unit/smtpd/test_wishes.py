# SPDX-License-Identifier: Apache-2.0
"""Parameters that travel with the message, who may send as whom, and what a message may say of its authors."""

import asyncio
import base64
from typing import Any

import pytest

from mta.config.sections import Smtp, Submission
from mta.testing.smtpd import SmtpSite

LOGIN = base64.b64encode(b"\0alice@example.test\0secret")


def send(
    site: SmtpSite,
    message: bytes,
    *,
    mail: bytes = b"",
    sender: bytes = b"alice@example.test",
    to: bytes = b"bob@example.test",
    door: str = "submission",
    **connection: Any,
) -> str:
    """The reply to the end of a message, or to MAIL when that is refused."""

    async def run() -> str:
        link, transport = site.connect(door, tls=door == "submission", **connection)
        transport.take()
        await site.talk(link, transport, b"EHLO client.example\r\n")
        if door == "submission":
            assert (await site.talk(link, transport, b"AUTH PLAIN " + LOGIN + b"\r\n")).startswith(b"235")
        said = (await site.talk(link, transport, b"MAIL FROM:<" + sender + b">" + mail + b"\r\n")).decode()
        if said.startswith("250"):
            await site.talk(link, transport, b"RCPT TO:<" + to + b">\r\nDATA\r\n")
            said = (await site.talk(link, transport, message + b".\r\n")).decode()
        await site.tasks.close()
        return said

    return asyncio.run(run())


PLAIN = b"From: Alice <alice@example.test>\r\nSubject: x\r\n\r\nbody\r\n"


def test_wishes_go_with_the_message() -> None:
    site = SmtpSite()
    send(site, PLAIN, mail=b" REQUIRETLS MT-PRIORITY=5 BY=3600;RT", to=b"far@elsewhere.test")
    [intake] = site.spool.accepted
    now = site.clock.now()
    assert (intake.requiretls, intake.priority, intake.deliver_by, intake.by_mode) == (True, 5, now + 3600, "RT")
    send(site, PLAIN, to=b"far@elsewhere.test")
    plain = site.spool.accepted[1]
    assert (plain.requiretls, plain.priority, plain.deliver_by, plain.by_mode) == (False, 0, None, "")


def test_what_is_held_waits_in_the_queue_for_local_readers_too() -> None:
    site = SmtpSite(aliases={"all@example.test": ("bob@example.test", "far@elsewhere.test")})
    send(site, PLAIN, mail=b" HOLDFOR=600", to=b"all@example.test")
    [intake] = site.spool.accepted
    assert intake.deliveries == ()
    assert [(row.transport, row.due) for row in intake.queued] == [
        ("local", site.clock.now() + 600),
        ("remote", site.clock.now() + 600),
    ]


FAR = {"all@example.test": ("far@elsewhere.test",)}


def test_strangers_do_not_jump_the_queue() -> None:
    site = SmtpSite(aliases=FAR)
    for priority in (b"9", b"-4"):
        send(site, PLAIN, mail=b" MT-PRIORITY=" + priority, door="smtp", sender=b"a@elsewhere.test", to=b"all@example.test")
    assert [intake.priority for intake in site.spool.accepted] == [0, -4]


SENDERS = Submission(senders={"Info@shop.test": ("alice@example.test",), "@lists.test": ("alice@example.test",)})
ALIASES = {"sales@example.test": ("alice@example.test",), "board@example.test": ("bob@example.test",)}


@pytest.mark.parametrize(
    ("sender", "good"),
    [
        ("alice@example.test", True),
        ("Alice+shop@example.test", True),
        ("sales@example.test", True),
        ("info@shop.test", True),
        ("any@lists.test", True),
        ("bob@example.test", False),
        ("board@example.test", False),
        ("other@shop.test", False),
        ("a@elsewhere.test", False),
    ],
)
def test_a_user_sends_as_himself_or_as_was_given_to_him(sender: str, good: bool) -> None:
    site = SmtpSite(aliases=ALIASES, submission=SENDERS)
    assert send(site, PLAIN, sender=sender.encode()).startswith("250 2.0.0" if good else "553 5.7.1")
    said = send(site, b"From: X <" + sender.encode() + b">\r\n\r\nbody\r\n")
    assert said.startswith("250 2.0.0" if good else "550 5.7.1")


@pytest.mark.parametrize(
    "header",
    [
        b"From: bob@example.test\r\n",
        b"From: alice@example.test, bob@example.test\r\n",
        b"From: alice@example.test\r\nSender: bob@example.test\r\n",
        b"From: alice@example.test\r\nFROM : bob@example.test\r\n",
        b"From: alice@example.test\r\nFrom:\r\n bob@example.test\r\n",
        b'From: "alice@example.test"\r\n',
        b"From: =?utf-8?q?alice=40example.test?=\r\n",
        b"From: alice@example.test <bob@example.test>\r\n",
        b"From: friends: bob@example.test;\r\n",
        b"From: alice@example.test@elsewhere.test\r\n",
    ],
)
def test_an_author_that_the_user_is_not_is_refused(header: bytes) -> None:
    assert send(SmtpSite(), header + b"\r\nbody\r\n").startswith("550 5.7.1")


def test_the_checks_can_be_off() -> None:
    site = SmtpSite(submission=Submission(sender_check="none", from_check="none"))
    assert send(site, b"From: bob@example.test\r\n\r\nx\r\n", sender=b"a@elsewhere.test").startswith("250 2.0.0")


def test_bcc_goes_when_the_config_says_so() -> None:
    message = PLAIN.replace(b"Subject", b"Bcc: secret@elsewhere.test,\r\n other@elsewhere.test\r\nSubject")
    site = SmtpSite(submission=Submission(strip_bcc=True))
    send(site, message)
    send(SmtpSite(), message)
    assert b"secret" not in site.spool.accepted[0].content.raw()
    assert b"Subject: x\r\n" in site.spool.accepted[0].content.raw()


AMBIGUOUS = [
    b"From: a@elsewhere.test\r\nFrom: b@elsewhere.test\r\n",
    b"From: a@elsewhere.test\r\nfrom : b@elsewhere.test\r\n",
    b"From: a@elsewhere.test, b@elsewhere.test\r\n",
    b"From: A\r\n <a@elsewhere.test>,\r\n b@elsewhere.test\r\n",
    b"From: a@elsewhere.test\r\nSender: a@elsewhere.test\r\nSender: b@elsewhere.test\r\n",
    b"From: a@elsewhere.test\r\nDate: x\r\nDate: y\r\n",
    b"From: a@elsewhere.test\r\nMessage-ID: <1@x>\r\nMessage-ID: <2@x>\r\n",
]


@pytest.mark.parametrize("header", AMBIGUOUS)
def test_parser_confusion_is_refused(header: bytes) -> None:
    """Several From, Sender, Date or Message-ID fields, several addresses in From (CVE-2024-49040)."""
    message = header + b"\r\nbody\r\n"
    assert send(SmtpSite(), message, door="smtp", sender=b"a@elsewhere.test").startswith("550 5.6.0")
    lenient = SmtpSite(smtp=Smtp(header_faults="accept"))
    assert send(lenient, message, door="smtp", sender=b"a@elsewhere.test").startswith("250 2.0.0")


@pytest.mark.parametrize(
    "header",
    [
        b'From: "Last, First" <a@elsewhere.test>\r\nFrom-Other: x\r\n',
        b"From: a@elsewhere.test (one, two)\r\nDate: x\r\nDate-Received: y\r\n",
        b"From: A\r\n <a@elsewhere.test>\r\n",
        b"Subject: no author at all\r\n",
        b"From: group: a@elsewhere.test;\r\n",
    ],
)
def test_what_only_looks_ambiguous_is_taken(header: bytes) -> None:
    assert send(SmtpSite(), header + b"\r\nbody\r\n", door="smtp", sender=b"a@elsewhere.test").startswith("250 2.0.0")


def test_a_priority_crosses_old_hosts_in_a_field() -> None:
    """RFC 6758: believed of those we know; a stranger's field goes, as does one beside the parameter."""
    message = PLAIN.replace(b"Subject", b"MT-Priority: 7\r\nSubject")
    site = SmtpSite(aliases=FAR)
    send(site, message, to=b"all@example.test")
    send(site, message, mail=b" MT-PRIORITY=2", to=b"all@example.test")
    send(site, message, door="smtp", sender=b"alice@example.test", to=b"all@example.test")
    send(site, PLAIN.replace(b"Subject", b"MT-Priority: 77\r\nSubject"), to=b"all@example.test")
    assert [intake.priority for intake in site.spool.accepted] == [7, 2, 0, 0]
    assert [b"MT-Priority" in intake.content.raw() for intake in site.spool.accepted] == [True, False, False, True]


def test_thousands_of_recipients_when_the_config_says_so() -> None:
    async def run() -> None:
        site = SmtpSite(limits={"recipients": 5000}, relay=("192.0.2.0/24",))
        link, transport = site.connect()
        transport.take()
        assert b"250-LIMITS RCPTMAX=5000\r\n" in await site.talk(link, transport, b"EHLO client.example\r\n")
        said = await site.talk(
            link, transport, b"MAIL FROM:<>\r\n" + b"".join(b"RCPT TO:<u%d@far.test>\r\n" % n for n in range(5001))
        )
        assert said.count(b"250 2.1.5") == 5000
        assert said.endswith(b"452 4.5.3 too many recipients, send the others in another transaction\r\n")
        await site.talk(link, transport, b"DATA\r\n")
        assert (await site.talk(link, transport, b"x\r\n.\r\n")).startswith(b"250")
        assert len(site.spool.accepted[0].queued) == 5000
        await site.tasks.close()

    asyncio.run(run())
