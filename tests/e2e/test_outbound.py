"""Mail that leaves: a next hop from a real DNS server, arriving at other people's servers; bounces that a program can read."""
# SPDX-License-Identifier: Apache-2.0

import email
import email.policy
import time
import uuid

import pytest

from mta.testing.clients import message_ids
from mta.testing.dns import DnsServer
from mta.testing.peers import Postfix, SmtpSink, can_bind
from mta.testing.server import HOST, MailServer, free_port, wait_until

BOB = "bob@example.test"
SINK, POSTFIX, NOBODY = "127.0.0.25", "127.0.0.26", "127.0.0.27"
needs_port_25 = pytest.mark.skipif(not can_bind(SINK, 25), reason="port 25 of 127.0.0.25 cannot be bound by this user")

ZONES = {
    "dest.test": {"MX": ["10 dead.dest.test.", "20 mx.dest.test."]},
    "dead.dest.test": {"A": NOBODY},
    "mx.dest.test": {"A": SINK},
    "implicit.test": {"A": SINK},
    "postfix.test": {"MX": "10 mx.postfix.test."},
    "mx.postfix.test": {"A": POSTFIX},
    "nomail.test": {"MX": "0 ."},
    "broken.test": {},
}


@pytest.fixture(scope="module")
def names():
    server = DnsServer(ZONES)
    server.misbehave("broken.test", "servfail")
    with server.thread():
        yield server


@pytest.fixture(scope="module")
def hops():
    """Ports of next hops that tests start."""
    return {"sink.test": free_port(), "later.test": free_port(), "refuses.test": free_port()}


@pytest.fixture(scope="module")
def server(names, hops):
    config = {
        "dns": {"servers": [names.address], "timeout": 2},
        "routes": {domain: f"smtp://{HOST}:{port}" for domain, port in hops.items()},
        "queue": {"retry": [30], "jitter": 0, "connect_timeout": 3},
    }
    with MailServer(config) as running:
        yield running


def send(server, *recipients, body="hello\r\n.leading dot\r\nend\r\n", options=()):
    message_id = f"<{uuid.uuid4().hex}@client.test>"
    head = f"From: <{BOB}>\r\nTo: <{recipients[0]}>\r\nSubject: out\r\nMessage-ID: {message_id}\r\n\r\n"
    with server.smtp(BOB) as client:
        refused = client.sendmail(BOB, list(recipients), (head + body).encode(), list(options))
    assert refused == {}
    return message_id


