"""Words of replies, verbs of plugins, and verdicts that another plugin overrules: through every door."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import dataclasses

import pytest

from mta.model.address import Address
from mta.pluginhost.call import ContractError
from mta.pluginhost.check import PluginRefused
from mta.testing.plugins import host_with
from mta_hooks import Reply, TemporaryFailure, accept, add_score, defer, hookimpl, quarantine, reject

BOB = Address("bob", "example.test")


# ---- smtp_reply


def test_every_reply_passes_with_the_command_it_answers(site_with, door) -> None:
    asked = []

    @hookimpl
    async def smtp_reply(session, command, reply):
        await asyncio.sleep(0)
        asked.append((command, reply.code))
        return dataclasses.replace(reply, text=f"{command} {session.protocol}")

    @hookimpl(specname="smtp_reply")
    def more(reply):
        return dataclasses.replace(reply, text=reply.text + "!")

    async def work():
        site = site_with(smtp_reply, more)
        client = site.client(door)
        greeting = await client.greet()
        assert greeting == f"220  {door}!\r\n"
        lines = await client.ask("LHLO c" if door == "lmtp" else "EHLO c")
        assert lines[0] == "250-mx.example.test"
        if door == "submission":
            credentials = base64.b64encode(b"\0alice@example.test\0secret").decode()
            assert await client.ask("AUTH PLAIN", credentials) == ["334 ", "235 2.7.0 AUTH submission!"]
        assert await client.ask("MAIL FROM:<alice@example.test>", "RCPT TO:<bob@example.test>", "RCPT TO:<carol@example.test>") == [
            f"250 2.1.0 MAIL {door}!",
            f"250 2.1.5 RCPT {door}!",
            f"250 2.1.5 RCPT {door}!",
        ]
        assert await client.ask("DATA") == [f"354 DATA {door}!"]
        assert await client.ask("Subject: x", "", ".") == [f"250 2.0.0 . {door}!"] * (2 if door == "lmtp" else 1)
        assert await client.ask("XNONE", "RCPT", "NOOP", "QUIT") == [
            f"500 5.5.1 XNONE {door}!",
            f"501 5.5.4  {door}!",
            f"250 2.0.0 NOOP {door}!",
            f"221 2.0.0 QUIT {door}!",
        ]
        assert client.transport.gone

    asyncio.run(work())
    assert ("EHLO", 250) not in asked
    assert ("LHLO", 250) not in asked
    assert ("AUTH", 334) not in asked


@pytest.mark.parametrize(
    "answer",
    [Reply(250, "5.1.1", "x"), Reply(550, "5.7.1", "x"), Reply(550, "5.1.1", ""), Reply(550, "5.1.1", "x", close=True), "text"],
)
def test_only_words_change(site_with, answer) -> None:
    @hookimpl
    def smtp_reply(command):
        return answer if command == "RCPT" else None

    async def work():
        site = site_with(smtp_reply, strict=False)
        client = site.client("smtp")
        await client.open()
        (reply,) = await client.envelope("nobody")
        assert reply.startswith("550 5.1.1 ")
        assert reply != "550 5.1.1 x"
        assert [e for _, e, f in site.messages.lines if f["hook"] == "smtp_reply"] == ["plugin.bad_verdict"]

    asyncio.run(work())
    with pytest.raises(ContractError):
        asyncio.run(
            host_with(smtp_reply).smtp_reply.pipeline("reply", session=None, command="RCPT", reply=Reply(550, "5.1.1", "no"))
        )


def test_words_that_fail_change_nothing(site_with) -> None:
    @hookimpl(on_error="defer")
    def smtp_reply(command):
        if command == "NOOP":
            raise TemporaryFailure("away")

    async def work():
        client = site_with(smtp_reply).client("smtp")
        await client.open()
        assert await client.ask("NOOP", "RSET") == ["250 2.0.0 ok", "250 2.0.0 ok"]

    asyncio.run(work())


# ---- smtp_command


def test_a_registered_verb_is_answered(site_with, door) -> None:
    asked = []

    @hookimpl(verbs=("XPING", "xpong"))
    async def smtp_command(session, verb, args):
        await asyncio.sleep(0)
        asked.append((session.protocol, verb, args))
        return Reply(250, "2.0.0", "pong") if verb == "XPING" else None

    async def work():
        client = site_with(smtp_command).client(door)
        await client.greet()
        replies = await client.ask("xping a b ", "XPONG", "XOTHER c", "NOOP")
        unknown = "500 5.5.1 command not recognised"
        assert replies == ["250 2.0.0 pong", unknown, unknown, "250 2.0.0 ok"]

    asyncio.run(work())
    assert asked == [(door, "XPING", "a b"), (door, "XPONG", "")]


@pytest.mark.parametrize("verbs", [(), "MAIL", "STARTTLS", "X Y", "1X", ("XOK", "quit")])
def test_verbs_that_cannot_be_registered(verbs) -> None:
    @hookimpl(verbs=verbs)
    def smtp_command():
        """Never loaded."""

    with pytest.raises(PluginRefused):
        host_with(smtp_command)


def test_verbs_are_for_smtp_command_only() -> None:
    @hookimpl(verbs="XPING")
    def smtp_mail():
        """Never loaded."""

    with pytest.raises(PluginRefused):
        host_with(smtp_mail)


@pytest.mark.parametrize("answer", [Reply(354, "", "go on"), Reply(100, "", "x"), Reply(334, "", "x"), "250 ok"])
def test_answers_that_no_command_may_have(site_with, answer) -> None:
    @hookimpl(verbs="XPING")
    def smtp_command():
        return answer

    async def work():
        client = site_with(smtp_command, strict=False).client("smtp")
        await client.greet()
        assert await client.ask("XPING") == ["451 4.3.0 temporary failure, try again later"]

    asyncio.run(work())
    with pytest.raises(ContractError):
        asyncio.run(host_with(smtp_command).smtp_command.first(session=None, verb="XPING", args=""))


# ---- verdict_override


def test_a_verdict_dropped_lets_the_next_plugin_speak(site_with, door) -> None:
    asked = []

    @hookimpl
    def smtp_rcpt(recipient):
        return reject("listed") if recipient.local == "alice" else None

    @hookimpl(specname="smtp_rcpt")
    def second():
        asked.append("second")

    @hookimpl
    def verdict_override(session, transaction, hook, plugin, verdict):
        asked.append((session.protocol, str(transaction.sender), hook, plugin, verdict.text))
        return accept("friend")

    async def work():
        site = site_with(smtp_rcpt, second, verdict_override)
        client = site.client(door)
        await client.open()
        assert (await client.send("alice"))[0].startswith("250 2.0.0 queued")
        words = [(s["hook"], s["plugin"]) for s in site.spool.accepted[0].trace if "hook" in s]
        assert words == [("smtp_rcpt", "p0"), ("verdict_override", "p2")]
        (line,) = [f for _, e, f in site.messages.lines if e == "plugin.overruled"]
        assert (line["plugin"], line["by"], line["verdict"], line["instead"]) == ("p0", "p2", "reject", "accept")

    asyncio.run(work())
    assert asked == [(door, "alice@example.test", "smtp_rcpt", "p0", "listed"), "second"]


def test_an_override_of_the_directory_s_refusal_does_not_exist(site_with) -> None:
    @hookimpl
    def smtp_rcpt():
        return reject("no")

    @hookimpl
    def verdict_override():
        return accept()

    async def work():
        client = site_with(smtp_rcpt, verdict_override).client("smtp")
        await client.open()
        (reply,) = await client.envelope("nobody")
        assert reply.startswith("550 5.1.1")
        assert await client.ask("RCPT TO:<x@elsewhere.test>") == ["550 5.7.1 relaying denied"]

    asyncio.run(work())


@pytest.mark.parametrize(
    ("instead", "reply", "folder"),
    [
        (None, "550 5.7.1 spam", None),
        (defer("later"), "451 4.7.1 later", None),
        (quarantine("q"), "250 2.0.0 queued", "Junk"),
        (add_score(2), "250 2.0.0 queued", "INBOX"),
        (add_score(6), "250 2.0.0 queued", "Junk"),
    ],
)
@pytest.mark.parametrize("hook", ["message_check", "message_headers", "message_sink", "mime_part"])
def test_another_verdict_in_its_place(site_with, hook, instead, reply, folder) -> None:
    seen = []

    class Sink:
        def feed(self, octets):
            """Hears nothing."""

        def close(self):
            return reject("spam")

    @hookimpl(specname=hook)
    def judge():
        return Sink() if hook == "message_sink" else reject("spam")

    @hookimpl
    def verdict_override(transaction):
        seen.append(transaction.origin)
        return instead

    async def work():
        site = site_with(judge, verdict_override)
        client = site.client("smtp")
        await client.open()
        assert (await client.send("alice"))[0].startswith(reply)
        assert [d.placement.folder for i in site.spool.accepted for d in i.deliveries] == ([folder] if folder else [])

    asyncio.run(work())
    assert seen == ["smtp"]


def test_one_recipient_s_verdict_overruled(site_with) -> None:
    @hookimpl
    def message_check():
        return {BOB: reject("no")}

    @hookimpl
    def verdict_override(verdict):
        return quarantine("rather not")

    async def work():
        site = site_with(message_check, verdict_override)
        client = site.client("lmtp")
        await client.open()
        assert [r[:3] for r in await client.send("alice", "bob")] == ["250", "250"]
        folders = {d.recipient.local: d.placement.folder for d in site.spool.accepted[0].deliveries}
        assert folders == {"alice": "INBOX", "bob": "Junk"}

    asyncio.run(work())


@pytest.mark.parametrize("instead", [quarantine("not at MAIL"), add_score(1), "no"])
def test_an_override_that_the_hook_does_not_allow_is_a_fault_and_the_verdict_stands(site_with, instead) -> None:
    @hookimpl
    def smtp_mail():
        return reject("no")

    @hookimpl
    def verdict_override():
        return instead

    async def work():
        site = site_with(smtp_mail, verdict_override, strict=False)
        client = site.client("smtp")
        await client.open()
        assert await client.ask("MAIL FROM:<a@elsewhere.test>") == ["550 5.7.1 no"]
        assert [e for _, e, _ in site.messages.lines] == ["plugin.bad_verdict"]

    asyncio.run(work())


def test_errors_and_accepts_are_not_asked_about(site_with) -> None:
    asked = []

    @hookimpl
    def smtp_mail(sender):
        if sender is None:
            raise ValueError("bug")
        return accept()

    @hookimpl
    def verdict_override(hook):
        asked.append(hook)

    async def work():
        client = site_with(smtp_mail, verdict_override).client("smtp")
        await client.open()
        assert await client.ask("MAIL FROM:<>") == ["451 4.3.0 temporary failure"]
        assert await client.ask("MAIL FROM:<a@b.test>") == ["250 2.1.0 sender ok"]

    asyncio.run(work())
    assert asked == []
