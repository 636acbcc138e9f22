"""Programs as hooks: found, ordered, reloaded, run as nobody, limited; what they say; and whatever a hostile one does."""

import asyncio
import json
import os
import pwd
import time
from pathlib import Path

import pytest

from mta.model.address import Address
from mta.model.delivery import Deferred, Delivered, Failed
from mta.model.errors import TemporaryFailure
from mta.model.message import Flags, Placement, Recipient
from mta.model.verdict import Action, accept
from mta.pluginhost import lineprocess
from mta.testing.hooksdir import HooksDir
from mta.testing.plugins import FakeMessage, FakeSession, FakeTransaction
from mta_hooks import (
    AddHeader,
    AddRecipient,
    AuthResult,
    RemoveHeader,
    RemoveRecipient,
    ReplaceHeader,
    ReplaceMessage,
    ReplacePart,
    ReplaceRecipient,
    SetBody,
    SetSender,
)

BOB = Address("bob+news", "example.org")
ROOT = os.geteuid() == 0
OURS = os.getpid()
"""Tells our sleepers from those of another run."""


def deliver(hooks, message=None, recipient=BOB, sender=None):
    message = message or FakeMessage()
    return hooks.run(lambda: hooks.host.deliver.first(recipient=recipient, sender=sender, message=message))


def mail(hooks, sender=None):
    plan = hooks.host.smtp_mail
    decision = hooks.run(lambda: plan.verdict(session=FakeSession(), transaction=FakeTransaction(), sender=sender, params={}))
    return decision.verdict


def check(hooks, message=None, **more):
    arguments = {"session": FakeSession(), "message": message or FakeMessage(), "recipients": (), "results": (), **more}
    return hooks.run(lambda: hooks.host.message_check.verdict(**arguments)).verdict


def modify(hooks, message):
    return [e for _, e in hooks.run(lambda: hooks.host.message_modify.all(message=message, recipients=()))]


INBOX = Placement()


def place(hooks, placement=INBOX):
    plan = hooks.host.mailbox_deliver
    arguments = {"user": "bob@example.org", "recipient": BOB, "message": FakeMessage(), "placement": placement}
    return hooks.run(lambda: plan.pipeline("placement", **arguments))


@pytest.fixture(scope="module")
def one_folder():
    with HooksDir(strict=False) as folder:
        yield folder


@pytest.fixture
def shared(one_folder):
    """One host for the many tests that only look at answers: a spawner is started once. A program saved again is a new plugin."""
    yield one_folder
    for file in one_folder.path.glob("*/*"):
        file.unlink()
    one_folder.scan()


# ---- found, ordered, reloaded


def test_saved_changed_renamed_and_removed(hooks) -> None:
    hooks.save("deliver.d/50-archive.sh", "#!/bin/sh\necho one\n")
    assert deliver(hooks) == Delivered("one")
    health = hooks.health("deliver.d/50-archive.sh")
    assert (health.kind, health.state, health.hooks[0].calls) == ("executable", "ok", 1)
    hooks.save("deliver.d/50-archive.sh", "#!/bin/sh\necho two\n")
    assert deliver(hooks) == Delivered("two")
    hooks.remove("deliver.d/50-archive.sh")
    assert hooks.host.deliver is None
    assert hooks.host.plugins == {}


def test_the_number_is_the_order_and_python_comes_first(hooks) -> None:
    hooks.save("deliver.d/50-b", "#!/bin/sh\necho b\n")
    hooks.save("deliver.d/10-z", "#!/bin/sh\necho z\n")
    hooks.save("zebra.py", "from mta_hooks import hookimpl\n@hookimpl\ndef deliver(): ...\n")
    assert [name for name, _ in hooks.host.order("deliver")] == ["zebra", "deliver.d/10-z", "deliver.d/50-b"]
    assert hooks.host.order("deliver")[1][1] == "an executable, by its number after the drop-in hooks"
    assert deliver(hooks) == Delivered("z")
    hooks.save("deliver.d/50-b.yaml", "order: {before: deliver.d/10-z}\n")
    assert deliver(hooks) == Delivered("b")
    hooks.save("deliver.d/50-b.yaml", "order: {enabled: false}\n")
    assert deliver(hooks) == Delivered("z")


