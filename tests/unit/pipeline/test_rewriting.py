"""Addresses in header fields: found wherever RFC 5322 lets them stand, and replaced without touching anything else."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.message import OctetContent
from mta.pipeline.message import MailMessage
from mta.pipeline.rewriting import rewrite_header
from mta.pipeline.transaction import MailTransaction
from mta.testing.plugins import RecordingLog
from mta.testing.smtpd import FakePlan
from mta.wire.mime.places import find_addresses
from mta_hooks import Address


def rewritten(head, *, domain="new.test", role="", smtputf8=False):
    message = MailMessage("q", "smtp", None, OctetContent(head + b"\r\nbody"), {})
    transaction = MailTransaction("q", "smtp", None, {})
    transaction.smtputf8 = smtputf8

    def rule(address, role, transaction):
        asked.append((str(address), role))
        return Address(address.local, domain) if address.domain == "old.test" else None

    asked, log = [], RecordingLog()
    asyncio.run(rewrite_header(FakePlan(rule), message, transaction, log))
    assert message.raw.endswith(b"\r\n\r\nbody")
    return message.head, asked, log


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"From: a@old.test\r\n", b"From: a@new.test\r\n"),
        (b"From:a@old.test\r\n", b"From:a@new.test\r\n"),
        (b"From: A B <a@old.test>, c@old.test (c@old.test)\r\n", b"From: A B <a@new.test>, c@new.test (c@old.test)\r\n"),
        (b'To: "x@old.test, y" <a@old.test>\r\n', b'To: "x@old.test, y" <a@new.test>\r\n'),
        (b"To: =?utf-8?q?x=40old.test?=\r\n <a@old.test>\r\n", b"To: =?utf-8?q?x=40old.test?=\r\n <a@new.test>\r\n"),
        (b"Cc: a group: a@old.test, B <b@old.test>;, c@x.test\r\n", b"Cc: a group: a@new.test, B <b@new.test>;, c@x.test\r\n"),
        (b"To: undisclosed-recipients:;\r\n", b"To: undisclosed-recipients:;\r\n"),
        (b"To: <@x.test,@y.test:a@old.test>\r\n", b"To: <@x.test,@y.test:a@new.test>\r\n"),
        (b"From: a (one) @ (two (x@old.test)) old.test (three)\r\n", b"From: a@new.test (one)  (two (x@old.test))  (three)\r\n"),
        (b'From: "quoted \\" @"@old.test\r\n', b'From: "quoted \\" @"@new.test\r\n'),
        (b"From: a . b@old . test\r\n", b"From: a.b@new.test    \r\n"),
        (b"To: a@old.test\r\n (never closed <b@old.test>\r\n", b"To: a@new.test\r\n (never closed <b@old.test>\r\n"),
        (b"To: a@old.test b@old.test\r\n", b"To: a@old.test b@old.test\r\n"),
        (b"To: \xff\xfe <a@old.test>\r\n", b"To: \xff\xfe <a@new.test>\r\n"),
        (b"To: a@[192.0.2.1], <>, <b@old.test\r\n", b"To: a@[192.0.2.1], <>, <b@old.test\r\n"),
        (b"Subject: a@old.test\r\nReceived: for <a@old.test>\r\n", b"Subject: a@old.test\r\nReceived: for <a@old.test>\r\n"),
    ],
)
def test_only_addresses_change(old, new) -> None:
    assert rewritten(old)[0] == new


def test_the_role_is_that_of_the_field_and_each_is_asked_once() -> None:
    head = b"From: a@x.test\r\nReply-To: a@x.test\r\nSender: b@x.test\r\nTo: a@x.test\r\nResent-Bcc: c@x.test\r\nX-To: d@x.test\r\n"
    made, asked, _ = rewritten(head)
    assert made == head
    assert asked == [
        ("a@x.test", "header_sender"),
        ("b@x.test", "header_sender"),
        ("a@x.test", "header_recipient"),
        ("c@x.test", "header_recipient"),
    ]


def test_what_needs_smtputf8_stays_without_it() -> None:
    head = "To: é@old.test, a@old.test\r\n".encode()
    made, _, log = rewritten(head)
    assert made == "To: é@old.test, a@new.test\r\n".encode()
    assert log.named("address.not_rewritten")[0]["address"] == "é@new.test"
    assert rewritten(head, smtputf8=True)[0] == "To: é@new.test, a@new.test\r\n".encode()


@given(
    st.lists(
        st.sampled_from([b"a", b"@", b"o.t", b"<", b">", b",", b":", b";", b"(", b")", b'"', b"\\", b"\r\n ", b"[", b"]", b"."])
    )
)
def test_any_octets_can_be_read(pieces) -> None:
    value = b" " + b"".join(pieces)
    at = 0
    for places, text in find_addresses(value):
        for start, end in places:
            assert at <= start < end <= len(value)
            at = end
        assert b"".join(value[start:end] for start, end in places) == text
