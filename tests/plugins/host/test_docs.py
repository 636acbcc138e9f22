"""Every hook has a page, as generated, in exactly one group of the index; every page's example loads and runs."""

import asyncio
import importlib.util
from pathlib import Path

import pytest

from mta.model.address import Address
from mta.model.delivery import Delivered, DeliveryRecord, DeliveryStatus
from mta.model.ids import QueueId
from mta.model.message import Placement
from mta.model.reply import Reply
from mta.model.tls import TlsPolicy, TlsResult
from mta.pipeline.parts import MailPart
from mta.pluginhost.specs import SPECS
from mta.testing.plugins import FakeHttp, FakeMessage, FakeSession, FakeTransaction, host_with, plugin_of
from mta.wire.mime import parse
from mta_hooks import (
    Attempt,
    AuthOk,
    DsnReport,
    Envelope,
    ImapCommand,
    LogRecord,
    MailboxEvent,
    RecipientReport,
    Tls,
    UserChange,
    reject,
)
from mta_hooks.services import HttpReply

ROOT = Path(__file__).resolve().parents[3]


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCS = tool("hook_docs")
A = Address("support", "example.org")
PIPED = {
    "mailbox_deliver": "placement",
    "smtp_capabilities": "capabilities",
    "smtp_reply": "reply",
    "delivery_status": "status",
    "dsn_compose": "report",
    "address_rewrite": "address",
    "queue_enqueue": "envelopes",
    "queue_admin": "envelopes",
    "message_read": "stream",
}
RECORD = DeliveryRecord(QueueId("q"), "<m@x>", "smtp", "", "a@b", None, "delivered", "ok", "", 3, 1.0, 2.0, 10)


class Server:
    hostname, data_dir, workers, worker = "mx", "/x", 1, 0


ARGUMENTS = {
    "server": Server(),
    "session": FakeSession(),
    "old": {"limits": {"message_size": 1}},
    "new": {"limits": {"message_size": 2}},
    "transaction": FakeTransaction(),
    "message": FakeMessage(b"List-Id: <a.b>\r\nSubject: LOUD\r\n\r\n"),
    "sender": A,
    "recipient": A,
    "recipients": (),
    "address": A,
    "domain": "x.customers.example",
    "params": {"SIZE": "100"},
    "results": (),
    "service": "imap",
    "username": "a@example.org",
    "credential": "x",
    "name": "localhost",
    "verb": "EHLO",
    "user": "a@example.org",
    "placement": Placement(),
    "record": RECORD,
    "command": "RCPT",
    "reply": Reply(550, "5.1.1", "unknown user"),
    "args": "1",
    "hook": "smtp_rcpt",
    "plugin": "other",
    "verdict": reject("no"),
    "headers": [("From", "a@b"), ("Subject", "x")],
    "part": MailPart(b"MZ", parse(b"Content-Type: application/octet-stream\r\n\r\nMZ"), "1"),
    "scores": {"a": 12.0},
    "tls": Tls("TLSv1", "x"),
    "capabilities": ["HELP"],
    "mechanism": "PLAIN",
    "ok": False,
    "reason": "wrong password",
    "mailbox": "Archive/2024",
    "how": "append",
    "flags": ("\\Seen",),
    "source": "",
    "uids": (1,),
    "envelope": Envelope("q", A, (A,), "submission", 1.0, 5, "newsletter@example.org"),
    "envelopes": (Envelope("q", A, (A,), "submission", 1.0, 0),),
    "attempt": Attempt(6, "dest.example", "smtp"),
    "mx": "mx.bank.example",
    "result": TlsResult("bank.example", "mx.bank.example", "192.0.2.1", "", TlsPolicy(source="sts"), "starttls-not-supported"),
    "status": DeliveryStatus(550, "5.7.1", "Greylisted, come back", "mx[192.0.2.1]:25"),
    "report": DsnReport("q-1", "q", "<m@x>", A, 1.0, (RecipientReport(A, "failed", diagnostic="550 no"),), "FULL"),
    "site": "smtp:mail.smallhost.example:25",
    "server_name": "mail.example.org",
    "role": "envelope_sender",
    "action": "delete",
    "data": {"by": "command"},
    "stream": b"Subject: x\r\nX-Rot13: yes\r\n\r\nuryyb",
    "event": MailboxEvent("MessageNew", "a@b", "INBOX", 1.0),
}

OF_ONE = {
    ("smtp_command", "verb"): "XPING",
    ("imap_command", "command"): ImapCommand("XPING", ("a", None)),
    ("log_event", "record"): LogRecord(1.0, "error", "storage.full"),
    ("user_change", "change"): UserChange("password", password="long enough to pass"),
    ("mailbox_store", "change"): "add",
}


def test_the_pages_are_what_the_specifications_say() -> None:
    wanted = DOCS.pages()
    found = {p.name: p.read_text("utf-8") for p in (ROOT / "docs/hooks").glob("*.md")}
    assert sorted(found) == sorted(wanted)
    assert [name for name in wanted if found[name] != wanted[name]] == [], "run: python tools/hook_docs.py"


def test_every_hook_is_in_one_group() -> None:
    grouped = [name for names in DOCS.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(SPECS)


@pytest.mark.parametrize("hook", SPECS)
def test_the_example_on_the_page_loads_by_itself(hook) -> None:
    text = (ROOT / f"docs/hooks/{hook}.md").read_text("utf-8")
    code = text.split("```python\n")[1].split("\n```")[0]
    names = {"__name__": f"example_{hook}"}
    exec(compile(code, f"docs/hooks/{hook}.md", "exec"), names)
    host = host_with(names[hook], config={"url": "http://x/"})
    assert hook == "register" or host.order(hook)


@pytest.mark.parametrize("hook", [name for name, spec in SPECS.items() if spec.mode != "load"])
def test_the_example_runs_strictly(hook) -> None:
    http = FakeHttp(HttpReply(200, {}, b""))
    examples = tool("hook_examples")
    functions = [getattr(examples, name) for name in SPECS if name != "register"]
    host = host_with(plugin_of(*functions, name="examples"), http=http, config={"url": "http://x/", "blocked": ["192.0.2.9"]})
    spec, plan = SPECS[hook], getattr(host, hook)
    arguments = {name: OF_ONE.get((hook, name), ARGUMENTS.get(name)) for name in spec.arguments}
    call = {
        "verdict": plan.verdict,
        "first": plan.first,
        "all": plan.all,
        "durable": plan.notify,
        "notify": plan.notify,
        "pipeline": lambda **kw: plan.pipeline(PIPED[hook], **kw),
    }[spec.mode]
    answer = asyncio.run(call(**arguments))
    (step,) = plan.steps
    plan.settle()
    assert (step.counter.calls, step.counter.errors) == (1, 0)
    expected = {"deliver": Delivered("ticket made"), "auth_verify": AuthOk("a@example.org")}
    assert hook not in expected or answer == expected[hook]
