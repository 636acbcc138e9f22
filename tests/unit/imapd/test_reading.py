"""``message_read`` over IMAP: octets, sizes, structure and searches are those of what is shown; nothing changes without it."""

import asyncio

from mta.model.errors import TemporaryFailure
from mta.testing.imapd import ImapSite
from mta.testing.smtpd import FakePlan

SECRET = b"Subject: x\r\nX-Sealed: yes\r\n\r\nfrperg\r\n"
SHOWN = b"Subject: x\r\nX-Sealed: yes\r\nContent-Type: text/html\r\n\r\na long secret, opened\r\n"
PLAIN = b"Subject: plain\r\n\r\nfrperg\r\n"


async def reader(site, *commands):
    link, transport = await site.login(b"SELECT INBOX")
    return [await site.talk(link, transport, b"a " + command + b"\r\n") for command in commands]


def read(rule, *commands, deliver=(SECRET, PLAIN)):
    async def work():
        site = await ImapSite().open()
        await site.deliver(*deliver)
        plan = None
        if rule is not None:
            plan = site.hooks.message_read = FakePlan(rule)
        return site, plan, await reader(site, *commands)

    return asyncio.run(work())


def opened(user, message, stream):
    assert user == "alice@example.test"
    assert stream == message.raw
    assert message.notes == {"mailbox": "INBOX", "uid": message.notes["uid"]}
    return SHOWN if b"X-Sealed" in stream else None


def test_everything_is_of_what_is_shown() -> None:
    _, plan, said = read(
        opened,
        b"FETCH 1:2 (UID RFC822.SIZE)",
        b"FETCH 1 (RFC822.SIZE BODYSTRUCTURE BODY.PEEK[])",
        b"FETCH 1 BODY.PEEK[TEXT]<2.4>",
        b"FETCH 2 (BODY.PEEK[TEXT])",
    )
    size = len(SHOWN)
    assert said[0].startswith(b"* 1 FETCH (UID 1 RFC822.SIZE %d)\r\n* 2 FETCH (UID 2 RFC822.SIZE %d)\r\n" % (size, len(PLAIN)))
    body = b'"TEXT" "HTML" ("charset" "us-ascii") NIL NIL "7BIT" 23 1 NIL NIL NIL NIL'
    assert b"RFC822.SIZE %d BODYSTRUCTURE (%b) BODY[] {%d}\r\n%b)" % (size, body, size, SHOWN) in said[1]
    assert b"BODY[TEXT]<2> {4}\r\nlong)" in said[2]
    assert b"{8}\r\nfrperg\r\n)" in said[3]
    assert len(plan.calls) == 2, "each message is asked about once"


def test_searches_look_at_what_is_shown() -> None:
    _, _, said = read(
        opened,
        b"SEARCH BODY opened",
        b"SEARCH BODY frperg",
        b"SEARCH LARGER %d" % (len(SECRET) + 1),
        b"SEARCH NOT SMALLER %d" % len(SHOWN),
        b"SEARCH OR SMALLER 1 BODY secret",
        b"SEARCH UNSEEN",
    )
    found = [line.split(b"\r\n")[0] for line in said]
    assert found == [b"* SEARCH 1", b"* SEARCH 2", b"* SEARCH 1", b"* SEARCH 1", b"* SEARCH 1", b"* SEARCH 1 2"]


def test_while_it_fails_the_message_cannot_be_read() -> None:
    def rule(user, message, stream):
        raise TemporaryFailure("no key")

    _, _, said = read(rule, b"FETCH 1 BODY[]", b"FETCH 1 (FLAGS)", b"SEARCH BODY x")
    assert b"a NO [UNAVAILABLE]" in said[0]
    assert b"a OK" in said[1]
    assert b"a NO [UNAVAILABLE]" in said[2]


def test_reading_sets_seen_and_large_messages_are_whole() -> None:
    large = SECRET + b"z" * 70 + b"\r\n" * 2 + (b"y" * 70 + b"\r\n") * 20_000
    shown = (b"q" * 70 + b"\r\n") * 16_000

    _, plan, said = read(lambda **_: shown, b"FETCH 1 BODY[]", b"FETCH 1 BODY[]<1000000.8>", deliver=(large,))
    assert b"{%d}\r\n" % len(shown) in said[0]
    assert shown in said[0]
    assert b"\\Seen" in said[0]
    assert b"BODY[]<1000000> {8}\r\n" in said[1]
    assert len(plan.calls) == 2, "what is large is not kept"


def test_another_set_of_plugins_forgets_what_was_kept() -> None:
    async def work():
        site = await ImapSite().open()
        await site.deliver(SECRET)
        site.hooks.message_read = FakePlan(opened)
        (before,) = await reader(site, b"FETCH 1 RFC822.SIZE")
        site.hooks.message_read = FakePlan(lambda user, message, stream: b"A: b\r\n\r\n")
        (after,) = await reader(site, b"FETCH 1 (RFC822.SIZE BODY.PEEK[])")
        site.hooks.message_read = None
        (off,) = await reader(site, b"FETCH 1 (RFC822.SIZE BODY.PEEK[])")
        return before, after, off

    before, after, off = asyncio.run(work())
    assert b"RFC822.SIZE %d" % len(SHOWN) in before
    assert b"RFC822.SIZE 8 BODY[] {8}\r\nA: b\r\n\r\n)" in after
    assert b"RFC822.SIZE %d BODY[] {%d}\r\n%b)" % (len(SECRET), len(SECRET), SECRET) in off


def test_previews_and_urls_are_of_what_is_shown() -> None:
    _, _, said = read(
        opened,
        b"FETCH 1:2 (EMAILID PREVIEW)",
        b"FETCH 1 (PREVIEW (LAZY))",
        b"ESEARCH IN (personal) RETURN (COUNT) BODY opened",
        b"APPEND Sent CATENATE (URL /INBOX/;UID=1/;SECTION=TEXT)",
        b"FETCH 1 (PREVIEW)",
    )
    assert b'PREVIEW "a long secret, opened")' in said[0]
    assert b'PREVIEW "frperg")' in said[0]
    assert said[1].startswith(b"* 1 FETCH (PREVIEW NIL)\r\n")  # what a plugin shows is not kept
    assert said[2].startswith(b'* ESEARCH (TAG "a" MAILBOX INBOX ')
    assert b"COUNT 1\r\n" in said[2]
    assert b"a OK [APPENDUID " in said[3]
    _, _, unread = read(None, b"FETCH 1 (PREVIEW)")
    assert b'PREVIEW "frperg")' in unread[0]
