# SPDX-License-Identifier: Apache-2.0
import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest

from mta.config.sections import Spam
from mta.model.address import Address
from mta.model.errors import NoSuchUser, OverQuota, Refused, StorageDead, StorageFull, StorageReadOnly, TemporaryFailure
from mta.model.ids import QueueId, UserId
from mta.model.message import Intake, OctetContent, Origin, Placement, Recipient
from mta.model.reply import Reply
from mta.model.verdict import Verdict, accept, add_score, defer, discard, hold, quarantine, redirect, reject
from mta.pipeline.session import MailSession
from mta.pipeline.transaction import Accepted, MailTransaction
from mta.testing.plugins import host_with, plugin_of
from mta.testing.smtpd import SmtpSite
from mta_hooks import AddHeader, AuthResult, RemoveHeader, hookimpl

MESSAGE = b"Subject: hello\r\nMessage-ID: <one@elsewhere.test>\r\n\r\nbody\r\n"


def session_of(**attributes: Any) -> MailSession:
    session = MailSession("s1", "smtp")
    session.client_ip, session.helo, session.esmtp = "192.0.2.1", "client.example", True
    for name, value in attributes.items():
        setattr(session, name, value)
    return session


async def transact(
    site: SmtpSite,
    recipients: Sequence[str] = ("alice@example.test",),
    octets: bytes = MESSAGE,
    *,
    origin: Origin = "smtp",
    notify: frozenset[str] = frozenset(),
    session: MailSession | None = None,
) -> Reply:
    transaction = MailTransaction(QueueId("Q1"), origin, Address("sender", "elsewhere.test"), {})
    for text in recipients:
        address = Address.parse(text)
        resolution = await site.server.resolver.resolve(address)
        transaction.accepted.append(Accepted(Recipient(address, address, None, notify), resolution))
    return await site.pipeline.submit(session or session_of(), transaction, OctetContent(octets))


def run(site: SmtpSite, *args: Any, **kw: Any) -> tuple[Reply, Intake | None]:
    reply = asyncio.run(transact(site, *args, **kw))
    return reply, site.spool.accepted[-1] if site.spool.accepted else None


def taken(site: SmtpSite, *args: Any, **kw: Any) -> tuple[Intake, bytes]:
    reply, intake = run(site, *args, **kw)
    assert str(reply) == "250 2.0.0 queued as Q1"
    assert intake is not None
    return intake, intake.content.raw()


def test_trace_lines_stand_in_front_of_the_octets_as_they_came() -> None:
    intake, octets = taken(SmtpSite())
    assert octets[: intake.skip] == b"Return-Path: <sender@elsewhere.test>\r\n"
    assert octets[intake.skip :] == (
        b"Received: from client.example ([192.0.2.1])\r\n\tby mx.example.test with ESMTP id Q1\r\n\tfor <alice@example.test>;\r\n"
        b"\t" + re.search(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", octets)[0] + b"\r\n" + MESSAGE  # type: ignore[index]
    )
    assert intake.message_id == "<one@elsewhere.test>"
    assert (intake.client, intake.user, intake.origin) == ("192.0.2.1", "", "smtp")


def test_one_delivery_for_each_account_and_no_for_clause_when_there_are_several() -> None:
    site = SmtpSite(aliases={"all@example.test": ("alice@example.test", "bob@example.test", "far@elsewhere.test")})
    intake, octets = taken(site, ["alice@example.test", "all@example.test", "far@elsewhere.test"])
    assert [(d.user, str(d.recipient)) for d in intake.deliveries] == [(1, "alice@example.test"), (2, "all@example.test")]
    assert [(str(q.address), q.transport) for q in intake.queued] == [("far@elsewhere.test", "remote")]
    assert b"for <" not in octets


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"esmtp": False}, b"with SMTP id"),
        ({"tls": True, "cipher": "TLS_AES"}, b"with ESMTPS\r\n\ttls TLS_AES id"),
        ({"tls": True, "user": "alice@example.test"}, b"with ESMTPSA id"),
        ({"client_ip": "2001:db8::1"}, b"([IPv6:2001:db8::1])"),
        (
            {"client_ip": "", "user": "root@mx.example.test", "protocol": "local"},
            b"Received: (from root@mx.example.test)\r\n\tby mx",
        ),
    ],
)
def test_received_says_how(changes: dict[str, Any], wanted: bytes) -> None:
    assert wanted in taken(SmtpSite(), session=session_of(**changes))[1]