def test_settings_beside_it(hooks) -> None:
    hooks.save("deliver.d/50-a.yaml", "when: {recipient: 'alice@*'}\non_error: continue\ntimeout: 20s\nconfig: {word: hi}\n")
    hooks.save("deliver.d/50-a", "#!/bin/sh\ncat <&3 | tr -d '\\n' | head -c 200\n")
    assert deliver(hooks) is None
    (step,) = hooks.host.deliver.steps
    assert (step.on_error, step.timeout) == ("continue", 20.0)
    hooks.save("deliver.d/50-a.yaml", "process: {memori: 5}\n")
    assert "process.memori: unknown key; did you mean memory?" in hooks.reason("deliver.d/50-a")
    hooks.save("deliver.d/50-a.yaml", "isolate: process\n")
    assert "a program is a process already" in hooks.reason("deliver.d/50-a")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("delivr.d/10-x", "there is no hook delivr; did you mean deliver?"),
        ("register.d/10-x", "called while loading"),
        ("message_sink.d/10-x", "message_sink answers Sink, a live object"),
        ("mime_part.d/10-x", "mime_part is given part, which cannot leave"),
    ],
)
def test_a_folder_that_is_no_hook_is_named(hooks, name, problem) -> None:
    hooks.save(name, "#!/bin/sh\n")
    assert problem in hooks.reason(name)


def test_other_files_are_nobody_s_business(hooks) -> None:
    for name in ("README", "x-50", "5-x", "50-a.sh~", ".50-a"):
        hooks.save(f"deliver.d/{name}", "#!/bin/sh\n")
    assert hooks.host.plugins == hooks.host.failed == {}


@pytest.mark.parametrize(("mode", "problem"), [(0o775, "chmod go-w"), (0o757, "chmod go-w"), (0o644, "chmod +x")])
def test_a_file_that_must_not_run(hooks, mode, problem) -> None:
    file = hooks.save("deliver.d/10-x", "#!/bin/sh\necho no\n", mode)
    assert problem in hooks.reason("deliver.d/10-x")
    file.chmod(0o755)
    hooks.scan()
    assert deliver(hooks) == Delivered("no")
    file.chmod(mode)  # and not for the second until the next look either
    with pytest.raises(TemporaryFailure):
        deliver(hooks)


def test_links_and_folders_of_others_are_refused(hooks) -> None:
    hooks.save("deliver.d/10-x", "#!/bin/sh\n")
    (hooks.path / "deliver.d/20-link").symlink_to("/bin/true")
    hooks.scan()
    assert "a link" in hooks.reason("deliver.d/20-link")
    (hooks.path / "deliver.d").chmod(0o777)
    for _ in range(2):
        hooks.scan()
    assert "chmod go-w" in hooks.reason("deliver.d")
    assert hooks.host.deliver is None
    (hooks.path / "deliver.d").chmod(0o755)
    hooks.scan()
    assert "deliver.d" not in hooks.host.failed
    assert hooks.host.deliver is not None


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_a_stranger_s_program_never_runs(hooks) -> None:
    file = hooks.save("deliver.d/10-x", "#!/bin/sh\n")
    os.chown(file, 12345, 12345)
    hooks.scan()
    assert "belongs to uid 12345" in hooks.reason("deliver.d/10-x")


# ---- what it is given

SHOW = """#!/usr/bin/env -S python3 -I -S
import json, os, sys
context = json.load(os.fdopen(3))
print(json.dumps({"action": "delivered", "text": "", "notes": {"saw": {
    "argv": sys.argv[1:], "stdin": sys.stdin.buffer.read().decode("latin-1"), "context": context, "env": dict(os.environ),
    "uid": os.getuid(), "group": os.getpgrp() == os.getpid(), "fds": sorted(map(int, os.listdir("/proc/self/fd")))[:5], "cwd": os.getcwd()}}}))
"""


def seen(hooks, **more):
    hooks.save("deliver.d/50-show", SHOW)
    message = more.pop("message", FakeMessage(b"Subject: \xff caf\xc3\xa9\r\n\r\n\x00\xfe\r\n"))
    assert deliver(hooks, message, **more) == Delivered("")
    return message.notes["saw"]


