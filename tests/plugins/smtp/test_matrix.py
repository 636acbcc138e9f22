"""Hooks × doors: a conversation through each door calls every hook that belongs to it, in its mode, with what it promises.

``CELLS`` has each hook of the contract: the doors at which it is called here, or the test that shows it elsewhere. Each hook is
implemented with all its documented arguments, and each argument is looked at wherever it appears. A hook without a cell fails.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mta.directory.login import Attempt, Login
from mta.model.address import Address
from mta.model.directory import AuthFail, AuthOk
from mta.model.errors import TemporaryFailure
from mta.model.message import Recipient
from mta.model.reply import Reply
from mta.pluginhost.call import ContractError
from mta.pluginhost.plan import Plan
from mta.pluginhost.specs import SPECS
from mta.testing.imapd import ImapSite
from mta.testing.memory import MemoryDatabase
from mta.testing.plugins import FakeSession, RecordingLog, host_with, plugin_of
from mta.testing.pop3d import Pop3Site
from mta_hooks import Action, Envelope, ImapCommand, ImapReply, MailboxEvent, Placement, Tls, Verdict, hookimpl, reject

ROOT = Path(__file__).resolve().parents[3]
ALICE = Address("alice", "example.test")
SMTP = ("smtp", "submission", "lmtp", "local")
ALL = (*SMTP, "imap", "pop3")
LOGIN = ("submission", "imap", "pop3")
CELLS = {
    # of every connection
    "smtp_connect": ALL,
    "smtp_disconnect": ALL,
    "auth_policy": LOGIN,
    "auth_verify": LOGIN,
    "auth_result": LOGIN,
    "session_login": LOGIN,
    "verdict_override": (*SMTP, "imap"),
    # of SMTP's conversations
    **dict.fromkeys(("smtp_ehlo", "smtp_capabilities", "smtp_reply", "smtp_reset", "smtp_command"), SMTP),
    **dict.fromkeys(("smtp_mail", "smtp_rcpt", "smtp_data", "message_headers", "message_sink", "address_rewrite"), SMTP),
    "smtp_tls": ("submission",),
    "rcpt_policy_key": ("smtp",),
    # of messages that come in
    **dict.fromkeys(
        ("mime_part", "message_authenticate", "message_check", "message_verdict", "message_modify", "message_sign"), SMTP
    ),
    **dict.fromkeys(("queue_enqueue", "mailbox_deliver", "message_accepted", "delivered", "alias_expand"), SMTP),
    "recipient_lookup": SMTP,
    # of mailboxes
    "mailbox_append": ("imap",),
    "mailbox_store": ("imap",),
    "imap_command": ("imap",),
    "mailbox_event": ("imap",),
    "mailbox_expunge": ("imap", "pop3"),
    "message_read": ("imap", "pop3"),
    # not of a door, or of one that these conversations cannot come through
    "register": "tests/plugins/host/test_docs.py",
    "startup": "tests/unit/pluginhost/test_plan.py",
    "shutdown": "tests/integration/faults/test_reload.py",
    "domain_lookup": "tests/unit/directory/test_resolve.py",
    "config_changed": "tests/integration/app/test_supervisor.py",
    "health_check": "tests/unit/app/test_health.py",
    "tls_certificate": "tests/integration/app/test_certificates.py",
    "credentials_lookup": "tests/plugins/smtp/test_matrix.py",
    "user_lookup": "tests/unit/directory/test_login.py",
    "user_change": "tests/integration/app/test_commands.py",
    "queue_admin": "tests/integration/app/test_queue_hooks.py",
    "log_event": "tests/unit/app/test_shipping.py",
    "report_received": "tests/unit/pipeline/test_reports.py",
    "route": "tests/unit/route/test_router.py",
    "deliver": "tests/unit/local/test_transport.py",
    **dict.fromkeys(("delivery_policy", "delivery_attempt", "delivery_modify", "delivery_status"), "tests/integration/outbound"),
    **dict.fromkeys(("mx_lookup", "tls_policy", "tls_result", "deferred", "bounced", "dsn_compose"), "tests/integration/outbound"),
}
METHODS = {
    "verdict": {"verdict"},
    "first": {"first", "named"},
    "all": {"all", "open"},
    "pipeline": {"pipeline"},
    "notify": {"notify"},
    "durable": {"notify"},
}


EVENTS = {
    "MessageAppend", "MessageRead", "MessageTrash", "MessageExpunge", "FlagsSet", "FlagsClear", "MailboxCreate", "MailboxRename", "MailboxDelete",
    "MailboxSubscribe", "MailboxUnSubscribe",
}  # fmt: skip
"""Of an IMAP session; MessageNew, QuotaExceed, Login and Logout are in tests/integration/app/test_occurrences.py and those of the stores."""


def is_pairs(value):
    return all(isinstance(name, str) and isinstance(text, str) for name, text in value)


def is_shown(v, door):
    return v.header("Subject") == "x" and (v.raw.endswith(b"body\r\n") or v.raw.endswith(b"\r\n\r\n"))


CHECKS = {
    "session": lambda v, door: v.protocol == door and v.id,
    "transaction": lambda v, door: v is None if door == "imap" else v.id and v.sender == ALICE and v.origin == door,
    "message": lambda v, door: (
        (v is None and door == "imap") or (v.origin == ("imap" if door == "pop3" else door) and is_shown(v, door))
    ),
    "sender": lambda v, door: v == ALICE,
    "recipient": lambda v, door: isinstance(v, Address),
    "recipients": lambda v, door: [type(r) for r in v] == [Recipient] and v[0].address == ALICE,
    "address": lambda v, door: isinstance(v, Address) and (v.domain == "example.test" or v.local == "from"),
    "role": lambda v, door: v in ("envelope_sender", "envelope_recipient", "header_sender", "header_recipient"),
    "envelopes": lambda v, door: (
        [(type(e), e.sender, e.recipients, e.origin, e.attempts) for e in v] == [(Envelope, ALICE, (ALICE,), door, 0)]
    ),
    "domain": lambda v, door: v == "example.test",
    "record": lambda v, door: v.recipient == str(ALICE) and v.origin == door and v.result == "delivered",
    "event": lambda v, door: isinstance(v, MailboxEvent) and v.user == str(ALICE) and v.event and v.at > 0,
    "params": lambda v, door: isinstance(v, Mapping),
    "name": lambda v, door: v == "client.test",
    "verb": lambda v, door: v in ("EHLO", "LHLO", "XPING"),
    "args": lambda v, door: v == "now",
    "command": lambda v, door: v.arguments == ("now",) if isinstance(v, ImapCommand) else isinstance(v, str),
    "reply": lambda v, door: isinstance(v, Reply) and v.text,
    "reason": lambda v, door: v in ("", "message", "rset", "quit"),
    "capabilities": lambda v, door: "PIPELINING" in v,
    "headers": lambda v, door: is_pairs(v) and v[0] == ("Subject", "x"),
    "part": lambda v, door: (v.path, v.content_type, v.octets) == ("1", "text/plain", b"body\r\n"),
    "results": lambda v, door: isinstance(v, Sequence),
    "scores": lambda v, door: isinstance(v, Mapping),
    "tls": lambda v, door: isinstance(v, Tls),
    "mechanism": lambda v, door: v == {"submission": "PLAIN", "imap": "LOGIN", "pop3": "USER"}[door],
    "username": lambda v, door: v == str(ALICE),
    "credential": lambda v, door: v == "secret",
    "service": lambda v, door: v == ("smtp" if door == "submission" else door),
    "ok": lambda v, door: v is True,
    "user": lambda v, door: v == str(ALICE),
    "placement": lambda v, door: isinstance(v, Placement) and v.folder == "INBOX",
    "stream": lambda v, door: v.endswith(b"body\r\n"),
    "mailbox": lambda v, door: v in ("INBOX", "Archive"),
    "how": lambda v, door: v in ("append", "copy", "expunge", "pop3"),
    "flags": lambda v, door: set(v) <= {"\\Seen", "\\Flagged", "\\Deleted", "\\Answered"},
    "source": lambda v, door: v in ("", "INBOX"),
    "uids": lambda v, door: list(v) in ([], [1], [2]),
    "change": lambda v, door: v in ("add", "remove"),
    "hook": lambda v, door: v in ("smtp_rcpt", "mailbox_store"),
    "plugin": lambda v, door: v == "recorder",
    "verdict": lambda v, door: isinstance(v, Verdict),
}


def cells_of(door):
    return {hook for hook, doors in CELLS.items() if not isinstance(doors, str) and door in doors}


def recorder(calls):
    """A plugin that implements every hook of the doors with all its arguments, and refuses one recipient and one flag."""

    def answer(hook, given):
        calls.setdefault(hook, []).append(given)
        if hook == "smtp_rcpt" and given["recipient"].local == "carol":
            return reject("not carol")
        if hook == "mailbox_store" and "\\Flagged" in given["flags"]:
            return reject("no flags")
        return ImapReply("pong") if hook == "imap_command" else None

    functions = []
    for hook in (hook for hook, doors in CELLS.items() if not isinstance(doors, str)):
        arguments = ", ".join(SPECS[hook].arguments)
        names = {"answer": answer}
        exec(
            f"def {hook}({arguments}): return answer({hook!r}, dict({', '.join(f'{a}={a}' for a in SPECS[hook].arguments)}))", names
        )
        verbs = "XPING" if hook in ("smtp_command", "imap_command") else ()
        functions.append(hookimpl(verbs=verbs)(names[hook]))
    return plugin_of(*functions, name="recorder")


@pytest.fixture
def modes(monkeypatch):
    """(hook, method) of each call of a plan."""
    seen = set()
    for method in {one for methods in METHODS.values() for one in methods}:
        original = getattr(Plan, method)

        def spied(self, *args, _original=original, _method=method, **arguments):
            seen.add((self.spec.name, _method))
            return _original(self, *args, **arguments)

        monkeypatch.setattr(Plan, method, spied)
    return seen


def verified(calls, door, modes, log):
    assert set(calls) == cells_of(door)
    for hook, given in calls.items():
        for call in given:
            assert tuple(call) == SPECS[hook].arguments
            wrong = [name for name, value in call.items() if not CHECKS[name](value, door)]
            assert wrong == [], f"{hook}: {wrong}: {call}"
    assert [(hook, method) for hook, method in modes if method not in METHODS[SPECS[hook].mode]] == []
    assert [line for line in log.lines if line[0] == "error"] == []


async def converse(site, door):
    client = site.client(door)
    await client.greet()
    await client.ask("LHLO client.test" if door == "lmtp" else "EHLO client.test")
    if door == "submission":
        credentials = base64.b64encode(b"\0alice@example.test\0secret").decode()
        assert (await client.ask(f"AUTH PLAIN {credentials}"))[0].startswith("235")
    await client.ask("XPING now")
    await client.envelope("bob")
    await client.ask("RSET")
    assert (await client.envelope("carol", "alice"))[0].startswith("550")
    assert (await client.ask("DATA"))[0].startswith("354")
    assert (await client.ask("Subject: x", "From: from@client.test", "", "body", "."))[0].startswith("250 2.0.0 queued")
    await client.ask("QUIT")
    client.hang_up()
    await site.rest()
    for one in site.spool.accepted[0].notifications:
        await site.hooks.call_durable(one.hook, one.payload)


def test_each_hook_of_an_smtp_door(site_with, door, modes) -> None:
    calls = {}
    site = site_with(recorder(calls))
    asyncio.run(converse(site, door))
    for hook in ("mailbox_event", "report_received"):
        calls.pop(hook, None)
    verified(calls, door, modes, site.messages)
    assert [c["reason"] for c in calls["smtp_reset"]] == ["rset", "message"]
    assert [c["reason"] for c in calls["smtp_disconnect"]] == ["quit"]


def test_each_hook_of_imap(modes) -> None:
    calls, log, users = {}, RecordingLog(), {}

    @hookimpl
    def auth_verify(username, credential):
        return AuthOk(username, users[username]) if credential == "secret" else AuthFail("wrong password")

    async def work():
        host = host_with(recorder(calls), plugin_of(auth_verify, name="accounts"), log=log)
        site = ImapSite(
            hooks=host, database=lambda options: MemoryDatabase(dataclasses.replace(options, durable_hooks=host.durable))
        )
        await site.open()
        users.update(site.users)
        link, transport = site.connect()
        await site.settle(link)
        message = b"Subject: x\r\n\r\nbody\r\n"
        for command, expected in (
            (b"LOGIN alice@example.test secret", b"a OK"),
            (b"XPING now", b"a OK pong"),
            (b"CREATE X", b"a OK"),
            (b"SUBSCRIBE X", b"a OK"),
            (b"UNSUBSCRIBE X", b"a OK"),
            (b"RENAME X Y", b"a OK"),
            (b"DELETE Y", b"a OK"),
            (b"APPEND INBOX () {%d+}\r\n%b" % (len(message), message), b"a OK"),
            (b"SELECT INBOX", b"a OK"),
            (b"FETCH 1 (RFC822.SIZE BODY.PEEK[])", b"body\r\n)"),
            (b"STORE 1 +FLAGS (\\Flagged)", b"a NO"),
            (b"STORE 1 +FLAGS (\\Seen \\Answered)", b"a OK"),
            (b"STORE 1 -FLAGS (\\Answered)", b"a OK"),
            (b"COPY 1 Archive", b"a OK"),
            (b"STORE 1 +FLAGS (\\Deleted)", b"a OK"),
            (b"EXPUNGE", b"a OK"),
            (b"LOGOUT", b"a OK"),
        ):
            said = await site.talk(link, transport, b"a " + command + b"\r\n")
            assert expected in said, (command, said)
        for _ in range(30):
            await asyncio.sleep(0)
        for row in await site.database.outbox.list():
            await host.call_durable(row.hook, row.payload)

    asyncio.run(work())
    verified(calls, "imap", modes, log)
    assert {c["event"].event for c in calls["mailbox_event"]} == EVENTS


def test_each_hook_of_pop3(modes) -> None:
    calls, log = {}, RecordingLog()

    @hookimpl
    def auth_verify(username, credential):
        return AuthOk(username, 1) if credential == "secret" else AuthFail("wrong password")

    async def work():
        site = Pop3Site(
            [b"Subject: x\r\n\r\nbody\r\n"], hooks=host_with(recorder(calls), plugin_of(auth_verify, name="a"), log=log)
        )
        link, transport = site.connect()
        await site.settle(link)
        for command in (b"USER alice@example.test", b"PASS secret", b"RETR 1", b"DELE 1", b"QUIT"):
            assert b"-ERR" not in await site.talk(link, transport, command + b"\r\n")
        link.connection_lost(None)
        for _ in range(30):
            await asyncio.sleep(0)

    asyncio.run(work())
    verified(calls, "pop3", modes, log)


def test_stored_keys_are_asked_for() -> None:
    asked = []

    @hookimpl
    def credentials_lookup(service, username):
        asked.append((service, username))

    async def work():
        host = host_with(credentials_lookup)
        attempt = Attempt("imap", "SCRAM-SHA-256", FakeSession(protocol="imap"))
        assert await Login(host, RecordingLog()).keys(attempt, str(ALICE)) is None

    asyncio.run(work())
    assert asked == [("imap", str(ALICE))]


# ---- the table


@pytest.mark.parametrize("hook", sorted(SPECS))
def test_every_hook_has_its_cell(hook) -> None:
    cell = CELLS[hook]
    if not isinstance(cell, str):
        assert set(cell) <= set(ALL)
        return
    path = ROOT / cell
    files = [path] if path.is_file() else sorted(path.glob("test_*.py"))
    assert any(hook in file.read_text("utf-8") for file in files), f"{cell} does not speak of {hook}"


def test_no_cell_is_of_a_hook_that_went() -> None:
    assert sorted(CELLS) == sorted(SPECS)


# ---- what each may answer

VERDICTS = {
    Action.ACCEPT: Verdict(Action.ACCEPT),
    Action.REJECT: Verdict(Action.REJECT, 550, "5.7.1", "no"),
    Action.DEFER: Verdict(Action.DEFER, 451, "4.7.1", "later"),
    Action.DISCARD: Verdict(Action.DISCARD, reason="r"),
    Action.QUARANTINE: Verdict(Action.QUARANTINE, reason="r"),
    Action.HOLD: Verdict(Action.HOLD, reason="r"),
    Action.REDIRECT: Verdict(Action.REDIRECT, target=("a@b.test",)),
}
OF_ONE = {
    "verdict_override": {"hook": "smtp_rcpt"},
    "smtp_command": {"verb": "X"},
    "imap_command": {"command": ImapCommand("X", ())},
    "queue_enqueue": {"envelopes": ()},
    "queue_admin": {"envelopes": ()},
    "message_check": {"recipients": ()},
    "message_verdict": {"recipients": ()},
}
JUDGES = [hook for hook, spec in SPECS.items() if spec.mode == "verdict" or (spec.allowed and spec.name != "message_sink")]


def asked(hook, answer, *, strict):
    """One implementation that answers this, asked as the engine does; the log."""
    names = {"answer": answer}
    exec(f"def {hook}(): return answer", names)
    log = RecordingLog()
    verbs = "X" if hook in ("smtp_command", "imap_command") else ()
    host = host_with(hookimpl(verbs=verbs)(names[hook]), strict=strict, log=log)
    spec, plan = SPECS[hook], getattr(host, hook)
    arguments = dict.fromkeys(spec.arguments)
    arguments |= OF_ONE.get(hook, {})
    call = {
        "verdict": plan.verdict,
        "first": plan.first,
        "all": plan.all,
        "pipeline": lambda **given: plan.pipeline(spec.arguments[-1], **given),
    }[spec.mode]
    return asyncio.run(call(**arguments)), log


@pytest.mark.parametrize("hook", JUDGES)
@pytest.mark.parametrize("action", sorted(VERDICTS))
def test_documented_verdicts_only(hook, action) -> None:
    verdict = VERDICTS[action]
    if action in SPECS[hook].allowed:
        result, log = asked(hook, verdict, strict=True)
        assert (result.verdict if SPECS[hook].mode == "verdict" else result) == verdict
        assert log.named("plugin.bad_verdict") == []
        return
    with pytest.raises(ContractError, match=hook):
        asked(hook, verdict, strict=True)
    if SPECS[hook].mode == "first":
        with pytest.raises(TemporaryFailure, match=hook):
            asked(hook, verdict, strict=False)
        return
    result, log = asked(hook, verdict, strict=False)
    assert result.verdict.action is Action.DEFER
    (line,) = log.named("plugin.bad_verdict")
    assert (line["plugin"], line["hook"]) == (hook, hook)


@pytest.mark.parametrize("hook", [hook for hook, spec in SPECS.items() if spec.mode in ("verdict", "first", "all", "pipeline")])
def test_an_answer_of_the_wrong_type(hook) -> None:
    if SPECS[hook].mode == "all" and not SPECS[hook].answers:
        return  # startup, shutdown: nobody listens
    with pytest.raises(ContractError, match=hook):
        asked(hook, {"not": object()}, strict=True)
