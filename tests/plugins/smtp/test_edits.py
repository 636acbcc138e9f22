"""Edits through every SMTP door: what is stored, for whom, in whose name."""

import asyncio

from mta.model.address import Address
from mta_hooks import (
    AddHeader,
    AddRecipient,
    RemoveHeader,
    RemoveRecipient,
    ReplaceMessage,
    ReplacePart,
    ReplaceRecipient,
    SetBody,
    SetSender,
    hookimpl,
)

ALICE, BOB, CAROL = (Address(name, "example.test") for name in ("alice", "bob", "carol"))
MESSAGE = "Received: peer\r\nSubject: x\r\n\r\nbody"


def taken(site, door, *recipients):
    async def talk():
        client = site.client(door)
        await client.open()
        return await client.send(*recipients, message=MESSAGE)

    answer = asyncio.run(talk())
    assert all(line.startswith("250") for line in answer), answer
    return site.spool.accepted[0], answer


def modifying(*edits):
    @hookimpl
    def message_modify(message):
        assert message.header_all("Received") == ["peer"]
        return list(edits)

    return message_modify


def test_header_body_and_envelope_change(site_with, door) -> None:
    @hookimpl
    def message_sign(message):
        assert message.raw.endswith(b"\r\n\r\nsecond")
        return AddHeader("X-Signed", str(message.size))

    edits = SetBody(b"first"), SetSender(Address("v", "elsewhere.test"))
    more = RemoveHeader("Received", 0), ReplacePart("1", b"second"), AddRecipient(BOB), RemoveRecipient(ALICE)
    site = site_with(modifying(*edits), modifying(*more), message_sign)
    intake, _ = taken(site, door, "alice")
    octets = intake.content.raw()
    assert octets.startswith(b"Return-Path: <v@elsewhere.test>\r\nX-Signed: ")
    assert b"Received: peer" not in octets
    assert octets.count(b"Received: ") == 1
    assert octets.endswith(b"\r\n\r\nsecond")
    assert intake.sender == Address("v", "elsewhere.test")
    assert [d.recipient for d in intake.deliveries] == [BOB]
    assert [step["plugin"] for step in intake.trace if step.get("hook") == "message_modify"] == ["p0", "p1"]


def test_a_replaced_recipient_keeps_what_the_client_asked(site_with, door) -> None:
    site = site_with(modifying(ReplaceRecipient(BOB, CAROL), AddRecipient(ALICE)))
    intake, answer = taken(site, door, "alice", "bob")
    assert [d.recipient for d in intake.deliveries] == [ALICE, CAROL]
    assert len(answer) == (2 if door == "lmtp" else 1)


def test_what_cannot_be_done_is_left_out_and_told(site_with, door) -> None:
    wrong = AddRecipient(Address("nobody", "example.test")), RemoveRecipient(CAROL), ReplacePart("9", b""), ReplaceMessage(b"\0")
    site = site_with(modifying(*wrong, AddHeader("X-Good", "1")))
    intake, _ = taken(site, door, "alice")
    assert b"X-Good: 1\r\n" in intake.content.raw()
    assert [d.recipient for d in intake.deliveries] == [ALICE]
    refused = [step["edit"] for step in intake.trace if "refused" in step]
    assert refused == ["AddRecipient", "RemoveRecipient", "ReplacePart", "ReplaceMessage"]


def test_an_address_is_nothing_but_an_address(site_with, door) -> None:
    evil = Address("x\r\nRCPT TO:<evil", "example.test"), Address("x", "example.test\r\nDATA"), Address("", "example.test")
    edits = [kind for one in evil for kind in (SetSender(one), AddRecipient(one), ReplaceRecipient(ALICE, one))]
    intake, _ = taken(site_with(modifying(*edits)), door, "alice")
    assert (intake.sender, [d.recipient for d in intake.deliveries]) == (ALICE, [ALICE])
    assert len([step for step in intake.trace if "refused" in step]) == len(edits)


def test_nobody_left_is_thrown_away(site_with, door) -> None:
    intake, _ = taken(site_with(modifying(RemoveRecipient(ALICE))), door, "alice")
    assert (intake.deliveries, intake.queued, intake.content.size) == ((), (), 0)