def report(server, original, timeout=15):
    """The DSN about ``original`` in Bob's mailbox: (whole message, per-message fields, per-recipient fields)."""
    found = []

    def there():
        with server.imap(BOB) as box:
            box.select("INBOX", readonly=True)
            for uid in box.uid("SEARCH", "BODY", original)[1][0].split():
                octets = box.uid("FETCH", uid.decode(), "(BODY.PEEK[])")[1][0][1]
                found.append(email.message_from_bytes(octets, policy=email.policy.default))
        return found

    wait_until(there, timeout, "a bounce", 0.2)
    (message,) = found
    assert message["Return-Path"] == "<>"
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"].startswith("auto-")  # RFC 3834
    text, status, returned = message.get_payload()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert returned.get_content_type() in {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers"}
    assert original in returned.as_string()
    per_message, *per_recipient = status.get_payload()
    assert per_message["Reporting-MTA"] == "dns; mx.example.test"
    return message, per_message, per_recipient


@pytest.mark.peer("smtp-sink")
def test_route_to_smtp_sink(server, hops):
    with SmtpSink(port=hops["sink.test"]) as sink:
        message_id = send(server, "a@sink.test", "b@sink.test", body="Grüße\r\n")
        arrived = sink.wait(1)
        assert [m["Message-ID"] for m in arrived] == [message_id] * len(arrived)
        assert {r for m in arrived for r in m.get_all("X-Rcpt-Args")} == {"<a@sink.test>", "<b@sink.test>"}
        assert arrived[0]["X-Mail-Args"].startswith(f"<{BOB}>")
        assert arrived[0]["X-Helo-Args"] == "mx.example.test"
        assert arrived[0]["Return-Path"] is None  # RFC 5321 §4.4: only the last hop
    wait_until(lambda: server.queue_count() == 0, 5, "an empty queue", 0.2)


@needs_port_25
@pytest.mark.peer("smtp-sink")
@pytest.mark.parametrize("domain", ["dest.test", "implicit.test"])
def test_mx_found_in_dns(server, names, domain):
    """Preferences in order, the second exchanger when the first is dead; the address record when there is no MX."""
    with SmtpSink(SINK, 25) as sink:
        message_id = send(server, f"someone@{domain}")
        (message,) = sink.wait(1)
        assert message["Message-ID"] == message_id
    assert names.asked[domain, "MX"] >= 1


@needs_port_25
@pytest.mark.peer("postfix")
def test_arrives_at_postfix_unchanged(server):
    body = "".join(f"line {n} ä{'.' * (n % 3)}\r\n.\r\n" for n in range(2000))
    with Postfix(("postfix.test",), POSTFIX, 25) as peer:
        first = send(server, "x@postfix.test", body=body, options=["BODY=8BITMIME"])
        (message,) = peer.wait("x@postfix.test")
        assert message["Message-ID"] == first
        assert message.get_payload(decode=True).decode() == body.replace("\r\n", "\n")
        assert message["Return-Path"] == f"<{BOB}>"
        for n in range(10):
            send(server, f"u{n}@postfix.test")
        for n in range(10):
            peer.wait(f"u{n}@postfix.test")
        assert "5.5." not in peer.log  # no protocol errors
        assert "improper" not in peer.log


@pytest.mark.peer("postfix")
def test_refusal_comes_back_as_a_report(server, hops):
    rule = "smtpd_recipient_restrictions = check_recipient_access inline:{no@refuses.test=REJECT}, permit"
    with Postfix(("refuses.test",), port=hops["refuses.test"], extra=(rule,)) as peer:
        message_id = send(server, "no@refuses.test", "yes@refuses.test")
        peer.wait("yes@refuses.test")
        _, _, (failed,) = report(server, message_id)
    assert failed["Final-Recipient"] == "rfc822; no@refuses.test"
    assert failed["Action"] == "failed"
    assert failed["Status"] == "5.7.1"
    assert failed["Diagnostic-Code"].startswith("smtp; 554 5.7.1")
    assert "peer.test" in failed["Remote-MTA"] or HOST in failed["Remote-MTA"]


@pytest.mark.parametrize(("domain", "status"), [("nomail.test", "5.1.10"), ("nowhere.invalid", "5.1.2")])
def test_domain_without_mail(server, domain, status):
    """Null MX (RFC 7505) and a name that does not exist bounce at once."""
    message_id = send(server, f"x@{domain}")
    _, _, (failed,) = report(server, message_id)
    assert (failed["Final-Recipient"], failed["Action"], failed["Status"]) == (f"rfc822; x@{domain}", "failed", status)


def test_dns_failure_is_no_bounce(server):
    before = server.queue_count()
    send(server, "x@broken.test")
    time.sleep(2.5)
    assert server.queue_count() == before + 1
    server.cli("queue", "delete", "--recipient", "x@broken.test", "--yes")


@pytest.mark.peer("smtp-sink")
def test_waits_for_a_dead_next_hop_across_a_restart(server, hops):
    message_ids_sent = {send(server, f"{n}@later.test") for n in range(5)}
    time.sleep(0.5)
    server.kill()
    server.start()
    assert server.queue_count() >= 5
    with SmtpSink(port=hops["later.test"]) as sink:
        wait_until(lambda: server.cli("queue", "flush") and len(sink.messages) >= 5, 15, "all five", 0.3)
        assert {m["Message-ID"] for m in sink.messages} == message_ids_sent
    wait_until(lambda: server.queue_count() == 0, 5, "an empty queue", 0.2)
    with server.imap(BOB) as box:
        assert not message_ids_sent & set(message_ids(box).values())
