"""Header and body checks over whole messages: verdicts, edits of fields, parts and lines, bounds; copies."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from mta.model.address import Address
from mta.model.message import Recipient
from mta.testing.plugins import FakeMessage, FakeSession, RecordingLog, host_with
from mta_checks import Checks
from mta_checks.actions import BadAction, read_action
from mta_hooks import AddHeader, AddRecipient, RemoveHeader, ReplaceHeader, SetBody

MESSAGE = (
    b"Received: from x\r\nReceived: from y\r\nFrom: a@example.org\r\nSubject: free\r\n money\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n--b\r\nContent-Type: text/plain\r\n\r\nline one\r\nline two\r\n'
    b'--b\r\nContent-Type: application/zip; name="x.exe"\r\nContent-Disposition: attachment;\r\n filename="x.exe"\r\n\r\nUEsDB\r\n'
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--b--\r\n"
)


def check(
    tmp_path: Path,
    octets: bytes = MESSAGE,
    recipients: Any = (),
    log: RecordingLog | None = None,
    origin: Any = "smtp",
    **tables: Any,
) -> tuple[Any, list[Any]]:
    config = dict(tables)
    for name, text in tables.items():
        if isinstance(text, str):
            (tmp_path / name).write_text(text)
            config[name] = f"regexp:{tmp_path}/{name}"
    host = host_with(Checks(), config=config, log=log or RecordingLog())
    message = FakeMessage(octets, sender=Address("alice", "example.com"), origin=origin)
    named = [Recipient(Address.parse(one), Address.parse(one)) for one in recipients]

    async def run() -> tuple[Any, list[Any]]:
        assert host.message_check is not None
        assert host.message_modify is not None
        decision = await host.message_check.verdict(session=FakeSession(), message=message, recipients=named, results=[])
        said = await host.message_modify.all(message=message, recipients=named)
        return decision.verdict, [answer for _, answer in said]

    return asyncio.run(run())


def test_headers(tmp_path: Path) -> None:
    verdict, edits = check(tmp_path, headers="/^Subject: free.*money/ REJECT 5.7.9 no $$\n")
    assert (verdict.code, verdict.enhanced, verdict.text) == (550, "5.7.9", "no $")
    verdict, edits = check(
        tmp_path,
        headers="/^Received: from y/ IGNORE\n/^From: (.*)/ REPLACE From: <$1>\n/^Subject: free/ PREPEND X-Seen: yes\n/^MIME/ REPLACE X-Old: gone\n",
    )
    assert verdict is None
    assert edits == [RemoveHeader("Received", 1), ReplaceHeader("From", "<a@example.org>", 0), AddHeader("X-Seen", "yes"), RemoveHeader("MIME-Version", 0), AddHeader("X-Old", "gone", top=False)]  # fmt: skip


def test_a_folded_field_keeps_its_folds(tmp_path: Path) -> None:
    _, edits = check(tmp_path, headers="/^Subject: (.*)/ REPLACE Subject: [list] $1\n", nested_headers="/none/ x\n")
    assert edits == [ReplaceHeader("Subject", "[list] free\r\n money", 0)]


def test_later_checks_go_on_after_hold_and_redirect(tmp_path: Path) -> None:
    verdict, _ = check(tmp_path, headers="/^From/ HOLD look\n/^Subject/ REJECT\n")
    assert str(verdict.action) == "reject"
    verdict, edits = check(tmp_path, headers="/^From/ REDIRECT x@y.org\n/^Subject/ BCC c@d.org\n")
    assert verdict.target == ("x@y.org",)
    assert edits == [AddRecipient(Address("c", "d.org"))]
    verdict, _ = check(tmp_path, headers="/^From/ DISCARD\n/^Subject/ REJECT\n")
    assert str(verdict.action) == "discard"


def test_parts_and_messages_within(tmp_path: Path) -> None:
    verdict, _ = check(tmp_path, mime_headers='/^Content-Disposition:.*filename="?.*\\.exe"?$/ REJECT no programs\n')
    assert verdict.text == "no programs"
    assert check(tmp_path, headers="/name=.*\\.exe/ REJECT also by headers\n")[0].text == "also by headers"
    assert check(tmp_path, headers="/none/ x\n", nested_headers="/^Subject: inner/ REJECT nested\n")[0].text == "nested"
    assert check(tmp_path, headers="/^Subject: inner/ REJECT\n", nested_headers="/none/ x\n")[0] is None
    _, edits = check(tmp_path, mime_headers="/^Content-Disposition/ IGNORE\n")
    (edit,) = edits
    assert isinstance(edit, SetBody)
    assert edit.encoded
    assert edit.octets == MESSAGE.partition(b"\r\n\r\n")[2].replace(
        b'Content-Disposition: attachment;\r\n filename="x.exe"\r\n', b""
    )


def test_body(tmp_path: Path) -> None:
    _, edits = check(tmp_path, body="/^line one$/ STRIP\n/^line two$/ REPLACE line 2\n/^inner/ PREPEND before\n")
    (edit,) = edits
    body = MESSAGE.partition(b"\r\n\r\n")[2]
    assert edit.octets == body.replace(b"line one\r\nline two\r\n", b"line 2\r\n").replace(b"inner text", b"before\r\ninner text")
    assert check(tmp_path, body="/UEsDB/ REJECT zip\n")[0].text == "zip"
    assert check(tmp_path, body="/UEsDB/ REJECT zip\n", body_size=3)[0] is None
    assert check(tmp_path, body="/^line one/ PASS\n/^line two/ REJECT\n")[0] is None


def test_who_is_not_checked(tmp_path: Path) -> None:
    assert check(tmp_path, headers="/./ REJECT\n", origin="submission", users=False)[0] is None
    assert check(tmp_path, headers="/./ REJECT\n", origin="submission")[0] is not None


def test_mistakes_are_logged_and_let_the_mail_through(tmp_path: Path) -> None:
    log = RecordingLog()
    assert check(tmp_path, log=log, headers="/^From/ FILTER x\n/^Subject/ REPLACE nothing\n") == (None, [])
    assert len(log.named("checks.action_unknown")) == 3
    for wrong in ("NONSENSE", "REPLACE", "BCC nobody", "DELAY 3"):
        with pytest.raises(BadAction):
            read_action(wrong)


def test_a_large_message_is_bounded(tmp_path: Path) -> None:
    octets = b"From: a@b.org\r\n\r\n" + b"a line of text that is like all others\r\n" * 100_000
    began = time.monotonic()
    assert check(tmp_path, octets, body="/x(a|aa)+y/ REJECT\n/^other/ REJECT\n")[0] is None
    assert time.monotonic() - began < 10


def test_copies(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "always_bcc": ["all@archive.org"],
        "sender_bcc": {"@example.com": "out@archive.org"},
        "recipient_bcc": {"bob@example.org": "one@archive.org, two@archive.org, bad one", "ann@": "ann@archive.org"},
    }
    log = RecordingLog()
    _, edits = check(tmp_path, recipients=["bob+x@example.org", "ann@far.net", "two@archive.org"], log=log, **config)
    assert [str(edit.address) for edit in edits] == ["all@archive.org", "out@archive.org", "one@archive.org", "ann@archive.org"]
    assert log.named("checks.bcc_refused")
    assert check(tmp_path, recipients=["bob@example.org"], origin="dsn", **config)[1] == []
