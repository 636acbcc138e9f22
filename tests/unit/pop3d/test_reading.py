"""``message_read`` over POP3: the sizes that STAT and LIST tell are those of what RETR shows."""

import asyncio

import pytest

from mta.model.errors import TemporaryFailure
from mta.testing.pop3d import Pop3Site
from mta.testing.smtpd import FakePlan

SEALED, PLAIN = b"Subject: x\r\n\r\nsealed\r\n", b"Subject: y\r\n\r\nplain\r\n"
SHOWN = b"Subject: x\r\n\r\n.opened now\r\nsecond\r\n"


def spoken(rule, *commands):
    async def work():
        site = Pop3Site([SEALED, PLAIN])
        if rule is not None:
            site.hooks.message_read = FakePlan(rule)
        link, transport = site.connect()
        await site.settle(link)
        transport.take()
        lines = (b"USER alice@example.test", b"PASS secret", *commands)
        return [await site.talk(link, transport, line + b"\r\n") for line in lines][1:]

    return asyncio.run(work())


def opened(user, message, stream):
    assert (user, message.notes["mailbox"]) == ("alice@example.test", "INBOX")
    return SHOWN if b"sealed" in stream else None


def test_sizes_and_octets_are_of_what_is_shown() -> None:
    total = len(SHOWN) + len(PLAIN)
    said = spoken(opened, b"STAT", b"LIST 1", b"RETR 1", b"TOP 1 1", b"RETR 2", b"DELE 1", b"STAT")
    assert said[0] == b"+OK 2 messages, %d octets\r\n" % total
    assert said[1] == b"+OK 2 %d\r\n" % total
    assert said[2] == b"+OK 1 %d\r\n" % len(SHOWN)
    assert said[3] == b"+OK %d octets\r\n%b.\r\n" % (len(SHOWN), SHOWN.replace(b"\n.", b"\n.."))
    assert said[4] == b"+OK\r\nSubject: x\r\n\r\n..opened now\r\n.\r\n"
    assert said[5] == b"+OK %d octets\r\n%b.\r\n" % (len(PLAIN), PLAIN)
    assert said[7] == b"+OK 1 %d\r\n" % len(PLAIN)


def test_while_it_fails_nobody_gets_in() -> None:
    def rule(user, message, stream):
        raise TemporaryFailure("no key")

    assert spoken(rule)[0].startswith(b"-ERR [SYS/TEMP]")


@pytest.mark.parametrize("rule", [None, lambda user, message, stream: None])
def test_without_an_answer_it_is_as_stored(rule) -> None:
    said = spoken(rule, b"RETR 1")
    assert said[0] == b"+OK 2 messages, %d octets\r\n" % (len(SEALED) + len(PLAIN))
    assert said[1] == b"+OK %d octets\r\n%b.\r\n" % (len(SEALED), SEALED)
