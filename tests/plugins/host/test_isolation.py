"""``isolate: process``: the same hooks with the same meaning elsewhere; and whatever a hostile plugin does there stays there."""

import asyncio
import json
import os
import sys
import time
from importlib.metadata import EntryPoint

import pytest

from mta.model.address import Address
from mta.model.delivery import Deferred, Delivered, DeliveryRecord, Route
from mta.model.directory import Domain, MailboxTarget
from mta.model.errors import ConfigError, TemporaryFailure
from mta.model.ids import QueueId
from mta.model.message import Flags, Placement, Recipient
from mta.model.verdict import Action
from mta.pluginhost import lineprocess
from mta.pluginhost.become import may_pass
from mta.pluginhost.durable import payload_of
from mta.testing.hooksdir import HooksDir
from mta.testing.plugins import FakeDns, FakeMessage, FakeSession, FakeTransaction, host_with
from mta_hooks import AddHeader, AuthResult, MailboxEvent, ReplaceHeader
from mta_hooks.services import DnsError

BOB = Address("bob", "example.org")
ROOT = os.geteuid() == 0

EVERYTHING = '''
"""What comes in is told, what goes out is one of each."""
import dataclasses, os
from mta_hooks import *
from mta_hooks import Refused
from mta.model.reply import Reply

@hookimpl(timeout=7, on_error="continue", before="nobody")
def smtp_rcpt(session, transaction, recipient, params, ctx):
    session.notes["rcpt"] = session.notes.get("rcpt", 0) + 1
    transaction.notes.setdefault("list", []).append(recipient.local)
    if recipient.local == "refused":
        raise Refused(Reply(553, "5.1.3", "no such list", True), "private")
    if recipient.local == "later":
        raise TemporaryFailure("the list is away")
    if recipient.local == "broken":
        raise ValueError("broken here")
    if recipient.local == "quits":
        raise SystemExit(0)
    return redirect("a@example.org", reason=f"{session.client_ip} {transaction.sender} {len(transaction.recipients)} {params}")

@hookimpl
async def message_authenticate(session, message):
    return [AuthResult("x", "pass", "why", (("header.d", message.header("from") or ""),))]

@hookimpl
def message_check(message, recipients, results):
    assert isinstance(recipients[0], Recipient) and isinstance(results[0], AuthResult), (recipients, results)
    message.notes["size"] = len(message.raw)
    return add_score(1.5, results[0].properties[0][1])

@hookimpl
def message_modify(message):
    return [AddHeader("X-A", message.header("subject")), ReplaceHeader("Subject", "new")]

@hookimpl
def recipient_lookup(address):
    return MailboxTarget(7, address, "detail") if address.local else None

@hookimpl
def route(sender, recipient):
    return Route("smtp", str(sender), 25, credentials=("u", "p"))

@hookimpl
async def deliver(recipient, sender, message, ctx):
    chunks = sum(len(c) for c in message.chunks(1000))
    return Delivered(f"{recipient} {sender} {message.id} {chunks} {message.size} {ctx.config['word']} {ctx.hostname} {os.getuid()}")

@hookimpl
def mailbox_deliver(user, placement):
    return dataclasses.replace(placement, folder=user, keywords=placement.keywords | {"k"}, flags=placement.flags | Flags.SEEN)

@hookimpl
def delivered(record):
    assert isinstance(record, DeliveryRecord), record

@hookimpl
def mailbox_event(event):
    if event.uids != (1, 2):
        raise RuntimeError(event.uids)

@hookimpl
def startup(server, ctx):
    ctx.log.info("every.started", worker=server.worker)
'''


def save(hooks, text, settings="isolate: process\nconfig: {word: hi}\n"):
    hooks.save("iso.yaml", settings)
    hooks.save("iso.py", text)
    return hooks.host


@pytest.fixture(scope="module")
def every():
    """One process for the tests that only call it."""
    with HooksDir() as hooks:
        save(hooks, EVERYTHING)
        assert hooks.host.failed == {}
        yield hooks


@pytest.fixture(scope="module")
def shared():
    """One spawner for the tests that only load."""
    with HooksDir() as hooks:
        yield hooks