def test_argv_stdin_context_and_environment(hooks) -> None:
    os.environ["MTA_SECRET"] = "s"
    try:
        saw = seen(hooks, sender=Address("o'hara$(x)\n", "example.org"))
    finally:
        del os.environ["MTA_SECRET"]
    assert saw["argv"] == ["deliver"]
    assert saw["stdin"] == "Subject: \xff caf\xc3\xa9\r\n\r\n\x00\xfe\r\n"
    context = saw["context"]
    assert (context["version"], context["hook"], context["plugin"]) == (1, "deliver", "deliver.d/50-show")
    assert context["args"]["recipient"] == "bob+news@example.org"
    assert context["args"]["sender"] == '"o\'hara$(x)\n"@example.org'
    assert context["args"]["message"]["headers"] == [["Subject", "? café"]]
    env = saw["env"]
    assert (env["RECIPIENT"], env["LOCAL"], env["DOMAIN"], env["EXTENSION"]) == (
        "bob+news@example.org",
        "bob+news",
        "example.org",
        "news",
    )
    assert (env["USER"], env["LOGNAME"], env["MTA_HOOK"], env["MTA_ID"]) == ("bob", "bob", "deliver", "q1")
    assert env["SENDER"] == "_o_hara__x___@example.org"
    assert set(env) - {"LC_CTYPE"} == {
        "SENDER", "RECIPIENT", "ORIGINAL_RECIPIENT", "LOCAL", "DOMAIN", "EXTENSION", "USER", "HOME", "SHELL", "LOGNAME", "ENVID",
        "CLIENT_ADDRESS", "CLIENT_HELO", "CLIENT_HOSTNAME", "CLIENT_PROTOCOL", "SASL_METHOD", "SASL_USERNAME", "SASL_SENDER",
        "MTA_HOOK", "MTA_ID", "MTA_SPAM_SCORE", "MTA_AUTH_RESULTS", "PATH", "LANG",
    }  # fmt: skip
    assert saw["group"]
    assert saw["cwd"] == "/"
    assert saw["fds"][:4] == [0, 1, 2, 3]


def test_the_null_sender_is_empty(hooks) -> None:
    saw = seen(hooks)
    assert saw["env"]["SENDER"] == ""
    assert saw["context"]["args"]["sender"] is None


def test_a_large_message_is_read_from_a_file_and_values_are_bounded(hooks) -> None:
    octets = b"Subject: x\r\n\r\n" + b"0123456789abcde\n" * 200_000
    hooks.save("deliver.d/50-size", '#!/bin/sh\necho "$(wc -c) ${#SENDER} $(wc -c < /dev/stdin)"\n')
    answer = deliver(hooks, FakeMessage(octets), sender=Address("x" * 5000, "example.org"))
    assert answer.text.split()[:2] == [str(len(octets)), "1000"]


def test_session_and_results_in_the_environment(hooks) -> None:
    hooks.save(
        "message_check.d/10-x", '#!/bin/sh\necho "5.7.1 $CLIENT_ADDRESS $CLIENT_HELO $SASL_USERNAME $MTA_AUTH_RESULTS $RECIPIENT"\n'
    )
    verdict = check(
        hooks,
        session=FakeSession(user="u@example.org"),
        recipients=(Recipient(BOB, BOB),),
        results=(AuthResult("spf", "pass"), AuthResult("dkim", "fail")),
    )
    assert verdict.text == "192.0.2.1 client.example.org u@example.org spf=pass,dkim=fail bob+news@example.org"


@pytest.mark.skipif(not ROOT, reason="we are nobody in particular already")
def test_it_never_runs_as_root(hooks) -> None:
    assert seen(hooks)["uid"] in [
        pwd.getpwnam(name).pw_uid for name in ("mta-hook", "nobody") if name in {p.pw_name for p in pwd.getpwall()}
    ]
    hooks.save("deliver.d/50-show.yaml", "process: {user: root}\n")
    assert "never run as root" in hooks.reason("deliver.d/50-show")
    hooks.save("deliver.d/50-show.yaml", "process: {user: no-such-account}\n")
    assert "no account no-such-account" in hooks.reason("deliver.d/50-show")
    hooks.save("deliver.d/50-show.yaml", "process: {user: daemon}\n")
    assert seen(hooks)["uid"] == pwd.getpwnam("daemon").pw_uid


@pytest.mark.skipif(not ROOT, reason="we cannot become anybody")
def test_a_person_s_own_account_for_their_own_mail(hooks, monkeypatch) -> None:
    person = pwd.struct_passwd(("carol", "x", 12345, 12345, "", "/home/carol", "/bin/zsh"))
    known = {"carol": person, "root": pwd.getpwnam("root"), "nobody": pwd.getpwnam("nobody"), "daemon": pwd.getpwnam("daemon")}
    monkeypatch.setattr(pwd, "getpwnam", known.__getitem__)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 0])
    saw = seen(hooks, recipient=Address("carol+x", "mx.example.test"))
    assert (saw["uid"], saw["env"]["HOME"], saw["env"]["SHELL"], saw["env"]["USER"]) == (12345, "/home/carol", "/bin/zsh", "carol")
    nobody = known["nobody"].pw_uid
    assert seen(hooks, recipient=Address("carol", "elsewhere.example"))["uid"] == nobody
    assert seen(hooks, recipient=Address("root", "mx.example.test"))["uid"] == nobody
    assert seen(hooks, recipient=Address("daemon", "mx.example.test"))["uid"] == nobody


