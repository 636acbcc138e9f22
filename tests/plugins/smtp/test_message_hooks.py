"""Hooks of the message, while it arrives and when it is there: through every door, with what their specifications say."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64

import pytest

from mta.config.sections import Spam
from mta.model.address import Address
from mta.model.errors import Refused
from mta.pluginhost.call import ContractError
from mta.pluginhost.check import PluginRefused
from mta.testing.plugins import FakeMessage, host_with
from mta_hooks import Recipient, TemporaryFailure, accept, add_score, defer, discard, hold, hookimpl, quarantine, redirect, reject

ALICE, BOB, CAROL = (Address(name, "example.test") for name in ("alice", "bob", "carol"))
QUEUED = "250 2.0.0 queued as "


def folders(site):
    return {d.recipient.local: d.placement.folder for i in site.spool.accepted for d in i.deliveries}


def holds(site):
    return {q.address.local: q.hold for i in site.spool.accepted for q in i.queued}


# ---- message_headers


def test_headers_are_judged_before_the_body_is_sent(site_with, door) -> None:
    asked = []

    @hookimpl
    def message_headers(session, transaction, headers):
        asked.append((session.protocol, len(transaction.recipients), headers))

    async def work():
        site = site_with(message_headers)
        client = site.client(door)
        await client.open()
        await client.envelope("alice")
        await client.ask("DATA")
        await client.ask("Subject: a", " b", "To: x")
        assert asked == []
        await client.ask("", "body")
        assert asked == [(door, 1, [("Subject", "a b"), ("To", "x")])]
        assert (await client.ask("more", "."))[-1].startswith(QUEUED)
        assert len(asked) == 1
        assert b"Subject: a\r\n b\r\nTo: x\r\n" in site.spool.accepted[0].content.raw()
        assert site.spool.accepted[0].content.raw().endswith(b"\r\n\r\nbody\r\nmore\r\n")

    asyncio.run(work())


@pytest.mark.parametrize(
    "verdict", [reject("no", reason="why"), defer("later"), accept(), discard("d"), quarantine("q"), hold("h")]
)
def test_a_refusal_at_the_header_is_told_at_the_end_and_keeps_nothing(site_with, door, verdict) -> None:
    @hookimpl
    def message_headers():
        return verdict

    async def work():
        site = site_with(message_headers)
        client = site.client(door)
        await client.open()
        await client.envelope("alice")
        await client.ask("DATA")
        assert await client.ask("Subject: x", "", "body") == []
        replies = await client.ask("b" * 200_000, ".", "NOOP")
        assert replies[-1] == "250 2.0.0 ok"
        if verdict.code:
            assert replies[0] == str(verdict.reply())
            assert site.spool.accepted == []
            assert client.link.reader is None
        else:
            assert replies[0].startswith(QUEUED)
            assert folders(site) == {"accept": {"alice": "INBOX"}, "quarantine": {"alice": "Junk"}}.get(verdict.action, {})
            assert [s["hook"] for s in site.spool.accepted[0].trace if "hook" in s] == ["message_headers"]

    asyncio.run(work())


@pytest.mark.parametrize(
    ("message", "headers"),
    [
        ("\r\nbody", []),
        ("no header at all", []),
        ("Subject: only", [("Subject", "only")]),
        ("Subject: dots\r\n\r\n..x", [("Subject", "dots")]),
    ],
)
def test_a_header_ends_somehow(site_with, message, headers) -> None:
    asked = []

    @hookimpl
    def message_headers(headers):
        asked.append(headers)

    async def work(octets):
        site = site_with(message_headers)
        client = site.client("smtp")
        await client.open()
        await client.envelope("alice")
        await client.ask("DATA")
        piece = f"{message}\r\n.\r\nNOOP\r\n".encode()
        for part in [piece[i : i + 1] for i in range(len(piece))] if octets else [piece]:
            client.link.data_received(part)
            await site.settle(client.link)
        lines = client.transport.take().decode().splitlines()
        assert (lines[0][:20], lines[1:]) == (QUEUED, ["250 2.0.0 ok"])

    asyncio.run(work(False))
    asyncio.run(work(True))
    assert asked == [headers, headers]


def test_what_arrives_while_the_header_is_judged_comes_in_order(site_with) -> None:
    @hookimpl
    async def message_headers():
        await asyncio.sleep(0.01)

    async def work():
        site = site_with(message_headers)
        client = site.client("smtp")
        await client.open()
        await client.envelope("alice")
        await client.ask("DATA")
        client.link.data_received(b"Subject: x\r\n\r\none\r\n.\r\nNO")
        client.link.data_received(b"OP\r\nVRFY ")
        client.link.data_received(b"x\r\n")
        while client.link.working:
            await asyncio.sleep(0.005)
        assert [line[:3] for line in client.transport.take().decode().splitlines()] == ["250", "250", "252"]
        assert site.spool.accepted[0].content.raw().endswith(b"\r\n\r\none\r\n")

    asyncio.run(work())


# ---- message_sink


class Sink:
    def __init__(self, verdict=None, error=None):
        self.verdict, self.error = verdict, error
        self.pieces, self.closed = [], 0

    def feed(self, anything):
        if self.error:
            raise self.error
        self.pieces.append(anything)

    async def close(self):
        await asyncio.sleep(0)
        self.closed += 1
        return self.verdict


def test_sinks_hear_each_octet_once_while_it_arrives(site_with, door) -> None:
    made = []

    @hookimpl
    def message_sink(session, transaction):
        made.append((session.protocol, [r.address for r in transaction.recipients], Sink()))
        return made[-1][2]

    @hookimpl(specname="message_sink")
    async def other():
        return None

    async def work():
        site = site_with(message_sink, other)
        client = site.client(door)
        await client.open()
        await client.envelope("alice")
        await client.ask("DATA")
        await client.ask("Subject: x", "", "..dot")
        assert b"".join(made[0][2].pieces) == b"Subject: x\r\n\r\n.dot"
        await client.ask("end", ".")
        await client.send("bob")

    asyncio.run(work())
    assert [(m[0], m[1]) for m in made] == [(door, [ALICE]), (door, [BOB])]
    assert b"".join(made[0][2].pieces) == b"Subject: x\r\n\r\n.dot\r\nend\r\n"
    assert [m[2].closed for m in made] == [1, 1]


@pytest.mark.parametrize(
    "verdict", [reject("virus"), defer("busy"), accept(), discard("d"), quarantine("q"), hold("h"), add_score(6)]
)
def test_the_verdict_of_a_sink(site_with, door, verdict) -> None:
    quiet = Sink(accept())

    async def work():
        @hookimpl
        def message_sink():
            return quiet

        @hookimpl(specname="message_sink")
        def judge():
            return Sink(verdict)

        site = site_with(message_sink, judge)
        client = site.client(door)
        await client.open()
        replies = await client.send("alice")
        if verdict.code:
            assert replies == [str(verdict.reply())]
            assert site.spool.accepted == []
        else:
            assert replies[0].startswith(QUEUED)
            assert [s["plugin"] for s in site.spool.accepted[0].trace if "plugin" in s] == ["p0", "p1"]

    asyncio.run(work())
    assert quiet.closed == 1


@pytest.mark.parametrize(
    ("on_error", "reply"), [("continue", QUEUED), ("defer", "451 4.3.0 temporary failure"), ("reject", "554 5.3.0 this cannot")]
)
def test_a_sink_that_fails(site_with, on_error, reply) -> None:
    broken = Sink(reject("never asked"), ValueError("full"))

    @hookimpl(on_error=on_error)
    def message_sink():
        return broken

    async def work():
        site = site_with(message_sink)
        client = site.client("smtp")
        await client.open()
        assert (await client.send("alice"))[0].startswith(reply)
        (health,) = [h for h in site.hooks.health() if h.name == "p0"]
        assert health.hooks[0].errors == 1

    asyncio.run(work())
    assert broken.closed == 0


@pytest.mark.parametrize("made", [object(), "text"])
def test_what_is_no_sink_is_a_fault(site_with, made) -> None:
    @hookimpl
    def message_sink():
        return made

    async def work():
        site = site_with(message_sink, strict=False)
        client = site.client("smtp")
        await client.open()
        await client.envelope("alice")
        assert await client.ask("DATA") == ["451 4.3.0 temporary failure, try again later"]
        with pytest.raises(ContractError):
            await host_with(message_sink).message_sink.open(session=None, transaction=None)

    asyncio.run(work())


# ---- mime_part

MIXED = b"\r\n".join(
    [
        b"Subject: parts",
        b'Content-Type: multipart/mixed; boundary="x"',
        b"",
        b"--x",
        b"Content-Type: text/plain; charset=iso-8859-1",
        b"Content-Transfer-Encoding: quoted-printable",
        b"",
        b"caf=E9",
        b"--x",
        b"Content-Type: message/rfc822",
        b"",
        b"Subject: inner",
        b"",
        b"inner",
        b"--x",
        b"Content-Type: Application/PDF",
        b'Content-Disposition: attachment; filename="a.pdf"',
        b"Content-Transfer-Encoding: base64",
        b"",
        base64.b64encode(b"%PDF-1"),
        b"--x--",
    ]
).decode()


def test_parts_come_decoded_and_by_declared_type(site_with, door) -> None:
    seen, texts, wild = [], [], []

    @hookimpl
    def mime_part(message, part):
        seen.append((message.origin, part.path, part.content_type, part.octets, part.filename, part.disposition))

    @hookimpl(specname="mime_part", types="text/*")
    async def text_part(part):
        texts.append((part.path, part.text))

    @hookimpl(specname="mime_part", types=("image/png", "application/pdf"))
    def documents(part):
        wild.append(part.path)

    async def work():
        site = site_with(mime_part, text_part, documents)
        client = site.client(door)
        await client.open()
        assert (await client.send("alice", message=MIXED))[0].startswith(QUEUED)

    asyncio.run(work())
    origin = {"smtp": "smtp", "submission": "submission", "lmtp": "lmtp", "local": "local"}[door]
    assert seen == [
        (origin, "1", "text/plain", b"caf\xe9", "", ""),
        (origin, "2", "message/rfc822", b"Subject: inner\r\n\r\ninner", "", ""),
        (origin, "2.1", "text/plain", b"inner", "", ""),
        (origin, "3", "application/pdf", b"%PDF-1", "a.pdf", "attachment"),
    ]
    assert texts == [("1", "café"), ("2.1", "inner")]
    assert wild == ["3"]


@pytest.mark.parametrize("verdict", [reject("no"), defer("later"), discard("d"), quarantine("q"), add_score(20), accept()])
def test_the_verdict_on_a_part(site_with, verdict) -> None:
    asked = []

    @hookimpl(types="application/pdf")
    def mime_part(part):
        return verdict

    @hookimpl
    def message_check():
        asked.append(1)

    async def work():
        site = site_with(mime_part, message_check)
        client = site.client("smtp")
        await client.open()
        (reply,) = await client.send("alice", message=MIXED)
        if verdict.code:
            assert reply == str(verdict.reply())
        elif verdict.score:
            assert reply.startswith("550 5.7.1 message was judged to be spam")
        else:
            assert reply.startswith(QUEUED)
            assert folders(site) == {"discard": {}, "quarantine": {"alice": "Junk"}}.get(verdict.action, {"alice": "INBOX"})

    asyncio.run(work())
    assert len(asked) == (0 if verdict.code or verdict.action == "discard" else 1)


def test_types_are_for_parts_only_and_are_types() -> None:
    @hookimpl(types="text/plain")
    def smtp_data():
        """Not asked of parts."""

    @hookimpl(specname="mime_part", types="pdf")
    def part():
        """A type without a slash."""

    for function in (smtp_data, part):
        with pytest.raises(PluginRefused):
            host_with(function)


# ---- message_verdict and verdicts for each recipient


def test_message_verdict_has_the_last_word_over_scores(site_with, door) -> None:
    asked = []

    @hookimpl
    def smtp_ehlo():
        return None

    @hookimpl
    def message_headers():
        return add_score(9)

    @hookimpl
    def message_check():
        return add_score(8.5)

    @hookimpl(specname="message_check")
    def more():
        return add_score(-0.5)

    @hookimpl
    def message_verdict(message, scores, recipients):
        asked.append((dict(scores), [r.address for r in recipients]))
        return accept("a friend")

    async def work():
        site = site_with(smtp_ehlo, message_headers, message_check, more, message_verdict)
        client = site.client(door)
        await client.open()
        assert (await client.send("alice"))[0].startswith(QUEUED)
        assert folders(site) == {"alice": "INBOX"}
        assert [s["hook"] for s in site.spool.accepted[0].trace if "hook" in s][-1] == "message_verdict"

    asyncio.run(work())
    assert asked == [({"p1": 9, "p2": 8.5, "p3": -0.5}, [ALICE])]


def test_message_verdict_is_for_those_whom_the_check_left(site_with) -> None:
    asked = []

    @hookimpl
    def message_check():
        return {ALICE: quarantine("a"), str(BOB): accept()}

    @hookimpl(specname="message_check")
    def later(recipients):
        return {ALICE: reject("too late")}

    @hookimpl
    def message_verdict(recipients):
        asked.append([r.address for r in recipients])
        return {CAROL: hold("c")}

    async def work():
        site = site_with(message_check, later, message_verdict)
        client = site.client("smtp")
        await client.open()
        assert (await client.send("alice", "bob", "carol"))[0].startswith(QUEUED)
        assert folders(site) == {"alice": "Junk", "bob": "INBOX"}
        assert holds(site) == {"carol": "c"}
        words = [s.get("verdicts") for s in site.spool.accepted[0].trace]
        assert words[0] == {"alice@example.test": quarantine("a").to_json(), "bob@example.test": accept().to_json()}

    asyncio.run(work())
    assert asked == [[CAROL]]


def one_refused(verdict=None):
    @hookimpl
    def message_check(recipients):
        return {BOB: verdict or reject("bob wants none of this", reason="rule 7")}

    return message_check


def test_lmtp_tells_each_recipient(site_with) -> None:
    async def work():
        site = site_with(one_refused())
        client = site.client("lmtp")
        await client.open()
        replies = await client.send("alice", "bob", "carol", "bob")
        assert [r[:9] for r in replies] == ["250 2.0.0", "550 5.7.1", "250 2.0.0", "550 5.7.1"]
        assert folders(site) == {"alice": "INBOX", "carol": "INBOX"}
        assert [r[:9] for r in await client.send("bob")] == ["550 5.7.1"]

    asyncio.run(work())


def test_lmtp_answers_once_for_each_rcpt_whatever_becomes_of_it(site_with) -> None:
    @hookimpl
    def smtp_rcpt(recipient):
        return redirect("alice@example.test", "bob@example.test") if recipient.local == "team" else None

    async def work():
        client = site_with(smtp_rcpt, one_refused()).client("lmtp")
        await client.open()
        assert [r[:9] for r in await client.send("team", "carol")] == ["250 2.0.0", "250 2.0.0"]

    asyncio.run(work())


@pytest.mark.parametrize("through", ["submission", "local"])
def test_a_submission_is_refused_as_a_whole_naming_the_recipient(site_with, through) -> None:
    async def work():
        site = site_with(one_refused())
        client = site.client(through)
        await client.open()
        assert await client.send("alice", "bob") == ["550 5.7.1 bob@example.test: bob wants none of this"]
        assert site.spool.accepted == []

    asyncio.run(work())


@pytest.mark.parametrize(
    ("mixed", "bob"), [("quarantine", ("Junk", set())), ("discard", None), ("accept_tagged", ("INBOX", {"$Junk"}))]
)
def test_plain_smtp_takes_a_mixed_verdict_as_configured(site_with, mixed, bob) -> None:
    async def work():
        site = site_with(one_refused(), spam=Spam(mixed_verdict=mixed))
        client = site.client("smtp")
        await client.open()
        assert (await client.send("alice", "bob"))[0].startswith(QUEUED)
        (intake,) = site.spool.accepted
        places = {d.recipient.local: (d.placement.folder, set(d.placement.keywords)) for d in intake.deliveries}
        assert places == {"alice": ("INBOX", set())} | ({"bob": bob} if bob else {})
        assert intake.queued == ()
        step = [s for s in intake.trace if "hook" in s][-1]
        assert (step["hook"], step["plugin"], step["recipient"]) == ("mixed_verdict", "p0", "bob@example.test")

    asyncio.run(work())


@pytest.mark.parametrize(
    ("verdicts", "reply"),
    [
        ((reject("no"), reject("no")), "550 5.7.1 no"),
        ((reject("no"), defer("later")), "451 4.7.1 later"),
        ((discard("x"), discard("x")), QUEUED),
    ],
)
def test_plain_smtp_where_nobody_may_have_it(site_with, verdicts, reply) -> None:
    @hookimpl
    def message_check():
        return dict(zip((ALICE, BOB), verdicts, strict=True))

    async def work():
        site = site_with(message_check)
        client = site.client("smtp")
        await client.open()
        assert (await client.send("alice", "bob"))[0].startswith(reply)
        assert folders(site) == {}

    asyncio.run(work())


@pytest.mark.parametrize(
    "answer", [{CAROL: reject("no recipient")}, {ALICE: add_score(1)}, {ALICE: "no"}, {ALICE: reject("x" * 2000)}, [reject("no")]]
)
@pytest.mark.parametrize("hook", ["message_check", "message_verdict"])
def test_answers_for_each_recipient_that_are_faults(hook, answer) -> None:
    @hookimpl(specname=hook)
    def judge():
        return answer

    recipients = [Recipient(ALICE, ALICE)]
    host = host_with(judge)
    known = {"session": None, "message": FakeMessage(), "recipients": recipients, "results": (), "scores": {}}
    plan = getattr(host, hook)
    arguments = {name: known[name] for name in plan.spec.arguments}
    with pytest.raises(ContractError):
        asyncio.run(plan.verdict(**arguments) if hook == "message_check" else plan.named(**arguments))


# ---- a message that comes whole


def test_an_injected_message_meets_the_same_hooks(site_with) -> None:
    sink, asked = Sink(), []

    @hookimpl
    def message_headers(session, headers):
        asked.append((session.protocol, headers))
        return reject("no") if headers[0][1] == "bad" else None

    @hookimpl
    def message_sink():
        return sink

    @hookimpl
    def mime_part(part):
        asked.append(part.octets)

    async def work():
        site = site_with(message_headers, message_sink, mime_part)
        await site.pipeline.inject(origin="local", sender=ALICE, recipients=[BOB], octets=b"Subject: x\n\nbody\n")
        with pytest.raises(Refused):
            await site.pipeline.inject(origin="local", sender=ALICE, recipients=[BOB], octets=b"Subject: bad\n\nbody\n")
        assert len(site.spool.accepted) == 1

    asyncio.run(work())
    assert asked == [("local", [("Subject", "x")]), b"body\r\n", ("local", [("Subject", "bad")])]
    assert (b"".join(sink.pieces), sink.closed) == (b"Subject: x\r\n\r\nbody\r\n", 1)


def test_a_failing_header_hook_defers_at_the_end(site_with, door) -> None:
    @hookimpl
    def message_headers():
        raise TemporaryFailure("database away")

    async def work():
        site = site_with(message_headers)
        client = site.client(door)
        await client.open()
        assert await client.send("alice") == ["451 4.3.0 temporary failure"]

    asyncio.run(work())


def test_a_sink_that_hangs_is_cut_off_and_the_next_message_is_taken(site_with) -> None:
    hangs = []

    class Slow(Sink):
        async def close(self):
            hangs.append(self)
            await asyncio.sleep(60 if len(hangs) == 1 else 0)

    @hookimpl(timeout=0.3)
    def message_sink():
        return Slow()

    async def work():
        site = site_with(message_sink)
        site.hooks.start(site.tasks)
        client = site.client("smtp")
        await client.open()
        await client.envelope("alice")
        await client.ask("DATA")
        client.link.data_received(b"Subject: x\r\n\r\nbody\r\n.\r\n")
        while client.link.working:
            await asyncio.sleep(0.02)
        assert client.transport.take() == b"451 4.3.0 temporary failure\r\n"
        assert (await client.send("alice"))[0].startswith(QUEUED)
        site.hooks.stop()
        await site.tasks.close()

    asyncio.run(work())


def test_a_message_that_never_ends_closes_no_sink(site_with, door) -> None:
    sink, resets = Sink(reject("never asked")), []

    @hookimpl
    def message_sink():
        return sink

    @hookimpl
    def smtp_reset(reason):
        resets.append(reason)

    async def work():
        site = site_with(message_sink, smtp_reset)
        client = site.client(door)
        await client.open()
        await client.envelope("alice")
        await client.ask("DATA")
        await client.ask("Subject: x", "", "half")
        client.hang_up()
        await site.rest()
        assert site.spool.accepted == []

    asyncio.run(work())
    assert (b"".join(sink.pieces), sink.closed, resets) == (b"Subject: x\r\n\r\nhalf", 0, ["disconnect"])