def rcpt(hooks, local, session=None, transaction=None):
    arguments = {
        "session": session or FakeSession(),
        "transaction": transaction or FakeTransaction(sender=BOB, recipients=(Recipient(BOB, BOB),)),
        "recipient": Address(local, "example.org"),
        "params": {"NOTIFY": None},
    }
    return hooks.run(lambda: hooks.host.smtp_rcpt.verdict(**arguments))


def test_verdicts_notes_and_options(every) -> None:
    host = every.host
    session, transaction = FakeSession(), FakeTransaction(sender=BOB, recipients=(Recipient(BOB, BOB),))
    session.notes["live"] = object()
    verdict = rcpt(every, "x", session, transaction).verdict
    assert (verdict.action, verdict.target) == (Action.REDIRECT, ("a@example.org",))
    assert verdict.reason == "192.0.2.1 bob@example.org 1 {'NOTIFY': None}"
    rcpt(every, "y", session, transaction)
    assert session.notes["rcpt"] == 2
    assert type(session.notes["live"]) is object
    assert transaction.notes == {"list": ["x", "y"]}
    (step,) = host.smtp_rcpt.steps
    assert (step.timeout, step.on_error, step.options.before) == (7, "continue", ("nobody",))


def test_failures_mean_what_they_mean_in_the_server(every) -> None:
    host = every.host
    refused = rcpt(every, "refused").verdict
    assert (refused.code, refused.enhanced, refused.text, refused.reason, refused.hang_up) == (
        553,
        "5.1.3",
        "no such list",
        "private",
        True,
    )
    assert rcpt(every, "later").verdict is None  # on_error: continue
    counter = host.plugins["iso"].counter("smtp_rcpt")
    assert (counter.errors, counter.last_error) == (1, "TemporaryFailure: the list is away")
    assert not host.plugins["iso"].breaker.troubled
    rcpt(every, "broken")
    assert counter.last_error == "ValueError: broken here"
    assert any("ValueError: broken here" in entry["text"] for entry in every.log.named("plugin.output"))  # its traceback
    rcpt(every, "quits")
    assert counter.last_error == "SystemExit: 0"
    assert every.health("iso").state == "ok"


@pytest.mark.parametrize("size", [10, 200_000])
def test_messages_both_small_and_large(every, size) -> None:
    host = every.host
    message = FakeMessage(b"From: a@b.example\r\nSubject: old\r\n\r\n" + b"x" * size)
    text = every.run(lambda: host.deliver.first(recipient=BOB, sender=None, message=message)).text.split()
    assert text[:7] == ["bob@example.org", "None", "q1", str(message.size), str(message.size), "hi", "mx.example.test"]
    assert int(text[7]) != 0 or not ROOT
    session = FakeSession()
    (answer,) = every.run(lambda: host.message_authenticate.all(session=session, message=message))
    assert answer == ("iso", AuthResult("x", "pass", "why", (("header.d", "a@b.example"),)))
    arguments = {
        "session": session,
        "message": message,
        "recipients": (Recipient(BOB, BOB, notify=frozenset({"NEVER"})),),
        "results": (answer[1],),
    }
    decision = every.run(lambda: host.message_check.verdict(**arguments))
    assert (decision.verdict, decision.score, message.notes) == (None, 1.5, {"size": message.size})
    edits = every.run(lambda: host.message_modify.all(message=message, recipients=()))
    assert [edit for _, edit in edits] == [AddHeader("X-A", "old"), ReplaceHeader("Subject", "new")]
    folder = host.plugins["iso"].process._handover._folder
    assert not folder or os.listdir(folder) == []


