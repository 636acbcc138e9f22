"""Canonical, masquerade and generic: which role is rewritten how, details kept, headers octet for octet."""

import asyncio
from typing import Any

import pytest

from mta.model.address import Address
from mta.testing.plugins import FakeMessage, FakeTransaction, RecordingLog, host_with
from mta_hooks import Envelope, ReplaceHeader, ReplaceRecipient, SetSender
from mta_rewrite import Rewrite


def rewritten(text: str, role: str, origin: Any = "submission", log: RecordingLog | None = None, **config: Any) -> str:
    host = host_with(Rewrite(), config=config, log=log or RecordingLog())
    assert host.address_rewrite is not None
    transaction = FakeTransaction(origin=origin)
    return str(
        asyncio.run(host.address_rewrite.pipeline("address", address=Address.parse(text), role=role, transaction=transaction))
    )


def test_canonical() -> None:
    tables: dict[str, Any] = {
        "sender_canonical": {"bob@example.org": "robert@example.org", "root": "postmaster@example.org"},
        "recipient_canonical": {"ann@example.org": "anna"},
        "canonical": {"robert@example.org": "r.smith@example.org", "@old.org": "@new.org"},
    }
    assert rewritten("Bob+x@example.org", "envelope_sender", **tables) == "r.smith+x@example.org"
    assert rewritten("bob@example.org", "envelope_recipient", **tables) == "bob@example.org"
    assert rewritten("ann@example.org", "header_recipient", **tables) == "anna@mx.example.test"
    assert rewritten("ann@example.org", "header_recipient", origin="imap", **tables, ) == "anna@mx.example.test"  # fmt: skip
    assert rewritten("root@mx.example.test", "header_sender", **tables) == "postmaster@example.org"
    assert rewritten("root@elsewhere.org", "header_sender", **tables) == "root@elsewhere.org"
    assert rewritten("Any.One@old.org", "envelope_recipient", **tables) == "Any.One@new.org"
    assert rewritten("any@old.org", "envelope_recipient", **tables, canonical_classes=["header_sender"]) == "any@old.org"


def test_headers_of_strangers_are_left() -> None:
    table = {"canonical": {"@old.org": "@new.org"}}
    assert rewritten("a@old.org", "header_sender", "smtp", **table) == "a@old.org"
    assert rewritten("a@old.org", "envelope_sender", "smtp", **table) == "a@new.org"
    assert rewritten("a@old.org", "header_sender", "smtp", **table, headers="all") == "a@new.org"
    assert rewritten("a@old.org", "header_sender", **table, headers="none") == "a@old.org"


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("a@host.example.org", "a@example.org"),
        ("a@deep.host.example.org", "a@example.org"),
        ("a@example.org", "a@example.org"),
        ("a@lab.example.org", "a@lab.example.org"),
        ("a@x.lab.example.org", "a@x.lab.example.org"),
        ("Root@host.example.org", "Root@host.example.org"),
        ("a@notexample.org", "a@notexample.org"),
    ],
)
def test_masquerade(given: str, made: str) -> None:
    config: dict[str, Any] = {"masquerade": ["!lab.example.org", "example.org"], "masquerade_exceptions": ["root"]}
    assert rewritten(given, "header_sender", **config) == made
    assert rewritten(given, "envelope_recipient", **config) == given


def test_a_value_that_is_no_address_changes_nothing() -> None:
    log = RecordingLog()
    assert rewritten("a@b.org", "envelope_sender", log=log, canonical={"a@b.org": "x y@z"}) == "a@b.org"
    assert log.named("rewrite.value_refused")


def test_generic() -> None:
    host = host_with(
        Rewrite(), config={"generic": {"root@mx.internal": "postmaster@example.org", "@mx.internal": "info@example.org"}}
    )
    assert host.delivery_modify is not None
    octets = (
        b"Received: x\r\nFrom: Root (the one) <root@mx.internal>\r\nTo: =?utf-8?q?A?= <a@far.org>,\r\n B <ops@mx.internal>\r\n"
        b"To: c@far.org\r\nReply-To: ops@mx.internal\r\nSubject: root@mx.internal\r\n\r\nroot@mx.internal\r\n"
    )
    envelope = Envelope(
        "q", Address("root", "mx.internal"), (Address("a", "far.org"), Address("ops", "mx.internal")), "local", 0.0, 0
    )
    said = asyncio.run(host.delivery_modify.all(envelope=envelope, message=FakeMessage(octets)))
    assert [answer for _, answer in said] == [
        SetSender(Address("postmaster", "example.org")),
        ReplaceRecipient(Address("ops", "mx.internal"), Address("info", "example.org")),
        ReplaceHeader("From", "Root (the one) <postmaster@example.org>", 0),
        ReplaceHeader("To", "=?utf-8?q?A?= <a@far.org>,\r\n B <info@example.org>", 0),
        ReplaceHeader("Reply-To", "info@example.org", 0),
    ]
