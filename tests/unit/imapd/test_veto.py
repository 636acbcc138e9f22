"""The hooks over mailboxes: what they are given, and that exactly what they allowed is done."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mta.model.verdict import reject
from mta.pluginhost.specs import SPECS
from mta.testing.imapd import ImapSite
from mta.testing.pop3d import Pop3Site
from mta.testing.smtpd import FakePlan

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"
DELETED = 8


async def opened(**hooks: Callable[..., Any]) -> ImapSite:
    site = await ImapSite().open()
    for name, function in hooks.items():
        setattr(site.hooks, name, FakePlan(function))
    return site


def nothing(**_: Any) -> None:
    """No opinion."""


def test_append_is_shown_each_message_with_its_flags() -> None:
    async def run() -> None:
        def judge(message: Any, **_: Any) -> Any:
            return reject("no") if message.header("Subject") == "bad" else None

        site = await opened(mailbox_append=judge)
        link, wire = await site.login()
        bad = MESSAGE.replace(b"x", b"bad", 1)
        command = b"a APPEND inbox (\\Seen $k) {%d+}\r\n%b {%d+}\r\n%b\r\n" % (len(MESSAGE), MESSAGE, len(bad), bad)
        assert await site.talk(link, wire, command) == b"a NO [NOPERM] no\r\n"
        calls = site.hooks.mailbox_append.calls
        assert [(c["mailbox"], c["how"], c["source"], c["uids"]) for c in calls] == [("INBOX", "append", "", ())] * 2
        assert [c["flags"] for c in calls] == [("\\Seen", "$k"), ()]
        first = calls[0]["message"]
        assert (first.raw, first.size, first.origin, first.sender, first.id) == (MESSAGE, len(MESSAGE), "imap", None, "")
        assert calls[0]["session"].user == "alice@example.test"
        assert (await site.store.status(await site.mailbox())).messages == 0

    asyncio.run(run())


def test_move_asks_target_then_source() -> None:
    async def run() -> None:
        site = await opened(mailbox_append=nothing, mailbox_expunge=nothing)
        await site.deliver(MESSAGE, MESSAGE)
        link, wire = await site.login(b"SELECT INBOX")
        assert b"a OK" in await site.talk(link, wire, b"a UID MOVE 2,7 Sent\r\n")
        [asked] = site.hooks.mailbox_append.calls
        assert (asked["mailbox"], asked["how"], asked["message"], asked["source"], asked["uids"]) == (
            "Sent",
            "move",
            None,
            "INBOX",
            (2,),
        )
        [asked] = site.hooks.mailbox_expunge.calls
        assert (asked["mailbox"], asked["how"], asked["uids"]) == ("INBOX", "move", (2,))

    asyncio.run(run())


def test_store_names_messages_and_flags_and_seen_by_fetch() -> None:
    async def run() -> None:
        site = await opened(mailbox_store=nothing)
        await site.deliver(MESSAGE, MESSAGE)
        link, wire = await site.login(b"SELECT INBOX")
        await site.talk(link, wire, b"a STORE 1:2 -FLAGS (\\Flagged $k)\r\nb FETCH 2 BODY[]\r\nc UID STORE 9 +FLAGS (\\Seen)\r\n")
        asked = [(c["mailbox"], c["uids"], c["change"], c["flags"]) for c in site.hooks.mailbox_store.calls]
        assert asked == [("INBOX", (1, 2), "remove", ("\\Flagged", "$k")), ("INBOX", (2,), "add", ("\\Seen",))]

    asyncio.run(run())


def test_what_is_marked_while_the_hook_thinks_stays() -> None:
    async def run() -> None:
        site = await ImapSite().open()
        inbox = await site.mailbox()

        async def think(**_: Any) -> None:
            await site.store.set_flags(inbox, [3], "add", DELETED, frozenset())

        site.hooks.mailbox_expunge = FakePlan(think)
        await site.deliver(MESSAGE, MESSAGE, MESSAGE)
        link, wire = await site.login(b"SELECT INBOX", b"STORE 1 +FLAGS (\\Deleted)")
        await site.store.set_flags(inbox, [2], "add", DELETED, frozenset())  # another session, not told yet
        await site.talk(link, wire, b"a CLOSE\r\n")
        assert [(c["how"], c["uids"]) for c in site.hooks.mailbox_expunge.calls] == [("close", (1, 2))]
        assert [row.uid for row in (await site.store.changes(inbox, 0)).rows] == [3]

    asyncio.run(run())


def test_a_verdict_that_hangs_up_says_bye_first() -> None:
    async def run() -> None:
        site = await opened(mailbox_expunge=lambda **_: reject("enough").disconnect())
        await site.deliver(MESSAGE, flags=DELETED)
        link, wire = await site.login(b"SELECT INBOX")
        assert await site.talk(link, wire, b"a EXPUNGE\r\n") == b"* BYE enough\r\na NO [NOPERM] enough\r\n"
        assert wire.gone

    asyncio.run(run())


LOGIN_HOOKS = ("auth_policy", "session_login", "auth_result")


@pytest.mark.parametrize("hook", ["mailbox_append", "mailbox_store", "mailbox_expunge", *LOGIN_HOOKS])
def test_each_door_passes_exactly_the_arguments_of_the_specification(hook: str) -> None:
    async def imap() -> list[dict[str, Any]]:
        site = await opened(**{hook: nothing})
        await site.deliver(MESSAGE, MESSAGE, MESSAGE)
        link, wire = await site.login(b"SELECT INBOX")
        for command in (b"COPY 1 Sent", b"MOVE 1 Sent", b"FETCH 1 BODY[]", b"STORE 1 +FLAGS (\\Deleted)", b"EXPUNGE"):
            assert b"x OK" in await site.talk(link, wire, b"x %b\r\n" % command)
        assert b"x OK" in await site.talk(link, wire, b"x APPEND INBOX (\\Deleted) {3}\r\nabc\r\n")
        assert b"x OK" in await site.talk(link, wire, b"x CLOSE\r\n")
        calls: list[dict[str, Any]] = getattr(site.hooks, hook).calls
        return calls

    async def pop3() -> list[dict[str, Any]]:
        site = Pop3Site([MESSAGE])
        setattr(site.hooks, hook, FakePlan(nothing))
        link, wire = await site.login()
        assert (await site.talk(link, wire, b"DELE 1\r\nQUIT\r\n")).count(b"+OK") == 2
        calls: list[dict[str, Any]] = getattr(site.hooks, hook).calls
        return calls

    calls = asyncio.run(imap())
    assert len(calls) == {"mailbox_append": 3, "mailbox_store": 2, "mailbox_expunge": 3}.get(hook, 1)
    over_pop3 = asyncio.run(pop3())
    assert len(over_pop3) == (hook not in ("mailbox_append", "mailbox_store"))
    for call in (*calls, *over_pop3):
        assert tuple(sorted(call)) == tuple(sorted(SPECS[hook].arguments))
        assert "session" not in call or call["session"].protocol in ("imap", "pop3")
