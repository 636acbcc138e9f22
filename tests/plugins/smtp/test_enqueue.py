"""``queue_enqueue`` and ``address_rewrite`` through every SMTP door."""

import asyncio
from dataclasses import replace

import pytest

from mta.model.address import Address
from mta_hooks import AddHeader, hookimpl

ALICE, BOB, CAROL = (Address(name, "example.test") for name in ("alice", "bob", "carol"))


def taken(site, door, *recipients, message="From: alice@old.test\r\nTo: B <bob@old.test>\r\n\r\nbody"):
    async def talk():
        client = site.client(door)
        await client.open()
        return await client.send(*recipients, message=message)

    answer = asyncio.run(talk())
    assert all(line.startswith("250") for line in answer), answer
    return site.spool.accepted[0]


def enqueuing(rule):
    @hookimpl
    def queue_enqueue(message, envelopes):
        (one,) = envelopes
        assert message.raw.endswith(b"body\r\n")
        assert (one.id, one.sender, one.recipients, one.attempts) == (message.id, ALICE, (ALICE, BOB, CAROL), 0)
        return rule(one)

    return queue_enqueue


def test_recipients_are_split_held_put_off_and_dropped(site_with, door) -> None:
    def rule(one):
        return [
            replace(one, recipients=(ALICE,), hold="look\nat it"),
            replace(one, recipients=(BOB,), due=one.received_at + 3600),
        ]

    intake = taken(site_with(enqueuing(rule)), door, "alice", "bob", "carol")
    assert intake.deliveries == ()
    rows = {row.address: row for row in intake.queued}
    assert set(rows) == {ALICE, BOB}
    assert (rows[ALICE].hold, rows[ALICE].due, rows[ALICE].transport) == ("look at it", 0.0, "local")
    assert (rows[BOB].hold, rows[BOB].due) == ("", intake.received_at + 3600)
    assert [step["plugin"] for step in intake.trace if step.get("hook") == "queue_enqueue"] == ["p0"]


def test_mail_elsewhere_may_hurry(site_with) -> None:
    @hookimpl
    def queue_enqueue(envelopes):
        return [replace(envelopes[0], priority=3)]

    @hookimpl
    def smtp_rcpt(recipient):
        return None

    site = site_with(queue_enqueue)

    async def talk():
        client = site.client("submission")
        await client.open()
        await client.ask("MAIL FROM:<alice@example.test>")
        await client.ask("RCPT TO:<x@elsewhere.test>")
        await client.ask("DATA")
        return await client.ask("Subject: x", "", "body", ".")

    asyncio.run(talk())
    (intake,) = site.spool.accepted
    assert [row.due for row in intake.queued] == [intake.received_at - 1800]


def test_without_any_envelope_it_is_thrown_away(site_with, door) -> None:
    intake = taken(site_with(enqueuing(lambda one: [])), door, "alice", "bob", "carol")
    assert (intake.deliveries, intake.queued, intake.content.size) == ((), (), 0)


@pytest.mark.parametrize(
    "rule",
    [
        lambda one: [one, one],
        lambda one: [replace(one, recipients=())],
        lambda one: [replace(one, recipients=(Address("x", "y.test"),))],
        lambda one: [replace(one, sender=None)],
        lambda one: [replace(one, hold=1)],
        lambda one: [replace(one, due=one.received_at - 1)],
        lambda one: [replace(one, priority=10)],
        lambda one: one,
        lambda one: ["x"],
    ],
)
def test_what_it_may_not_answer_defers(site_with, rule) -> None:
    site = site_with(enqueuing(rule), strict=False)

    async def talk():
        client = site.client("smtp")
        await client.open()
        return await client.send("alice", "bob", "carol")

    assert asyncio.run(talk())[0].startswith("451 4.3.0")
    assert site.spool.accepted == []
    assert len(site.messages.named("plugin.bad_verdict")) == 1


@pytest.mark.parametrize("local", ["x\r\nBcc: evil@x.test", "x\0", ""])
def test_an_address_brings_no_header_field(site_with, local) -> None:
    @hookimpl(on_error="continue")
    def address_rewrite(role):
        return Address(local, "new.test") if role.startswith("header") else None

    octets = taken(site_with(address_rewrite, strict=False), "smtp", "alice").content.raw()
    assert b"\r\nFrom: alice@old.test\r\nTo: B <bob@old.test>\r\n" in octets


def test_addresses_are_rewritten_everywhere(site_with, door) -> None:
    seen = []

    @hookimpl
    def address_rewrite(address, role, transaction):
        seen.append((role, str(address), transaction.id))
        if role == "envelope_recipient" and address == BOB:
            return CAROL
        if role == "envelope_sender":
            return Address("a.lice", "new.test")
        if role.startswith("header") and address.domain == "old.test":
            return Address(address.local, "new.test")
        return None

    @hookimpl
    def smtp_mail(sender):
        assert str(sender) == "a.lice@new.test"

    @hookimpl
    def smtp_rcpt(recipient):
        assert recipient in (ALICE, CAROL)

    @hookimpl
    def message_check(message):
        assert message.header("From") == "alice@old.test"  # signatures are judged over what came

    @hookimpl
    def message_modify(message):
        return AddHeader("X-From", message.header("From"))

    intake = taken(site_with(address_rewrite, smtp_mail, smtp_rcpt, message_check, message_modify), door, "alice", "bob")
    octets = intake.content.raw()
    assert b"\r\nFrom: alice@new.test\r\nTo: B <bob@new.test>\r\n" in octets
    assert b"X-From: alice@new.test\r\n" in octets
    assert octets.startswith(b"Return-Path: <a.lice@new.test>\r\n")
    assert [d.recipient for d in intake.deliveries] == [ALICE, CAROL]
    roles = ["envelope_sender", "envelope_recipient", "envelope_recipient", "header_sender", "header_recipient"]
    assert [role for role, _, _ in seen] == roles
    assert {id for _, _, id in seen} == {intake.id}
