"""Hooks × SMTP doors: one message through each door calls every hook of the conversation and the message, with what it promises.

Each hook is implemented with all its documented arguments, and each argument is looked at wherever it appears.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
from collections.abc import Mapping, Sequence

import pytest

from mta.model.address import Address
from mta.pluginhost.specs import SPECS
from mta.testing.plugins import plugin_of
from mta_hooks import Recipient, Reply, Tls, Verdict, hookimpl, reject

ALICE = Address("alice", "example.test")
SESSION = ("smtp_connect", "smtp_ehlo", "smtp_capabilities", "smtp_reply", "smtp_reset", "smtp_disconnect", "smtp_command")
ENVELOPE = ("smtp_mail", "smtp_rcpt", "smtp_data", "message_headers", "message_sink", "verdict_override")
MESSAGE = (
    "mime_part",
    "message_authenticate",
    "message_check",
    "message_verdict",
    "message_modify",
    "message_sign",
    "mailbox_deliver",
)
EVERYWHERE = {*SESSION, *ENVELOPE, *MESSAGE}
ONLY = {
    "smtp": {"rcpt_policy_key"},
    "submission": {"auth_policy", "auth_verify", "auth_result", "session_login", "smtp_tls"},
    "lmtp": set(),
    "local": set(),
}


def is_pairs(value):
    return all(isinstance(name, str) and isinstance(text, str) for name, text in value)


CHECKS = {
    "session": lambda v, door: v.protocol == door and v.id,
    "transaction": lambda v, door: v.id and v.sender == ALICE and v.origin == door,
    "message": lambda v, door: v.id and v.origin == door and v.header("Subject") == "x" and v.raw.endswith(b"body\r\n"),
    "sender": lambda v, door: v == ALICE,
    "recipient": lambda v, door: isinstance(v, Address),
    "recipients": lambda v, door: [type(r) for r in v] == [Recipient] and v[0].address == ALICE,
    "params": lambda v, door: isinstance(v, Mapping),
    "name": lambda v, door: v == "client.test",
    "verb": lambda v, door: v in ("EHLO", "LHLO", "XPING"),
    "args": lambda v, door: v == "now",
    "command": lambda v, door: isinstance(v, str),
    "reply": lambda v, door: isinstance(v, Reply) and v.text,
    "reason": lambda v, door: v in ("", "message", "rset", "quit"),
    "capabilities": lambda v, door: "PIPELINING" in v,
    "headers": lambda v, door: is_pairs(v) and v[0] == ("Subject", "x"),
    "part": lambda v, door: (v.path, v.content_type, v.octets) == ("1", "text/plain", b"body\r\n"),
    "results": lambda v, door: isinstance(v, Sequence),
    "scores": lambda v, door: isinstance(v, Mapping),
    "tls": lambda v, door: isinstance(v, Tls),
    "mechanism": lambda v, door: v == "PLAIN",
    "username": lambda v, door: v == str(ALICE),
    "credential": lambda v, door: v == "secret",
    "service": lambda v, door: v == "smtp",
    "ok": lambda v, door: v is True,
    "user": lambda v, door: v == str(ALICE),
    "placement": lambda v, door: v.folder == "INBOX",
    "hook": lambda v, door: v == "smtp_rcpt",
    "plugin": lambda v, door: v == "recorder",
    "verdict": lambda v, door: isinstance(v, Verdict),
}


def recorder(calls):
    """A plugin that implements every hook of the doors with all its arguments, and refuses one recipient."""

    def answer(hook, given):
        calls.setdefault(hook, []).append(given)
        if hook == "smtp_rcpt" and given["recipient"].local == "carol":
            return reject("not carol")
        return None

    functions = []
    for hook in EVERYWHERE.union(*ONLY.values()):
        arguments = ", ".join(SPECS[hook].arguments)
        names = {"answer": answer}
        exec(
            f"def {hook}({arguments}): return answer({hook!r}, dict({', '.join(f'{a}={a}' for a in SPECS[hook].arguments)}))", names
        )
        functions.append(hookimpl(verbs="XPING" if hook == "smtp_command" else ())(names[hook]))
    return plugin_of(*functions, name="recorder")


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
    assert (await client.ask("Subject: x", "", "body", "."))[0].startswith("250 2.0.0 queued")
    await client.ask("QUIT")
    client.hang_up()
    await site.rest()


def test_each_hook_is_called_with_what_it_promises(site_with, door) -> None:
    calls = {}
    site = site_with(recorder(calls))
    asyncio.run(converse(site, door))
    assert set(calls) == EVERYWHERE | ONLY[door]
    for hook, given in calls.items():
        for call in given:
            assert tuple(call) == SPECS[hook].arguments
            wrong = [name for name, value in call.items() if not CHECKS[name](value, door)]
            assert wrong == [], f"{hook}: {wrong}"
    assert [c["reason"] for c in calls["smtp_reset"]] == ["rset", "message"]
    assert [c["reason"] for c in calls["smtp_disconnect"]] == ["quit"]
    assert [s for s in site.messages.lines if s[0] == "error"] == []


@pytest.mark.parametrize("hook", sorted(SPECS))
def test_every_hook_of_these_doors_is_in_the_matrix(hook) -> None:
    if (
        hook.startswith(("smtp_", "message_"))
        and SPECS[hook].mode != "durable"
        and hook not in ("message_accepted", "message_read")
    ):
        assert hook in EVERYWHERE.union(*ONLY.values())
