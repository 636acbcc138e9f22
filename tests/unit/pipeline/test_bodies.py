"""New content for bodies and parts: encodings, line ends, boundaries; everything else stays octet for octet."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.config.sections import Config, Limits
from mta.model.address import Address
from mta.model.message import OctetContent
from mta.pipeline.editor import Editor
from mta.pipeline.header import Header
from mta.pipeline.message import MailMessage
from mta.pipeline.transaction import MailTransaction
from mta.spool.content import SpooledContent
from mta.testing.plugins import RecordingLog
from mta.wire.mime import body, find_part, parse
from mta_hooks.edits import AddHeader, RemoveHeader, ReplaceHeader, ReplaceMessage, ReplacePart, SetBody, SetSender

HEAD = b"Subject: x\r\nDKIM-Signature: a;\r\n\tb\r\n"
MIXED = (
    HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n--b\r\n\r\nfirst\r\n'
    b"--b\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\nX-Odd:  kept \r\n\r\nJVBERg==\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninside\r\n--b--\r\nepilogue\r\n"
)


def edited(octets, *edits, memory=2**20, above=b"", smtputf8=False, content=None):
    log = RecordingLog()
    limits = Limits(memory_per_message=65536, message_size=2**20)
    config = Config.model_construct(limits=limits, data_dir="/nonexistent")
    transaction = MailTransaction("q", "smtp", None, {})
    transaction.smtputf8 = smtputf8
    message = MailMessage("q", "smtp", None, content or OctetContent(octets), {})
    answers = [("p", edit) for edit in edits]
    asyncio.run(Editor(config, log, "mx.test").edit("message_modify", answers, message, transaction, above=above))
    problems = [line["problem"] for line in log.named("hook.edit.refused")]
    return message.content().raw(), transaction, problems


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (SetBody(b"new\n"), HEAD + b"\r\nnew\r\n"),
        (SetBody(b"new", "text/html"), HEAD + b"Content-Type: text/html\r\nMIME-Version: 1.0\r\n\r\nnew"),
        (
            SetBody("é\r\n".encode(), "text/plain"),
            HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
            b"MIME-Version: 1.0\r\n\r\n=C3=A9\r\n",
        ),
        (
            SetBody(b"%PDF\0", "application/pdf"),
            HEAD + b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\nJVBERgA=\r\n",
        ),
        (SetBody(b"as it is\r\n", encoded=True), HEAD + b"\r\nas it is\r\n"),
        (ReplacePart("1", b"part"), HEAD + b"\r\npart"),
        (ReplaceMessage(b"A: b\n\nc\n"), b"A: b\r\n\r\nc\r\n"),
    ],
)
def test_a_plain_message(edit, expected) -> None:
    octets, transaction, problems = edited(HEAD + b"\r\nold\r\n", edit)
    assert (octets, problems, transaction.eightbit) == (expected, [], False)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (ReplacePart("2", b""), "the message has no part '2'"),
        (ReplacePart("", b""), "the message has no part ''"),
        (ReplacePart("x.1", b""), "the message has no part 'x.1'"),
        (SetBody(b"a\0", encoded=True), "NUL in a body"),
        (SetBody(b"a" * 999, encoded=True), "a line of more than 998 octets"),
        (SetBody(b"a", "text"), "'text' is no content type"),
        (SetBody(b"a", "text/plain; a=\r\nBcc: evil@x.test"), "CR, LF or NUL in a header value"),
        (SetBody(b"a" * 2**21), "larger than limits.message_size, 1048576 octets"),
        (ReplaceMessage(b"no header"), "a message without a header"),
        (ReplaceMessage("Subject: é\r\n\r\n".encode()), "not ASCII"),
        (AddHeader("X", "a" * 1000), "a header line of more than 998 octets"),
        (AddHeader("X", "é"), "not ASCII"),
    ],
)
def test_what_cannot_be_done_changes_nothing(edit, problem) -> None:
    old = HEAD + b"\r\nold\r\n"
    octets, transaction, problems = edited(old, edit)
    assert octets == old
    assert len(problems) == 1
    assert problem in problems[0]
    (step,) = transaction.steps
    assert step == {"hook": "message_modify", "plugin": "p", "edit": type(edit).__name__, "refused": problems[0]}


@pytest.mark.parametrize(
    ("path", "new", "kind", "old", "made"),
    [
        ("1", b"other", "", b"\r\n\r\nfirst\r\n", b"\r\n\r\nother\r\n"),
        ("2", b"gone", "text/plain", b"", b""),
        ("2", b"%PDF-2", "", b"JVBERg==\r\n", b"JVBERi0y\r\n\r\n"),
        ("3.1", b"another", "", b"inside\r\n--b--", b"another\r\n--b--"),
        ("3", b"A: b\r\n\r\nc", "", b"Subject: inner\r\n\r\ninside", b"A: b\r\n\r\nc"),
        ("1", b"--b\r\n", "", b"\r\n\r\nfirst", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nLS1iDQo=\r\n"),
    ],
)
def test_one_part_and_nothing_else(path, new, kind, old, made) -> None:
    octets, _, problems = edited(MIXED, ReplacePart(path, new, kind))
    assert problems == []
    if old:
        assert octets == MIXED.replace(old, made)
    else:
        part = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\nX-Odd:  kept \r\n\r\nZ29uZQ==\r\n\r\n--b\r\n"
        assert part in octets
    before, after = parse(MIXED), parse(octets)
    numbers = [int(n) for n in path.split(".")]
    assert len(after.children) == len(before.children)
    if path != "3":
        assert body(find_part(after, numbers), octets) == new


@given(st.binary(max_size=300), st.sampled_from(["text/plain", "application/x-a", ""]), st.sampled_from(["1", "2", "3.1"]))
def test_content_comes_back_as_it_was_given(new, kind, path) -> None:
    octets, _, problems = edited(MIXED, ReplacePart(path, new, kind))
    assert problems == []
    assert b"\0" not in octets
    assert octets.count(b"\n") == octets.count(b"\r") == octets.count(b"\r\n")
    root = parse(octets)
    found = find_part(root, [int(n) for n in path.split(".")])
    got = body(found, octets)
    if found.maintype == "text":
        new, got = (t.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for t in (new, got))
    assert got == new
    assert octets.startswith(HEAD)
    assert octets.endswith(b"--b--\r\nepilogue\r\n")


def test_a_big_message_keeps_its_rest_on_disk(tmp_path) -> None:
    big = SpooledContent(65536, str(tmp_path))
    filler = b"z" * 76 + b"\r\n"
    octets = MIXED.replace(b"first\r\n", filler * 5000)
    big.write(octets)
    big.spill()
    big.finish()
    made, _, problems = edited(b"", ReplacePart("2", b"%PDF-2"), AddHeader("X-Top", "1"), content=big)
    assert problems == []
    assert made == b"X-Top: 1\r\n" + octets.replace(b"JVBERg==\r\n", b"JVBERi0y\r\n\r\n")


def test_eight_bit_lines_are_told() -> None:
    body = "é\r\n".encode()
    assert edited(HEAD + b"\r\nold\r\n", SetBody(body, encoded=True))[1].eightbit is True
    assert edited(HEAD + b"\r\nold\r\n", SetBody(body))[1].eightbit is False
    octets, transaction, _ = edited(HEAD + b"Content-Transfer-Encoding: 8bit\r\n\r\nold\r\n", SetBody(body))
    assert octets.endswith(b"\r\n\r\n" + body)
    assert transaction.eightbit is True


def test_an_index_counts_what_the_hook_saw() -> None:
    head = b"Received: a\r\nReceived: b\r\nReceived: c\r\n"
    header = Header(head, b"Received: ours\r\n")
    for edit in (
        RemoveHeader("Received", 0),
        AddHeader("Received", "new"),
        ReplaceHeader("Received", "B", 1),
        RemoveHeader("Received", 2),
    ):
        header.apply(edit)
    assert header.octets == b"Received: new\r\nReceived: ours\r\nReceived: B\r\n"
    header.apply(RemoveHeader("received"))
    assert header.octets == b"Received: ours\r\n"
    again = Header(b"")
    for value in "1", "2":
        again.apply(ReplaceHeader("X-Spam", value))
    assert again.octets == b"X-Spam: 2\r\n"


def test_edits_follow_one_another() -> None:
    octets, transaction, problems = edited(
        HEAD + b"\r\nold\r\n",
        SetBody(b"first"),
        ReplacePart("1", b"second"),
        AddHeader("X-A", "v" * 300),
        SetSender(Address("x", "y.test")),
        above=b"Received: ours\r\n",
    )
    assert problems == []
    assert octets == b"X-A: " + b"v" * 300 + b"\r\nReceived: ours\r\n" + HEAD + b"\r\nsecond"
    assert transaction.steps == []
    assert transaction.sender == Address("x", "y.test")


def test_a_new_message_keeps_our_trace_and_brings_no_forged_one() -> None:
    new = b"Return-Path: <f@x>\r\nAuthentication-Results: mx.test; spf=pass\r\nSubject: new\r\n\r\nbody"
    octets = edited(HEAD + b"\r\nold\r\n", ReplaceMessage(new), above=b"Received: ours\r\n")[0]
    assert octets == b"Received: ours\r\nSubject: new\r\n\r\nbody"