# ---- what it says


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("exit 0", Delivered("delivered")),
        ("echo filed; exit 0", Delivered("filed")),
        ("exit 75", Deferred("temporary failure", "4.3.0")),
        ("exit 71", Deferred("system resource problem", "4.3.0")),
        ("echo disk full; exit 111", Deferred("disk full", "4.3.0")),
        ("exit 67", Failed("user unknown", "5.1.1")),
        ("exit 64", Failed("command line usage error", "5.3.0")),
        ("exit 78", Failed("local configuration error", "5.3.5")),
        ("echo go away; exit 100", Failed("go away", "5.3.0")),
        ("exit 99", Delivered("handled")),
        ("echo 4.2.2 mailbox full; exit 67", Deferred("mailbox full", "4.2.2")),
        ("echo 5.2.2 over quota; exit 0", Failed("over quota", "5.2.2")),
        ("echo '5.7.1 from stderr' >&2; exit 3", Failed("from stderr", "5.7.1")),
        ("echo '2.0.0 all well'; exit 75", Delivered("all well")),
        ("""printf '{"action": "deferred", "text": "later", "delay": 60}'""", Deferred("later", "4.3.0", 60.0)),
        ("""printf '{"action": "failed", "text": "no\\\\u0007way\\\\nx"}'""", Failed("no way x", "5.3.0")),
        ("printf '{}'", Delivered("delivered")),
    ],
)
def test_a_delivery_s_exit_status_and_output(shared, script, answer) -> None:
    shared.save("deliver.d/50-x", f"#!/bin/sh\n{script}\n")
    assert deliver(shared) == answer


@pytest.mark.parametrize(
    "script", ["exit 1", "kill -9 $$", "exit 127", 'printf \'{"action": "sing"}\'', "printf '{\"action\": '", "echo x >&2; exit 2"]
)
def test_any_other_end_defers_and_is_logged(shared, script) -> None:
    shared.save("deliver.d/50-x", f"#!/bin/sh\n{script}\n")
    with pytest.raises(TemporaryFailure):
        deliver(shared)
    assert shared.health("deliver.d/50-x").hooks[0].errors == 1
    assert shared.log.named("plugin.error")[-1]["plugin"] == "deliver.d/50-x"


def test_no_interpreter_is_an_error_with_its_reason(shared) -> None:
    shared.save("deliver.d/50-x", "#!/no/such/thing\n")
    with pytest.raises(TemporaryFailure, match="No such file"):
        deliver(shared)
    shared.save("deliver.d/50-x", "no first line\n")
    with pytest.raises(TemporaryFailure, match="Exec format error"):
        deliver(shared)


@pytest.mark.parametrize(
    ("script", "action", "code", "enhanced", "text"),
    [
        ("exit 0", None, 0, "", ""),
        ("echo just talk", None, 0, "", ""),
        ("exit 99", Action.ACCEPT, 0, "", ""),
        ("exit 75", Action.DEFER, 451, "4.3.0", "temporary failure"),
        ("exit 77", Action.REJECT, 550, "5.7.0", "permission denied"),
        ("echo 5.7.28 we do not like you; exit 1", Action.REJECT, 550, "5.7.28", "we do not like you"),
        ("""echo '{"action": "reject", "code": 554, "enhanced": "5.3.0", "text": "no"}'""", Action.REJECT, 554, "5.3.0", "no"),
        ("exit 1", Action.DEFER, 451, "4.3.0", "temporary failure"),
        ("""echo '{"action": "discard", "reason": "x"}'""", Action.DEFER, 451, "4.3.0", "temporary failure"),
    ],
)
def test_a_verdict_s_exit_status_and_output(shared, script, action, code, enhanced, text) -> None:
    shared.save("smtp_mail.d/50-x", f"#!/bin/sh\n{script}\n")
    verdict = mail(shared)
    if action is None:
        assert verdict is None
    else:
        assert (verdict.action, verdict.code, verdict.enhanced, verdict.text) == (action, code, enhanced, text)