def test_answers_of_every_kind(every) -> None:
    host = every.host
    assert every.run(lambda: host.recipient_lookup.first(address=BOB)) == MailboxTarget(7, BOB, "detail")
    assert every.run(lambda: host.recipient_lookup.first(address=Address("", "example.org"))) is None
    route = every.run(lambda: host.route.first(sender=None, recipient=BOB))
    assert (route, route.credentials) == (Route("smtp", "None", 25, credentials=("u", "p")), ("u", "p"))
    placement = Placement("INBOX", Flags.FLAGGED, frozenset({"a"}), ("Copy",))
    arguments = {"user": "bob@example.org", "recipient": BOB, "message": FakeMessage(), "placement": placement}
    placed = every.run(lambda: host.mailbox_deliver.pipeline("placement", **arguments))
    assert placed == Placement("bob@example.org", Flags.FLAGGED | Flags.SEEN, frozenset({"a", "k"}), ("Copy",))
    record = DeliveryRecord(
        QueueId("q"), "<m@x>", "smtp", "", "a@b", None, "delivered", "ok", "", 3, 1.0, 2.0, 10, notes={"n": [1]}
    )
    every.run(lambda: host.call_durable("delivered", payload_of(record)))
    every.run(lambda: host.call_durable("mailbox_event", payload_of(MailboxEvent("MessageNew", "a@b", "INBOX", 1.0, (1, 2)))))
    failed = every.run(
        lambda: host.call_durable("mailbox_event", payload_of(MailboxEvent("MessageNew", "a@b", "INBOX", 1.0, (3,))))
    )
    assert "RuntimeError" in "".join(failed.values())

    class Server:
        hostname, data_dir, workers, worker = "mx", "/x", 1, 5

    every.run(lambda: host.startup.all(server=Server()))
    assert {"plugin": "iso", "worker": 5} in every.log.named("every.started")


SERVICES = """
from mta_hooks import *
from mta_hooks.services import DnsError

@hookimpl
async def deliver(ctx, recipient, message):
    await ctx.kv.set("k", bytes(range(256)), ttl=60)
    value = await ctx.kv.get("k")
    await ctx.kv.delete("k")
    assert value == bytes(range(256)) and await ctx.kv.get("k") is None
    assert await ctx.dns.mx("example.org") == [(10, "mx")] and await ctx.dns.txt("example.org") == [b"\\xff"]
    assert await ctx.dns.a("none.example") == []
    try:
        await ctx.dns.a("bad.example")
    except DnsError as exc:
        error = str(exc)
    sent = await ctx.send(None, ["a@example.org"], message.raw)
    assert await ctx.threads.run(len, "abc") == 3 and ctx.clock.now() > 1e9
    ctx.log.warning("services.done", password="x", count=2)
    return Delivered(f"{sent} {error} {ctx.plugin}")
"""


def test_services_come_back_to_the_server(hooks) -> None:
    dns = {("mx", "example.org"): [(10, "mx")], ("txt", "example.org"): [b"\xff"], ("a", "bad.example"): DnsError("no answer")}
    hooks.host.services.dns = FakeDns(dns)
    host = save(hooks, SERVICES)
    message = FakeMessage(b"\xff\x00raw")
    answer = hooks.run(lambda: host.deliver.first(recipient=BOB, sender=None, message=message))
    assert answer == Delivered("sent-1 no answer iso")
    assert host.services.send.messages == [("iso", None, ("a@example.org",), b"\xff\x00raw")]
    assert {"plugin": "iso", "password": "x", "count": 2} in hooks.log.named("services.done")


TABLES = """
from mta_hooks import *

@hookimpl
async def deliver(ctx, recipient):
    people = ctx.table(ctx.config["people"])
    await people.open()
    assert await people.find(["x@y", "@y"]) == "found" and await people.match(["@y"]) == ("@y", "found")
    assert await people.get("none") is None and ctx.table(None).empty
    try:
        await ctx.table("regexp:/etc/passwd").get("root")
    except Exception as exc:
        error = str(exc)
    assert await ctx.domain("none.example") is None
    ours, hop = await ctx.domain("example.org"), await ctx.next_hop(recipient)
    return Delivered(f"{ours.kind} {hop.host} {hop.port} {hop.credentials} {error}")
"""


def test_tables_domains_and_routes_come_from_the_server(hooks) -> None:
    async def domain(name):
        return Domain(name, "relay") if name == "example.org" else None

    async def next_hop(_sender, recipient):
        return Route("smtp", f"mx.{recipient.domain}", 26, credentials=("u", "secret"))

    hooks.host.services.domain, hooks.host.services.next_hop = domain, next_hop
    host = save(hooks, TABLES, "isolate: process\nconfig: {people: [{'@y': found}]}\n")
    answer = hooks.run(lambda: host.deliver.first(recipient=BOB, sender=None, message=FakeMessage()))
    assert answer.text.startswith("relay mx.example.org 26 None "), answer
    assert "does not name" in answer.text