def writing(site: SmtpSite, write: Any) -> None:
    def register(registry: Any) -> None:
        registry.received_header(write)

    site.hooks.offering = host_with(plugin_of(hookimpl(register))).offering


def test_a_plugin_rewrites_our_received_field_and_nothing_else() -> None:
    site = SmtpSite()
    writing(site, lambda session, field: f"by mx.example.test with {field.partition(' with ')[2]}")
    _, octets = taken(site, session=session_of(user="bob@example.test"))
    assert re.match(
        rb"Return-Path: <sender@elsewhere.test>\r\nReceived: by mx.example.test\r\n\twith ESMTPA id Q1\r\n\tfor <alice@example.test>;"
        rb"\r\n\t\w+, \d+ \w+ \d+ [\d:]+ \+0000\r\nSubject",
        octets,
    ), octets


@pytest.mark.parametrize(
    "write",
    [
        lambda field: "by mx.example.test; yesterday",
        lambda field: field.replace("from", "from\r\nX-Injected: yes\r\n"),
        lambda field: 1 / 0,
        lambda field: field + "x" * 2000,
    ],
)
def test_a_received_field_that_is_none_defers(write: Any) -> None:
    site = SmtpSite()
    writing(site, write)
    reply, intake = run(site)
    assert reply.code == 451
    assert intake is None


def test_what_a_submitted_message_lacks_is_added() -> None:
    octets = taken(SmtpSite(), octets=b"Subject: x\r\n\r\nbody\r\n", origin="submission")[1]
    assert b"\r\nDate: " in octets
    assert b"\r\nMessage-ID: <Q1@mx.example.test>\r\n\r\nbody" in octets
    assert octets.count(b"Received") == 1
    full = b"Date: now\r\nMESSAGE-ID: <a@b>\r\n\r\n"
    assert taken(SmtpSite(), octets=full, origin="submission")[1].endswith(b"\r\n" + full)
    assert b"Date:" not in taken(SmtpSite(), octets=b"Subject: x\r\n\r\n")[1]


def test_a_body_without_header_stays_a_body() -> None:
    octets = taken(SmtpSite(), octets=b"just text\r\n", origin="submission")[1]
    assert octets.endswith(b"@mx.example.test>\r\n\r\njust text\r\n")


def test_a_loop_is_refused() -> None:
    octets = b"Received: x\r\n" * 51 + b"\r\n"
    reply, intake = run(SmtpSite(), octets=octets)
    assert (str(reply)[:9], intake) == ("554 5.4.6", None)
    taken(SmtpSite(), octets=octets[13:])


def test_return_path_and_forged_results_from_outside_go() -> None:
    forged = b"Return-Path: <x@y.z>\r\nAuthentication-Results: mx.example.test; dkim=pass\r\n" + MESSAGE
    _, octets = taken(SmtpSite(), octets=forged)
    assert octets.count(b"Return-Path") == 1
    assert b"dkim=pass" not in octets


# ---- hooks


def test_stages_run_in_order_over_what_the_earlier_ones_made() -> None:
    site = SmtpSite()
    order: list[str] = []

    def authenticate(session: Any, message: Any) -> AuthResult:
        order.append("authenticate")
        assert message.raw == MESSAGE
        return AuthResult("dkim", "pass", properties=(("header.d", "elsewhere.test"),))

    def check(session: Any, message: Any, recipients: Any, results: Any) -> None:
        order.append("check")
        assert [r.method for r in results] == ["dkim"]
        assert message.header("subject") == "hello"
        assert [str(r.address) for r in recipients] == ["alice@example.test"]

    def modify(message: Any, recipients: Any) -> list[Any]:
        order.append("modify")
        return [AddHeader("X-Checked", "yes"), RemoveHeader("Subject")]

    async def sign(message: Any) -> AddHeader:
        order.append("sign")
        assert message.raw.startswith(
            b"X-Checked: yes\r\nAuthentication-Results: mx.example.test;\r\n\tdkim=pass header.d=elsewhere.test\r\nReceived: "
        )
        return AddHeader("DKIM-Signature", "v=1")

    for name, function in (("authenticate", authenticate), ("check", check), ("modify", modify), ("sign", sign)):
        site.hook(f"message_{name}", function)
    intake, octets = taken(site)
    assert order == ["authenticate", "check", "modify", "sign"]
    assert octets[intake.skip :].startswith(b"DKIM-Signature: v=1\r\nX-Checked: yes\r\n")
    assert b"Subject" not in octets


