"""Postfix on the other side: what it hands on arrives; what it forwards back to us ends in the second round."""
# SPDX-License-Identifier: Apache-2.0

import email
import email.policy
import smtplib
import time
import uuid

import pytest

from mta.testing.peers import Postfix
from mta.testing.server import HOST, MailServer, free_port, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"
pytestmark = pytest.mark.peer("postfix")


@pytest.fixture(scope="module")
def place():
    port = free_port()
    config = {
        "routes": {"peer.test": f"smtp://{HOST}:{port}"},
        "domains": ["example.test"],
        "outbound": {"sources_by_sender": {BOB: ["127.0.0.12"]}, "helo": {"127.0.0.12": "out12.example.test"}},
        "plugins": {"sql": {}, "rewrite": {"generic": {"inner@peer.test": "outer@peer.test", BOB: "public@example.test"}}},
    }
    with MailServer(config) as server:
        server.cli("alias", "add", "fwd@example.test", "back@peer.test")
        extra = (
            f"relayhost = [{HOST}]:{server.ports['smtp']}",
            "relay_domains = example.test",
            "virtual_alias_maps = inline:{{back@peer.test=fwd@example.test}}",
            "smtp_tls_security_level = may",
            "smtp_tls_loglevel = 1",
            "smtp_dns_support_level = disabled",
        )
        with Postfix(("peer.test",), port=port, extra=extra) as peer:
            yield server, peer


def inbox(server, user, text, timeout=20):
    """The only message with this text, waited for."""
    with server.imap(user) as box:
        found = []

        def there():
            box.select("INBOX", readonly=True)
            found[:] = box.uid("SEARCH", "TEXT", text)[1][0].split()
            return found

        wait_until(there, timeout, f"a message with {text}", 0.1)
        [uid] = found
        [(_, octets), _] = box.uid("FETCH", uid.decode(), "(BODY.PEEK[])")[1]
        return octets


def hand_to(peer, sender, recipients, octets, options=()):
    with smtplib.SMTP(peer.host, peer.port, timeout=15) as client:
        assert client.sendmail(sender, recipients, octets, list(options)) == {}


def test_what_postfix_hands_on_arrives(place):
    server, peer = place
    subject = f"s{uuid.uuid4().hex}"
    body = "".join(f".dot ä {n}\r\n.\r\n" for n in range(3000))
    octets = f"From: <x@peer.test>\r\nTo: <{ALICE}>\r\nSubject: {subject}\r\n\r\n{body}".encode()
    hand_to(peer, "x@peer.test", [ALICE, BOB], octets, ["BODY=8BITMIME"])
    for user in (ALICE, BOB):
        got = inbox(server, user, subject)
        assert got.endswith(body.encode())
        assert email.message_from_bytes(got, policy=email.policy.default)["Return-Path"] == "<x@peer.test>"
    assert "TLS connection established" in peer.log
    assert "status=deferred" not in peer.log


def test_postfix_tells_its_sender_of_our_refusal(place):
    server, peer = place
    subject = f"s{uuid.uuid4().hex}"
    hand_to(peer, BOB, ["nobody@example.test"], f"From: <{BOB}>\r\nSubject: {subject}\r\n\r\nx\r\n".encode())
    report = inbox(server, BOB, subject)
    assert b"Action: failed" in report
    assert b"550 5.1.1 no such user here" in report.replace(b"\r\n    ", b" ")


def test_addresses_and_names_are_those_of_the_config(place):
    """Postfix writes down who came, under which name, and for whom: smtp_bind_address, smtp_helo_name, smtp_generic_maps of ours."""
    server, peer = place
    with server.smtp(BOB) as client:
        client.sendmail(BOB, ["inner@peer.test"], f"From: Bob <{BOB}>\r\nTo: inner@peer.test\r\nSubject: out\r\n\r\nx\r\n".encode())
    [message] = peer.wait("outer@peer.test")
    assert "from out12.example.test (unknown [127.0.0.12])" in message["Received"]
    assert (message["Return-Path"], message["From"], message["To"]) == (
        "<public@example.test>", "Bob <public@example.test>", "outer@peer.test",
    )  # fmt: skip
    assert peer.messages("inner@peer.test") == []


@pytest.mark.parametrize(("mode", "action", "arrives"), [("R", b"failed", 0), ("N", b"relayed", 1)])
def test_postfix_keeps_no_time(place, mode, action, arrives):
    """RFC 2852 §4.2: it does not offer DELIVERBY."""
    server, peer = place
    subject = f"s{uuid.uuid4().hex}"
    with server.smtp(BOB) as client:
        client.sendmail(
            BOB, [f"by{mode}@peer.test"], f"From: <{BOB}>\r\nSubject: {subject}\r\n\r\nx\r\n".encode(), [f"BY=100;{mode}"]
        )
    assert b"Action: " + action in inbox(server, BOB, subject)
    assert len(peer.wait(f"by{mode}@peer.test", arrives)) == arrives


def test_a_forwarder_that_sends_it_back(place):
    """fwd@example.test -> back@peer.test -> fwd@example.test: one round, and the sender is told by who has the message then."""
    server, peer = place
    subject = f"s{uuid.uuid4().hex}"
    with server.smtp(ALICE) as client:
        client.sendmail(ALICE, ["fwd@example.test"], f"From: <{ALICE}>\r\nSubject: {subject}\r\n\r\nx\r\n".encode())
    report = inbox(server, ALICE, subject)
    assert b"554 5.4.6 mail forwarding loop" in report.replace(b"\r\n    ", b" ")
    assert b"\r\nDelivered-To: fwd@example.test\r\n" in report, "the header comes back with it"
    time.sleep(0.5)
    assert peer.log.count("to=<fwd@example.test>") == 1