@pytest.mark.skipif(not ROOT, reason="there is one account only")
def test_it_has_an_account_of_its_own(hooks) -> None:
    text = """
    import os
    from mta_hooks import *
    try:
        open("/etc/shadow").close()
    except PermissionError:
        can_read = False
    @hookimpl
    def deliver():
        return Delivered(f"{os.getresuid()} {os.getresgid()} {os.getgroups()}")
    assert can_read is False
    """
    host = save(hooks, text, "isolate: {user: daemon}\n")
    assert (
        hooks.run(lambda: host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())).text == "(1, 1, 1) (1, 1, 1) [1]"
    )
    save(hooks, text, "isolate: {user: root}\n")
    assert "never run as root" in hooks.reason("iso")


def test_where_an_account_comes(hooks) -> None:
    folder = hooks.path / "library"
    folder.mkdir()
    for mode, uid, groups, comes in (
        (0o755, 1, {1}, True),
        (0o700, 1, {1}, False),
        (0o750, 1, {os.getegid()}, True),
        (0o705, os.geteuid(), set(), True),
        (0o605, os.geteuid(), set(), False),
    ):
        folder.chmod(mode)
        assert may_pass(str(folder), uid, groups) is comes, oct(mode)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("isolate: yes please\n", "isolate: 'yes please' is neither process nor limits"),
        ("isolate: {memory: 1}\n", "isolate.memory: Input should be greater"),
        ("isolate: {memroy: 1 GiB}\n", "isolate.memroy: unknown key; did you mean memory?"),
        ("isolate: process\nconfig: {wrod: x}\n", "config.wrod: unknown key; did you mean word?"),
        ("isolate: process\nconfig: {word: 5}\n", "config.word: Input should be a valid string"),
    ],
)
def test_settings_are_checked_there_and_told_here(shared, settings, problem) -> None:
    text = """
    from pydantic import BaseModel
    from mta_hooks import *
    class Config(BaseModel):
        word: str = "default"
    @hookimpl
    def register(registry):
        registry.config(Config)
    @hookimpl
    def deliver(ctx):
        return Delivered(ctx.config.word)
    """
    save(shared, text, settings)
    assert problem in shared.reason("iso")
    assert shared.host.failed["iso"].file.endswith("iso.yaml")


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ("def x(:\n", "SyntaxError", 1),
        ("import os\nraise ValueError('no')\n", "ValueError: no", 2),
        ("from mta_hooks import *\n@hookimpl\ndef delivr(): ...\n", "there is no hook delivr; did you mean deliver?", 2),
        ("import os\nos._exit(3)\n", "it ended", 0),
        ("raise SystemExit(1)\n", "SystemExit", 1),
        (
            "from mta_hooks import *\n@hookimpl\ndef register(registry):\n    registry.backend('database', 'x', print)\n",
            "a database backend cannot run in a process of its own, because it is the server's own durability",
            0,
        ),
        (
            "from mta_hooks import *\n@hookimpl\ndef register(registry):\n    registry.service('x', print)\n",
            "registry.service is for installed plugins, not for a drop-in",
            0,
        ),
        ("print('x' * 100_000)\nimport sys; sys.stdout.flush()\nraise KeyError('after print')\n", "after print", 3),
    ],
)
def test_what_cannot_be_loaded_is_named(shared, text, problem, line) -> None:
    save(shared, text)
    assert problem in shared.reason("iso")
    assert shared.host.failed["iso"].line == line


@pytest.mark.parametrize(
    "said",
    [
        {"result": 5},
        {"result": {"path": "x", "hooks": [{"hook": "deliver", "names": [], "options": {"never": 1}, "place": ["x", 1]}]}},
        {"result": {"path": "x", "hooks": [{"hook": "register", "names": [], "options": {}, "place": ["x", 1]}]}},
        {
            "result": {
                "path": "x",
                "routes": [{"method": "BREW", "path": "x", "access": "public", "timeout": 1.0, "place": ["x", 1]}],
            }
        },
        {"result": {"path": "x", "schema": {"tables": [5], "migrations": []}}},
        {"error": "no", "line": "seven"},
    ],
)
def test_what_a_process_says_of_itself_is_not_believed(hooks, said) -> None:
    save(
        hooks,
        f"import os, time\nfor fd in range(3, 9):\n    try:\n        os.write(fd, {json.dumps({'id': 0, **said})!r}.encode() + b'\\n')\n    except OSError:\n        pass\ntime.sleep(30)\n",
    )
    assert hooks.reason("iso")
    assert "iso" not in hooks.host.plugins