def test_an_edit_that_injects_is_left_out() -> None:
    site = SmtpSite()
    site.hook("message_modify", lambda message, recipients: [AddHeader("X", "a\r\nBcc: evil@x.test"), AddHeader("X-Good", "b")])
    site.hook("message_sign", lambda message: [RemoveHeader("Subject")])
    octets = taken(site)[1]
    assert b"Bcc" not in octets
    assert b"X-Good: b\r\n" in octets
    assert b"Subject: hello" in octets


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [(reject("no"), "550 5.7.1 no"), (defer("later"), "451 4.7.1 later"), (reject("bye").disconnect(), "550 5.7.1 bye")],
)
def test_a_refusal_stores_nothing(verdict: Verdict, reply: str) -> None:
    site = SmtpSite()
    site.hook("message_check", lambda **_: verdict)
    answer, intake = run(site)
    assert (str(answer), answer.close, intake) == (reply, verdict.hang_up, None)


def test_discard_is_acknowledged_and_leaves_a_trace() -> None:
    site = SmtpSite()
    site.hook("message_check", lambda **_: discard("unwanted"))
    intake, octets = taken(site)
    assert (octets, intake.deliveries, intake.queued) == (b"", (), ())
    assert intake.trace[0]["verdict"] == {"action": "discard", "reason": "unwanted"}


def test_quarantine_goes_to_junk_here_and_is_held_for_elsewhere() -> None:
    site = SmtpSite()
    site.hook("message_check", lambda **_: quarantine("odd"))
    intake, _ = taken(site, ["alice@example.test", "far@elsewhere.test"])
    assert intake.deliveries[0].placement == Placement("Junk")
    assert intake.queued[0].hold == "quarantine: odd"


def test_hold_keeps_everything_in_the_queue() -> None:
    site = SmtpSite()
    site.hook("message_check", lambda **_: hold("wait"))
    intake, _ = taken(site, ["alice@example.test", "far@elsewhere.test"])
    assert intake.deliveries == ()
    assert [(q.transport, q.user, q.hold) for q in intake.queued] == [("local", 1, "wait"), ("remote", None, "wait")]


def test_redirect_replaces_all_recipients() -> None:
    site = SmtpSite()
    site.hook("message_check", lambda **_: redirect("bob@example.test", "x@elsewhere.test"))
    intake, _ = taken(site)
    assert [d.user for d in intake.deliveries] == [2]
    assert [str(q.address) for q in intake.queued] == ["x@elsewhere.test"]
    site.hook("message_check", lambda **_: redirect("not an address"))
    assert str(run(site)[0]).startswith("451")


@pytest.mark.parametrize(("score", "fate"), [(1.0, "INBOX"), (5.0, "Junk"), (15.0, "550 5.7.1")])
def test_scores_of_all_hooks_decide_together(score: float, fate: str) -> None:
    site = SmtpSite(spam=Spam(junk=5, reject=15))
    site.hook("message_check", lambda **_: add_score(score - 0.5))
    reply, intake = run(site, session=session_of(score=0.5))
    assert (intake.deliveries[0].placement.folder if intake else str(reply)[:9]) == fate


def test_an_accept_is_above_the_score() -> None:
    site = SmtpSite()
    site.hook("message_check", lambda **_: accept("known"))
    assert taken(site, session=session_of(score=99.0))[0].deliveries[0].placement.folder == "INBOX"