def test_a_score(shared) -> None:
    shared.save("message_check.d/10-x", """#!/bin/sh\necho '{"action": "accept", "score": 2.5, "notes": {"x": [1]}}'\n""")
    message = FakeMessage()
    plan = shared.host.message_check
    decision = shared.run(lambda: plan.verdict(session=FakeSession(), message=message, recipients=(), results=()))
    assert (decision.verdict, decision.score, message.notes) == (None, 2.5, {"x": [1]})


def test_folder_and_flags(shared) -> None:
    shared.save("mailbox_deliver.d/10-x", "#!/bin/sh\necho Lists/python\necho '\\Seen'\necho later\n")
    assert place(shared, Placement(flags=Flags.FLAGGED)) == Placement(
        "Lists/python", Flags.SEEN | Flags.FLAGGED, frozenset({"later"})
    )
    shared.save("mailbox_deliver.d/10-x", """#!/bin/sh\necho '{"copies": ["All"], "flags": ["seen"]}'\n""")
    assert place(shared) == Placement("INBOX", Flags.SEEN, copies=("All",))
    shared.save("mailbox_deliver.d/10-x", "#!/bin/sh\nexit 99\n")
    assert place(shared).drop
    shared.save("mailbox_deliver.d/10-x", "#!/bin/sh\nexit 0\n")
    assert place(shared) == Placement()
    shared.save("mailbox_deliver.d/10-x", "#!/bin/sh\necho X\necho 'two words'\n")
    assert place(shared) == Placement()  # on_error: continue
    assert "a keyword is a word" in shared.health("mailbox_deliver.d/10-x").hooks[0].last_error


OLD = b"Received: a\r\nFrom: a@b\r\nSubject: one\r\n folded\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("script", "edits"),
    [
        ("cat", []),
        ("printf 'X-One: 1\\nX-Two: 2\\n'", [AddHeader("X-Two", "2"), AddHeader("X-One", "1")]),
        ("sed 's/^Subject: .*/Subject: two/;/^ folded/d'", [ReplaceHeader("Subject", "two", 0)]),
        ("sed '/^X-A: 1/d'", [RemoveHeader("X-A", 0)]),
        ("sed '/^X-A/d;/^Received/d'", [RemoveHeader("X-A", 1), RemoveHeader("X-A", 0)]),
        ("tr -d '\\r' | sed 's/^From:/X-New: 1\\nFrom:/'", [AddHeader("X-New", "1", True)]),
        (
            """echo '{"edits": [{"add": "X-B", "value": "b", "top": false}, {"remove": "X-A"}]}'""",
            [AddHeader("X-B", "b", False), RemoveHeader("X-A")],
        ),
    ],
)
def test_a_changed_message_becomes_edits(shared, script, edits) -> None:
    shared.save("message_modify.d/10-x", f"#!/bin/sh\n{script}\n")
    assert modify(shared, FakeMessage(OLD)) == edits
    assert shared.health("message_modify.d/10-x").hooks[0].errors == 0


def test_a_signature_is_header_lines(shared) -> None:
    shared.save("message_sign.d/10-x", "#!/bin/sh\nprintf 'X-A: 1\\nX-B: 2\\n folded\\n'\n")
    answers = shared.run(lambda: shared.host.message_sign.all(message=FakeMessage(OLD)))
    assert [edit for _, edit in answers] == [AddHeader("X-B", "2\r\n folded"), AddHeader("X-A", "1")]


@pytest.mark.parametrize(
    ("script", "edits"),
    [
        ("sed s/body/other/", [SetBody(b"other\r\n", encoded=True)]),
        ("""echo '{"edits": [{"set_body": "new", "content_type": "text/html"}]}'""", [SetBody(b"new", "text/html")]),
        ("""echo '{"edits": [{"replace_part": "2", "octets": "AAE="}]}'""", [ReplacePart("2", b"\0\1")]),
        ("""echo '{"edits": [{"replace_message": "A: b\\\\n\\\\nc"}]}'""", [ReplaceMessage(b"A: b\n\nc")]),
        (
            """echo '{"edits": [{"add_recipient": "c@d"}, {"remove_recipient": "e@f"}, {"set_sender": null}]}'""",
            [AddRecipient(Address("c", "d")), RemoveRecipient(Address("e", "f")), SetSender(None)],
        ),
        (
            """echo '{"edits": [{"replace_recipient": "c@d", "by": "e@f"}]}'""",
            [ReplaceRecipient(Address("c", "d"), Address("e", "f"))],
        ),
    ],
)
def test_body_and_envelope_may_change(shared, script, edits) -> None:
    shared.save("message_modify.d/10-x", f"#!/bin/sh\n{script}\n")
    assert modify(shared, FakeMessage(OLD)) == edits
    assert shared.health("message_modify.d/10-x").hooks[0].errors == 0


