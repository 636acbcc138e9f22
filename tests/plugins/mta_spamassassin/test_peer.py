"""The plugin and the real spamd of Debian's package, private: own rules, own folder, loopback port, ``--local``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mta_spamassassin
from mta.model.address import Address
from mta.model.verdict import Action
from mta.pluginhost.host import Decision
from mta.testing.peers import accepts
from mta.testing.plugins import FakeMessage, FakeSession, host_with
from mta.testing.server import HOST, free_port, wait_until

pytestmark = pytest.mark.peer("spamd")

GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

RULES = r"""
required_score 5
body GTUBE /XJS\*C4JDBQADN1\.NSBN3\*2IDNEN\*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL\*C\.34X/
score GTUBE 1000
body HAMMY /Lunch/
score HAMMY -1.5
header CLIENT X-Spam-Relays-Untrusted =~ /^\[ ip=203\.0\.113\.9 .*helo=client\.example\.org .*by=mx\.example\.test .*auth= /
score CLIENT 2.5
header CLIENT6 X-Spam-Relays-Untrusted =~ /^\[ ip=2001:db8::1 /
score CLIENT6 3.5
header OURS X-Spam-Relays-Trusted =~ /^\[ ip=203\.0\.113\.9 .*auth=ESMTPA /
score OURS -4
header SENDER EnvelopeFrom =~ /^a\@s\.example$/
score SENDER 0.25
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="mta-spamd-") as folder:
        at = Path(folder)
        at.chmod(0o755)  # as root it drops its privileges before it reads the rules
        yield from serve(at, free_port())


def serve(at: Path, port: int) -> Iterator[str]:
    for folder in ("rules", "site"):
        (at / folder).mkdir()
    (at / "rules/test.cf").write_text(RULES)
    (at / "site/check.pre").write_text("loadplugin Mail::SpamAssassin::Plugin::Check\n")
    words = [
        "spamd", "--local", "--syslog=stderr", f"--listen={HOST}:{port}", "--max-children=2", "--nouser-config",
        f"--configpath={at}/rules", f"--siteconfigpath={at}/site", f"--helper-home-dir={at}", f"--pidfile={at}/pid",
    ]  # fmt: skip
    if os.geteuid() == 0:
        words.append("--username=nobody")
    with (at / "log").open("wb") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "HOME": str(at)})
    try:
        try:
            wait_until(lambda: daemon.poll() is not None or accepts(HOST, port), 60, "spamd accepts")
        except AssertionError:
            pytest.skip(f"spamd does not start here: {tail(at / 'log')}")
        if daemon.poll() is not None:
            pytest.skip(f"spamd does not run here: {tail(at / 'log')}")
        yield f"{HOST}:{port}"
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def tail(path: Path) -> str:
    return path.read_text("utf-8", "replace")[-400:]


def check(address: str, message: FakeMessage, **session: Any) -> Decision:
    made = host_with(mta_spamassassin, config={"address": address, "spam": "reject", "max_size": 10_000_000})
    plan = made.message_check
    assert plan is not None
    return asyncio.run(plan.verdict(session=FakeSession(**session), message=message, recipients=(), results=()))


def letter(body: bytes) -> bytes:
    return b"From: a@s.example\r\nTo: b@r.example\r\nSubject: hello\r\n\r\n%b\r\n" % body


def test_spam_is_spam_and_ham_is_ham(address: str) -> None:
    message = FakeMessage(letter(GTUBE))
    decision = check(address, message)
    assert decision.verdict is not None
    assert decision.verdict.action is Action.REJECT
    assert message.notes["spamassassin"].tests == ("GTUBE",)
    assert message.notes["spamassassin"].score == 1000.0
    decision = check(address, FakeMessage(letter(b"Lunch on Friday?")))
    assert (decision.verdict, decision.score) == (None, -1.5)
    assert check(address, FakeMessage(letter(b"Nothing"))).steps == ()


@pytest.mark.parametrize(
    ("session", "tests"),
    [
        ({"client_ip": "203.0.113.9"}, ("CLIENT", "SENDER")),
        ({"client_ip": "2001:db8::1"}, ("CLIENT6", "SENDER")),
        ({"client_ip": "203.0.113.9", "user": "u@x.test"}, ("OURS", "SENDER")),
        ({"client_ip": "203.0.113.8", "helo": "client.example.org) ([203.0.113.9]"}, ("SENDER",)),
        ({"client_ip": ""}, ("SENDER",)),
    ],
)
def test_its_rules_see_client_and_sender(address: str, session: dict[str, str], tests: tuple[str, ...]) -> None:
    message = FakeMessage(letter(b"hello"), sender=Address("a", "s.example"))
    check(address, message, **session)
    assert message.notes["spamassassin"].tests == tests


def test_a_big_message_arrives(address: str) -> None:
    message = FakeMessage(letter(GTUBE + b"\r\n" + b"A line that repeats itself.\r\n" * 50_000))
    assert check(address, message).verdict is not None