def test_a_broken_version_leaves_the_old_one_at_work(hooks) -> None:
    host = save(hooks, "from mta_hooks import *\n@hookimpl\ndef deliver(): return Delivered('old')\n")
    hooks.save("iso.py", "import no_such_module\n")
    assert "no_such_module" in hooks.reason("iso")
    assert hooks.run(lambda: host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())) == Delivered("old")


def test_replaced_while_it_is_asked_and_gone_with_the_host(hooks) -> None:
    slow = "import asyncio, os\nfrom mta_hooks import *\n@hookimpl\nasync def deliver():\n    await asyncio.sleep(0.4)\n    return Delivered(f'old {os.getpid()}')\n"
    host = save(hooks, slow)

    async def main():
        call = asyncio.ensure_future(host.deliver.first(recipient=BOB, sender=None, message=FakeMessage()))
        await asyncio.sleep(0.1)
        hooks.save("iso.py", slow.replace("old", "new").replace("0.4", "0"))
        return await call, await host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())

    old, new = hooks.run(main)
    assert old.text.startswith("old")
    assert new.text.startswith("new")
    pids = [int(a.text.split()[1]) for a in (old, new)]
    host.stop()
    assert [pid for pid in pids if os.path.exists(f"/proc/{pid}")] == []


# ---- packages and jobs

PACKAGE = """
from mta_hooks import *
roles = ("archive",)

async def tick(ctx):
    ctx.log.info("iso.tick")
    if ctx.config["fail"]:
        raise TemporaryFailure("not now")

@hookimpl
def register(registry):
    registry.job("tick", 60.0, tick, single=False)

@hookimpl
def deliver(ctx):
    return Delivered(str(ctx.config["fail"]))
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module that can be imported there as it can be here; a server that is not to import it."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "iso_package.py").write_text(PACKAGE)
    for parent in (folder, *folder.parents):
        if str(parent).startswith("/tmp/") and os.stat(parent).st_uid == os.geteuid():
            parent.chmod(0o755)
    monkeypatch.syspath_prepend(str(folder))
    return lambda name: [EntryPoint(name, "iso_package", "mta.plugins")]


def test_a_package_is_never_imported_here_and_its_jobs_run_there(package) -> None:
    host = host_with()
    try:
        host.load({"iso": {"isolate": "process", "fail": False, "timeout": "3s"}}, search=package)
        assert host.failed == {}
        assert "iso_package" not in sys.modules
        plugin = host.plugins["iso"]
        assert (plugin.roles, plugin.timeout, plugin.required) == (("archive",), 3.0, False)
        ((job,),) = [plugin.offers.jobs]
        assert (job.name, job.every, job.single) == ("tick", 60.0, False)
        asyncio.run(job.run(plugin.context))

        async def main():
            return await host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())

        assert asyncio.run(main()) == Delivered("False")
        assert host.services.log.named("iso.tick") == [{"plugin": "iso"}]
    finally:
        host.stop()


def test_a_package_s_isolation_is_checked_like_all_its_keys(package) -> None:
    with pytest.raises(ConfigError, match=r"plugins.iso.isolate.file: unknown key; did you mean files\?"):
        host_with().load({"iso": {"isolate": {"file": 5}, "fail": 0}}, search=package)


# ---- hostile

HOSTILE = """
import asyncio, os, signal, sys, time, threading
from mta_hooks import *
channel = [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2]

def leak():
    keep = []
    while True:
        keep.append(bytearray(2**24))

def forks():
    while True:
        if os.fork() == 0:
            time.sleep(71.5)

def rubbish():
    for fd in channel:
        try:
            os.write(fd, b"not json\\n")
        except OSError:
            pass
    time.sleep(5)

def swallow():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