def test_a_lookup_answers_with_a_type(shared) -> None:
    shared.save("recipient_lookup.d/10-x", """#!/bin/sh\necho '{"type": "AliasTarget", "targets": ["a@example.org"]}'\n""")
    answer = shared.run(lambda: shared.host.recipient_lookup.first(address=BOB))
    assert answer.targets == ("a@example.org",)
    shared.save("recipient_lookup.d/10-x", """#!/bin/sh\necho '{"type": "HookTarget", "address": "a@example.org"}'\n""")
    assert shared.run(lambda: shared.host.recipient_lookup.first(address=BOB)).address == Address("a", "example.org")
    for wrong in (
        '{"type": "Domain", "name": "x"}',
        '{"type": "HookTarget", "adress": "x@y"}',
        '{"targets": []}',
        '{"type": "HookTarget", "address": 5}',
    ):
        shared.save("recipient_lookup.d/10-x", f"#!/bin/sh\necho '{wrong}'\n")
        with pytest.raises(TemporaryFailure):
            shared.run(lambda: shared.host.recipient_lookup.first(address=BOB))


# ---- hostile


def test_a_hang_is_ended_with_its_whole_group(hooks) -> None:
    hooks.save("deliver.d/50-x.yaml", "timeout: 200ms\n")
    hooks.save("deliver.d/50-x", f"#!/bin/sh\nsleep 61.{OURS} &\nsetsid sleep 61.{OURS} &\nsleep 61.{OURS}\n")
    began = time.monotonic()
    with pytest.raises(TemporaryFailure, match="Overdue"):
        deliver(hooks)
    assert time.monotonic() - began < 2
    until = time.monotonic() + 4
    while sleeping(f"61.{OURS}") and time.monotonic() < until:
        time.sleep(0.05)
    assert sleeping(f"61.{OURS}") == []


def sleeping(argument):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if file.read() == f"sleep\0{argument}\0".encode():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def test_a_fork_bomb_is_bounded_and_swept_up(hooks) -> None:
    hooks.save("deliver.d/50-x.yaml", "timeout: 500ms\nprocess: {processes: 20}\n")
    hooks.save("deliver.d/50-x", f"#!/bin/sh\n(while :; do sleep 62.{OURS} & done) 2>/dev/null &\nwhile :; do :; done\n")
    most = 0

    async def watch():
        nonlocal most
        while True:
            most = max(most, len(sleeping(f"62.{OURS}")))
            await asyncio.sleep(0.05)

    async def main():
        watching = asyncio.ensure_future(watch())
        try:
            return await hooks.host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())
        finally:
            watching.cancel()

    with pytest.raises(TemporaryFailure):
        hooks.run(main)
    assert 0 < most <= 25
    until = time.monotonic() + 4
    while sleeping(f"62.{OURS}") and time.monotonic() < until:
        time.sleep(0.05)
    assert sleeping(f"62.{OURS}") == []


def test_huge_output_ends_it(shared) -> None:
    shared.save("deliver.d/50-x", "#!/bin/sh\nexec cat /dev/zero\n")
    with pytest.raises(TemporaryFailure, match="wrote more than"):
        deliver(shared)
    shared.save("deliver.d/50-x", "#!/bin/sh\nhead -c 3000000 /dev/zero >&2; echo fine\n")
    assert deliver(shared) == Delivered("fine")


def test_memory_and_processor_time_are_bounded(hooks) -> None:
    hooks.save("deliver.d/50-x.yaml", "process: {memory: 256 MiB, cpu: 1s}\n")
    hooks.save(
        "deliver.d/50-x", "#!/usr/bin/env -S python3 -I -S\ntry:\n    b'x' * 2**29\nexcept MemoryError:\n    print('bounded')\n"
    )
    assert deliver(hooks) == Delivered("bounded")
    hooks.save("deliver.d/50-x", "#!/bin/sh\nwhile :; do :; done\n")
    with pytest.raises(TemporaryFailure, match=r"SIGXCPU|SIGKILL"):
        deliver(hooks)