def test_mailbox_deliver_places_each_account() -> None:
    site = SmtpSite()

    def place(user: str, recipient: Address, message: Any, placement: Placement) -> Placement:
        if user == "bob@example.test":
            return Placement(drop=True)
        return Placement(message.notes["detail"])

    site.hook("mailbox_deliver", place)
    site.hooks.durable = frozenset({"delivered"})
    intake, _ = taken(site, ["alice+lists@example.test", "bob@example.test"])
    assert [(d.user, d.placement.folder, d.placement.drop) for d in intake.deliveries] == [(1, "lists", False), (2, "INBOX", True)]
    [told] = intake.notifications
    assert (told.hook, told.payload["recipient"], told.payload["result"]) == ("delivered", "alice+lists@example.test", "delivered")


def test_local_recipients_wait_for_deliver_hooks_that_want_them() -> None:
    site = SmtpSite()
    site.hook("deliver", lambda **_: None)
    site.hooks.deliver_wants = lambda address: address.local == "alice"
    intake, _ = taken(site, ["alice@example.test", "bob@example.test"])
    assert [d.user for d in intake.deliveries] == [2]
    assert [(q.user, q.transport) for q in intake.queued] == [(1, "local")]


def test_a_wanted_success_report_is_the_queues_work() -> None:
    intake, _ = taken(SmtpSite(), notify=frozenset({"SUCCESS"}))
    assert intake.deliveries == ()
    assert intake.queued[0].notify == {"SUCCESS"}


# ---- the commit


@pytest.mark.parametrize(
    ("failure", "reply"),
    [
        (StorageFull(), "452 4.3.1"),
        (StorageReadOnly(), "451 4.3.0"),
        (TemporaryFailure("locked"), "451 4.3.0"),
        (OverQuota(), "552 5.2.2"),
        (NoSuchUser(), "550 5.1.1"),
        (StorageDead(), "421 4.3.0"),
    ],
)
def test_nothing_is_acknowledged_without_the_commit(failure: Exception, reply: str) -> None:
    site = SmtpSite()
    site.spool.failures.append(failure)
    answer, intake = run(site)
    assert (str(answer)[:9], intake) == (reply, None)
    assert "locked" not in str(answer)


def test_one_full_mailbox_refuses_nobody_else() -> None:
    site = SmtpSite()
    site.spool.failures.append(OverQuota("full", (UserId(1),)))
    intake, _ = taken(site, ["alice@example.test", "bob@example.test"])
    assert [d.user for d in intake.deliveries] == [2]
    assert [(q.user, q.transport) for q in intake.queued] == [(1, "local")]


# ---- inject


def inject(site: SmtpSite, recipients: Sequence[str], octets: bytes = b"Subject: x\n\nbody\n", **kw: Any) -> str:
    return asyncio.run(
        site.pipeline.inject(
            origin=kw.pop("origin", "local"),
            sender=kw.pop("sender", Address("root", "mx.example.test")),
            recipients=[Address.parse(r) for r in recipients],
            octets=octets,
            **kw,
        )
    )


def test_inject_takes_what_has_no_session() -> None:
    site = SmtpSite()
    assert inject(site, ["alice@example.test", "far@elsewhere.test"], user="root@mx.example.test", id=QueueId("fixed")) == "fixed"
    [intake] = site.spool.accepted
    assert (intake.id, intake.origin, intake.user) == ("fixed", "local", "root@mx.example.test")
    octets = intake.content.raw()
    assert b"\r\n\r\nbody\r\n" in octets
    assert octets.count(b"\n") == octets.count(b"\r\n")
    assert b"with local id fixed" in octets
    assert len(intake.deliveries) == len(intake.queued) == 1


def test_inject_bounces_what_nobody_receives_unless_that_is_all() -> None:
    site = SmtpSite()
    inject(site, ["alice@example.test", "nobody@example.test"])
    [row] = site.spool.accepted[0].queued
    assert (str(row.address), row.transport, row.user) == ("nobody@example.test", "local", None)
    with pytest.raises(Refused) as caught:
        inject(site, ["nobody@example.test"])
    assert str(caught.value.reply).startswith("550 5.1.1")
    with pytest.raises(Refused):
        inject(site, ["alice@example.test"], b"a\0b")
    site.spool.failures.append(OverQuota())
    with pytest.raises(Refused):
        inject(site, ["alice@example.test"])
    site.spool.failures.append(TemporaryFailure())
    with pytest.raises(TemporaryFailure):
        inject(site, ["alice@example.test"])