DEEDS = {
    "exits": lambda: os._exit(0),
    "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda: __import__("ctypes").string_at(0),
    "leaks": leak,
    "forks": forks,
    "writes rubbish": rubbish,
    "raises": lambda: 1 / 0,
    "quits": lambda: sys.exit(1),
    "hangs": swallow,
    "answers what cannot be sent": object,
    "answers the wrong thing": lambda: Domain("x"),
    "answers more than a line may hold": lambda: Delivered("x" * 10_000_000),
}

@hookimpl
def deliver(recipient):
    return DEEDS[recipient.local]() if recipient.local in DEEDS else Delivered("good")
"""
FATAL = ["exits", "is killed", "crashes", "writes rubbish", "hangs", "answers more than a line may hold"]
BOUNDED = ["leaks", "forks", "raises", "quits", "answers what cannot be sent", "answers the wrong thing"]


@pytest.mark.parametrize("deed", FATAL)
def test_a_deed_hurts_only_the_message_it_was_asked_about(hooks, deed, monkeypatch) -> None:
    monkeypatch.setattr(lineprocess, "GRACE", 0.3)
    host = save(hooks, HOSTILE, f"isolate: process\ntimeout: {'3s' if deed == 'hangs' else '10s'}\n")

    async def main():
        assert await ask(host, "first") == Delivered("good")
        with pytest.raises(TemporaryFailure):
            await ask(host, deed)
        if deed == "hangs":
            await asyncio.sleep(0.4)  # its grace
        assert await ask(host, "next") == Delivered("good")

    hooks.run(main)
    health = hooks.health("iso")
    assert health.hooks[0].errors == 1
    assert health.state == "degraded"
    assert health.reason.startswith("its process failed once, last: ")


def test_what_is_bounded_or_caught_there_costs_no_process(hooks) -> None:
    hooks.host._dispatcher._strict = False
    host = save(hooks, HOSTILE, "isolate: {memory: 700 MiB, processes: 12}\ntimeout: 10s\n")

    async def main():
        for deed in BOUNDED:
            with pytest.raises(TemporaryFailure):
                await ask(host, deed)
            assert await ask(host, "next") == Delivered("good")

    hooks.run(main)
    health = hooks.health("iso")
    assert (health.state, health.hooks[0].errors) == ("ok", len(BOUNDED))


async def ask(host, local):
    return await host.deliver.first(recipient=Address(local, "example.org"), sender=None, message=FakeMessage())


def test_a_slow_def_moves_to_threads_there(hooks) -> None:
    host = save(
        hooks, "import time\nfrom mta_hooks import *\n@hookimpl\ndef deliver():\n    time.sleep(0.2)\n    return Delivered()\n"
    )

    async def main():
        await host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())
        began = time.monotonic()
        await asyncio.gather(*[host.deliver.first(recipient=BOB, sender=None, message=FakeMessage()) for _ in range(4)])
        return time.monotonic() - began

    assert hooks.run(main) < 0.6


def test_a_cancelled_call_is_cancelled_there(hooks) -> None:
    text = """
    import asyncio
    from mta_hooks import *
    seen = []
    @hookimpl
    async def deliver(recipient):
        if recipient.local == "ask":
            return Deferred(",".join(seen))
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append(recipient.local)
            raise
    """
    host = save(hooks, text, "isolate: process\ntimeout: 200ms\n")

    async def main():
        with pytest.raises(TemporaryFailure):
            await host.deliver.first(recipient=Address("slow", "x.example"), sender=None, message=FakeMessage())
        return await host.deliver.first(recipient=Address("ask", "x.example"), sender=None, message=FakeMessage())

    assert hooks.run(main) == Deferred("slow")
    assert hooks.health("iso").state == "ok"


def test_one_death_is_one_error_however_many_were_asked(hooks) -> None:
    text = "import os, asyncio\nfrom mta_hooks import *\n@hookimpl\nasync def deliver(recipient):\n    await asyncio.sleep(0.2)\n    os._exit(1)\n"
    host = save(hooks, text)

    async def main():
        calls = [host.deliver.first(recipient=BOB, sender=None, message=FakeMessage()) for _ in range(20)]
        return await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(answer, TemporaryFailure) for answer in hooks.run(main))
    assert hooks.health("iso").state == "degraded"  # not suspended: its breaker has seen one error