def test_it_may_end_before_it_reads(hooks) -> None:
    hooks.save("deliver.d/50-x", "#!/bin/sh\nexec <&-\necho done\n")
    assert deliver(hooks, FakeMessage(b"Subject: x\r\n\r\n" + b"x" * 3_000_000)) == Delivered("done")


def test_a_daemon_left_behind_holds_nobody_up(hooks) -> None:
    hooks.save("deliver.d/50-x", "#!/bin/sh\nsetsid sleep 63.5 &\necho done\n")
    began = time.monotonic()
    assert deliver(hooks) == Delivered("done")
    assert time.monotonic() - began < 2


def test_not_more_than_eight_at_once(hooks) -> None:
    hooks.save("deliver.d/50-x", "#!/bin/sh\nsleep 0.2\ndate +%s.%N\n")

    async def main():
        began = time.monotonic()
        plan = hooks.host.deliver
        await asyncio.gather(*[plan.first(recipient=BOB, sender=None, message=FakeMessage()) for _ in range(17)])
        return time.monotonic() - began

    assert hooks.run(main) > 0.6


def test_a_cancelled_session_ends_the_program_and_frees_its_place(hooks) -> None:
    hooks.save("deliver.d/50-x", "#!/bin/sh\nsleep 64.5\n")

    async def main():
        plan = hooks.host.deliver
        calls = [asyncio.ensure_future(plan.first(recipient=BOB, sender=None, message=FakeMessage())) for _ in range(10)]
        await asyncio.sleep(0.3)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        hooks.save("deliver.d/50-x", "#!/bin/sh\necho next\n")
        return await hooks.host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())

    assert hooks.run(main) == Delivered("next")


def test_a_spawner_that_dies_fails_what_ran_and_is_started_again(hooks) -> None:
    hooks.save("deliver.d/50-x", "#!/bin/sh\necho yes\n")
    assert deliver(hooks) == Delivered("yes")
    hooks.host.launcher._process.kill()

    async def main():
        await asyncio.sleep(0.1)
        return await hooks.host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())

    assert hooks.run(main) == Delivered("yes")


def test_descriptors_are_given_back(hooks) -> None:
    hooks.save("deliver.d/50-x", "#!/bin/sh\necho yes\n")
    deliver(hooks)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        deliver(hooks)
    assert len(os.listdir("/proc/self/fd")) == before


# ---- persistent

ECHO = """#!/usr/bin/env -S python3 -u -I -S
# mta: persistent
import base64, json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    message = asked["args"].get("message") or {}
    size = len(base64.b64decode(message["raw"])) if "raw" in message else os.path.getsize(message["file"]) if "file" in message else 0
    word = asked["config"].get("word", "")
    print(json.dumps({"id": asked["id"], "result": {"action": "delivered", "text": f"{os.getpid()} {size} {word}"}}))
"""


def test_a_persistent_one_stays(hooks) -> None:
    hooks.save("deliver.d/50-x.yaml", "config: {word: hi}\n")
    hooks.save("deliver.d/50-x", ECHO)
    small, large = deliver(hooks).text.split(), deliver(hooks, FakeMessage(b"x" * 100_000)).text.split()
    assert small[0] == large[0]
    assert (small[2], large[1:]) == ("hi", ["100000", "hi"])
    hooks.save("deliver.d/50-x", ECHO.replace("size}", "size}!"))
    again = deliver(hooks).text.split()
    assert again[0] != small[0]
    assert again[1].endswith("!")


def test_many_questions_at_once(hooks) -> None:
    hooks.save("deliver.d/50-x", ECHO)

    async def main():
        plan = hooks.host.deliver
        messages = [FakeMessage(b"x" * n) for n in range(200)]
        return await asyncio.gather(*[plan.first(recipient=BOB, sender=None, message=m) for m in messages])

    assert [int(a.text.split()[1]) for a in hooks.run(main)] == list(range(200))


PERSISTENT_DEEDS = {
    "dies": "sys.exit(3)",
    "is killed": "os.kill(os.getpid(), 9)",
    "writes rubbish": "print('hello')",
    "writes another's answer": "print(json.dumps({'id': 12345}))",
    "writes no object": "print('[]')",
    "writes without end": "sys.stdout.write('x' * 5_000_000)",
    "answers the wrong thing": "print(json.dumps({'id': asked['id'], 'result': {'action': 'sing'}}))",
    "answers an error": "print(json.dumps({'id': asked['id'], 'error': 'broken'}))",
    "hangs": "time.sleep(60)",
}


