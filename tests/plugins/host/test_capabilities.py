"""Capabilities and commands that plugins bring, over IMAP, SMTP and POP3; hiding them; commands by ``imap_command``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.config.sections import Imap, Listener
from mta.model.errors import TemporaryFailure
from mta.model.reply import Reply
from mta.net.clock import SystemClock
from mta.net.listener import ListenerSpec
from mta.obs.log import Log
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.context import Services
from mta.pluginhost.host import HookHost
from mta.testing.imapd import ImapSite
from mta.testing.pop3d import Pop3Site
from mta.testing.smtpd import SmtpSite
from mta_hooks import ImapReply, hookimpl
from mta_hooks.capabilities import Pop3Reply


async def echo(session, arguments, ctx):
    assert ctx.plugin == "bringer"
    await asyncio.sleep(0)
    if arguments == ["break"]:
        raise RuntimeError("broken")
    if arguments == ["none"]:
        return None
    if arguments == ["wrong"]:
        return "yes"
    if arguments == ["inject"]:
        return ImapReply("x", lines=["a\r\nb OK"])
    return ImapReply("echoed", code="XMORE 7", lines=[f"XECHO {arguments!r}", session.user])


def early():
    return ImapReply()


def ehlo_verb(session, arguments):
    return Reply(250, "2.0.0", f"{session.helo} said {arguments}")


def cost(value):
    if value == "raise":
        raise RuntimeError("broken")
    return None if value is not None and value.isdigit() else "XCOST takes a number"


def lines(ctx, arguments):
    return Pop3Reply("all of it", lines=[arguments, ".hidden", ""]) if arguments else Pop3Reply("say what", ok=False)


class Bringer:
    @hookimpl
    def register(self, registry):
        registry.capability("imap", "XECHO", commands={"XECHO": echo})
        registry.capability("imap", "XEARLY=1", commands={"XEARLY": early}, before_login=True)
        registry.capability(
            "smtp", "XCOST", params="EUR USD", commands={"XSAY": ehlo_verb}, mail={"XCOST": cost}, rcpt={"XNICK": None}
        )
        registry.capability("pop3", "XLINES", params="MANY", commands={"XLINES": lines})


def host_with(*plugins):
    host = HookHost(Services("mx.here.test", SystemClock(), Log()))
    host.change(add=[host.make(("bringer", "other")[n], plugin, "drop-in", n) for n, plugin in enumerate(plugins)])
    return host


def imap(*commands, login=True, config=None, listener=None, plugins=()):
    async def scenario():
        site = await ImapSite().open()
        host = host_with(*(plugins or (Bringer(),)))
        site.hooks.offering, site.hooks.imap_command = host.offering, host.imap_command
        if config is not None:
            server = site.server
            server._hidden = frozenset(config.hide)
            server._hidden_from = {user: frozenset(words) for user, words in config.hide_from.items()}
            server._hides = True
        if login:
            link, transport = await site.login()
        else:
            link, transport = site.connect()
            transport.take()
        if listener is not None:
            link._listener = listener
        said = [await site.talk(link, transport, command + b"\r\n") for command in commands]
        await site.tasks.close()
        return said

    return asyncio.run(scenario())


def test_an_imap_command_gets_its_arguments_and_answers():
    (said,) = imap(b'a XECHO atom "quo\\"ted" {3+}\r\nabc NIL (\\Flag (x "y")) INBOX*')
    assert said == (
        b"* XECHO ['atom', 'quo\"ted', 'abc', None, ['\\\\Flag', ['x', 'y']], 'INBOX*']\r\n"
        b"* alice@example.test\r\na OK [XMORE 7] echoed\r\n"
    )
    assert imap(b"a xecho") == [b"* XECHO []\r\n* alice@example.test\r\na OK [XMORE 7] echoed\r\n"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"a XECHO break", b"a NO [UNAVAILABLE] try again later\r\n"),
        (b"a XECHO wrong", b"a NO [UNAVAILABLE] try again later\r\n"),
        (b"a XECHO inject", b"a NO [UNAVAILABLE] try again later\r\n"),
        (b"a XECHO none", b"a BAD no such command\r\n"),
        (b"a XNOT there", b"a BAD no such command\r\n"),
        (b"a XECHO (open", b"a BAD *"),
        (b"a XECHO ", b"a BAD *"),
        (b"a XECHO " + b"(" * 50, b"a BAD *"),
    ],
)
def test_a_broken_command_costs_itself_only(command, answer):
    said, after = imap(command, b"b NOOP")
    assert said == answer or (answer.endswith(b"*") and said.startswith(answer[:-1]))
    assert after == b"b OK done\r\n"


def test_before_login():
    capability, early, late = imap(b"a CAPABILITY", b"b XEARLY", b"c XECHO", login=False)
    assert b" XEARLY=1" in capability
    assert b"XECHO" not in capability
    assert early == b"b OK done\r\n"
    assert late == b"c BAD log in first\r\n"
    assert b" XECHO XEARLY=1" in imap(b"a CAPABILITY")[0]


def test_hiding():
    hide = Imap(hide=("CONDSTORE",), hide_from={"alice@example.test": ("XECHO",), "bob@example.test": ("IDLE",)})
    words = imap(b"a CAPABILITY", config=hide)[0].split()
    assert b"CONDSTORE" not in words
    assert b"XECHO" not in words
    assert {b"IDLE", b"QRESYNC", b"XEARLY=1"} <= set(words)
    spec = ListenerSpec.of(Listener(url="imap://127.0.0.1:2143", hide=("qresync",)))
    words = imap(b"a CAPABILITY", listener=spec)[0].split()
    assert b"QRESYNC" not in words
    assert b"CONDSTORE" in words


class Hooked:
    @hookimpl(verbs="XPING")
    def imap_command(self, session, command):
        return ImapReply("pong", lines=[f"XPING {session.user or 'nobody'} {command.verb} {list(command.arguments)}"])


def test_the_hook_answers_what_it_registered():
    ping, other = imap(b"a xping 1", b"b XPONG 1", plugins=(Bringer(), Hooked()), login=False)
    assert ping == b"* XPING nobody XPING ['1']\r\na OK pong\r\n"
    assert other == b"b BAD no such command\r\n"


def test_smtp_has_keyword_parameters_and_verb_in_one_object():
    async def scenario():
        site = SmtpSite()
        site.hooks.offering = host_with(Bringer()).offering
        link, transport = site.connect("smtp")
        said = []
        for line in (
            "XSAY early", "EHLO client.test", "XSAY something else", "MAIL FROM:<a@b.test> XCOST=x", "MAIL FROM:<a@b.test> XCOST=raise",
            "MAIL FROM:<a@b.test> XCOST", "MAIL FROM:<a@b.test> XCOST=12", "RCPT TO:<alice@example.test> XNICK=al", "RCPT TO:<bob@example.test> XCOST=1",
        ):  # fmt: skip
            transport.take()
            link.data_received(line.encode() + b"\r\n")
            await site.settle(link)
            said.append(transport.take().decode())
        await site.tasks.close()
        return said, site.hooks

    said, _ = asyncio.run(scenario())
    assert said[0].startswith("503")
    assert "250-XCOST EUR USD\r\n" in said[1] or said[1].endswith("250 XCOST EUR USD\r\n")
    assert said[2] == "250 2.0.0 client.test said something else\r\n"
    assert said[3] == "501 5.5.4 XCOST takes a number\r\n"
    assert said[4].startswith("451 4.3.0")
    assert said[5].startswith("501")
    assert [line[:3] for line in said[6:]] == ["250", "250", "555"]


def test_pop3_has_a_line_and_a_verb():
    async def scenario():
        site = Pop3Site([b"Subject: a\r\n\r\nb\r\n"])
        site.hooks.offering = host_with(Bringer()).offering
        link, transport = site.connect()
        said = []
        for line in (b"CAPA", b"XLINES x", b"USER alice@example.test", b"PASS secret", b"CAPA", b"XLINES some", b"XLINES", b"NOOP"):
            transport.take()
            link.data_received(line + b"\r\n")
            await site.settle(link)
            said.append(transport.take())
        await site.tasks.close()
        return said

    said = asyncio.run(scenario())
    assert b"XLINES" not in said[0]
    assert said[1] == b"-ERR log in first\r\n"
    assert b"\r\nXLINES MANY\r\n" in said[4]
    assert said[5] == b"+OK all of it\r\nsome\r\n..hidden\r\n\r\n.\r\n"
    assert said[6] == b"-ERR say what\r\n"
    assert said[7].startswith(b"+OK")


@pytest.mark.parametrize(
    ("words", "options", "problem"),
    [
        (("jmap", "XA"), {}, "imap, smtp and pop3"),
        (("imap", "x a"), {}, "upper case"),
        (("imap", "XA"), {"params": "b"}, "for smtp and pop3"),
        (("imap", "XA"), {"commands": {"FETCH": echo}}, "IMAP's own"),
        (("imap", "XA"), {"commands": {"xa": echo}}, "IMAP's own"),
        (("smtp", "XA"), {"commands": {"MAIL": echo}}, "SMTP's own"),
        (("pop3", "XA"), {"commands": {"RETR": lines}}, "POP3's own"),
        (("pop3", "XA"), {"commands": {"XTND": 7}}, "must be a function"),
        (("imap", "XA"), {"commands": {"XA": lambda session, line: None}}, "has no argument line; it has session, arguments, ctx"),
        (("imap", "XA"), {"commands": {"XA": lambda *args: None}}, r"has no argument \*args"),
        (("imap", "XA"), {"mail": {"XA": None}}, "only smtp"),
        (("smtp", "XA"), {"mail": {"SIZE": None}}, "SMTP's own"),
        (("smtp", "XA"), {"rcpt": {"XA": "yes"}}, "must be a function"),
    ],
)
def test_offers_that_cannot_be_used(words, options, problem):
    class Wrong:
        @hookimpl
        def register(self, registry):
            registry.capability(*words, **options)

    with pytest.raises(PluginRefused, match=problem):
        host_with(Wrong())


def test_two_plugins_bring_the_same():
    with pytest.raises(PluginRefused, match="brings the imap capability XECHO, and so does bringer"):
        host_with(Bringer(), Bringer())


def test_verbs_of_the_hook_are_checked():
    class Wrong:
        @hookimpl(verbs="FETCH")
        def imap_command(self, command): ...

    with pytest.raises(PluginRefused, match="a verb of IMAP's own"):
        host_with(Wrong())


def test_health_counts_commands_like_hooks():
    host = host_with(Bringer())

    async def scenario():
        await host.offering.commands["smtp", "XSAY"].call(session=None, arguments="x")

    with pytest.raises(TemporaryFailure):
        asyncio.run(scenario())
    (health,) = host.health()
    say = next(hook for hook in health.hooks if hook.hook == "smtp XSAY")
    assert (say.calls, say.errors) == (1, 1)
    assert "helo" in say.last_error
    assert {"imap XECHO", "imap XEARLY", "pop3 XLINES"} <= {hook.hook for hook in health.hooks}