@pytest.mark.parametrize("deed", PERSISTENT_DEEDS)
def test_a_bad_answer_hurts_only_its_own_message(hooks, deed, monkeypatch) -> None:
    monkeypatch.setattr(lineprocess, "GRACE", 0.2)
    hooks.save("deliver.d/50-x.yaml", f"timeout: {'300ms' if deed == 'hangs' else '10s'}\n")
    hooks.save(
        "deliver.d/50-x",
        f"""#!/usr/bin/env -S python3 -u -I -S
# mta: persistent
import json, os, sys, time
for line in sys.stdin:
    asked = json.loads(line)
    if asked["args"]["message"]["id"] == "bad":
        {PERSISTENT_DEEDS[deed]}
    else:
        print(json.dumps({{"id": asked["id"], "result": {{"action": "delivered", "text": "good"}}}}))
""",
    )

    async def main():
        plan = hooks.host.deliver
        for _ in range(2):
            assert await plan.first(recipient=BOB, sender=None, message=FakeMessage(id="good")) == Delivered("good")
            with pytest.raises(TemporaryFailure):
                await plan.first(recipient=BOB, sender=None, message=FakeMessage(id="bad"))
            if deed == "hangs":
                await asyncio.sleep(0.3)  # its grace

    hooks.run(main)
    health = hooks.health("deliver.d/50-x")
    assert health.hooks[0].errors == 2
    if deed not in ("answers the wrong thing", "answers an error"):
        assert health.state == "degraded"
        assert "its process failed 2 times" in health.reason


def test_one_that_always_dies_is_started_less_and_less_often(hooks, monkeypatch) -> None:
    hooks.save("deliver.d/50-x", "#!/bin/sh\n# mta: persistent\nread line\nexit 1\n")

    async def main():
        for _ in range(4):
            with pytest.raises(TemporaryFailure):
                await hooks.host.deliver.first(recipient=BOB, sender=None, message=FakeMessage())

    began = time.monotonic()
    hooks.run(main)
    assert time.monotonic() - began > 0.5  # 0, 0.2, 0.4 s
    assert hooks.health("deliver.d/50-x").reason.startswith("its process failed 4 times, last: ")
    monkeypatch.setattr(lineprocess, "REMEMBERED", 0.0)
    assert hooks.health("deliver.d/50-x").state == "ok"


def test_standard_error_is_logged(hooks) -> None:
    hooks.save(
        "smtp_mail.d/10-x", """#!/bin/sh\n# mta: persistent\necho ready >&2\nread x\necho '{"id": 1, "verdict": null}'\nread x\n"""
    )
    assert mail(hooks) is None
    assert {"plugin": "smtp_mail.d/10-x", "text": "ready"} in hooks.log.named("plugin.output")


def test_a_verdict_over_the_line_protocol(hooks) -> None:
    answer = json.dumps({"id": 1, "verdict": accept("fine").to_json(), "notes": {"k": "v"}})
    hooks.save("smtp_mail.d/10-x", f"#!/bin/sh\n# mta: persistent\nread x\necho '{answer}'\nread x\n")
    assert mail(hooks) == accept("fine")


# ---- the documentation

DOCS = Path(__file__).resolve().parents[3] / "docs/plugin-authors/executables.md"


def test_the_programs_in_the_documentation_run(hooks) -> None:
    text = DOCS.read_text("utf-8")
    folder = hooks.path / ".archive"
    folder.mkdir()
    folder.chmod(0o777)
    script = text.split("```sh\n")[1].split("```")[0].replace("/var/lib/mta-archive", str(folder))
    hooks.save("deliver.d/50-archive.sh", script)
    assert deliver(hooks) == Delivered("delivered")
    assert (folder / "q1.eml").read_bytes() == FakeMessage().raw
    (folder / "q1.eml").unlink()
    folder.chmod(0o700)
    if ROOT:
        assert deliver(hooks) == Deferred("temporary failure", "4.3.0")
    hooks.save("smtp_mail.d/10-x", text.split("```python\n")[1].split("```")[0])
    assert mail(hooks) is None
    assert mail(hooks, Address("spam", "example.com")).action is Action.REJECT
    names: dict[str, object] = {}
    exec(text.split("```python\n")[2].split("```")[0], names)
    names["test_it_says_what_it_did"]()
    settings = (
        text.split("`process`:\n\n```yaml\n")[1].split("```")[0].replace("mta-archive", pwd.getpwuid(os.geteuid() or 1).pw_name)
    )
    hooks.save("deliver.d/50-archive.sh.yaml", settings)
    assert hooks.host.failed == {}
