"""Exim as the sender: our daemon takes what it hands on, under TLS, by chunks, with its own idea of pipelining."""
# SPDX-License-Identifier: Apache-2.0

import email
import email.policy
import uuid

import pytest

from mta.testing.exim import Exim
from mta.testing.server import HOST, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"

OPTIONS = {
    "as it is": "tls_verify_certificates =\n  tls_try_verify_hosts =",
    "in clear, by DATA": "hosts_avoid_tls = *\n  hosts_try_chunking =",
    "one by one": "hosts_avoid_tls = *\n  hosts_avoid_pipelining = *",
}


@pytest.mark.peer("exim4")
@pytest.mark.parametrize("case", OPTIONS)
def test_what_exim_hands_on_arrives(server, case):
    subject = f"s{uuid.uuid4().hex}"
    body = "".join(f".dot ä {n}\r\n.\r\n" for n in range(3000))
    octets = f"From: <{BOB}>\r\nTo: <{ALICE}>\r\nSubject: {subject}\r\n\r\n{body}".encode()
    with Exim(onward=f"{HOST}:{server.ports['smtp']}", options=OPTIONS[case]) as peer:
        log = peer.send("someone@peer.test", [ALICE, BOB], octets)
        assert log.count(" => ") + log.count(" -> ") == 2, log[-3000:]
        assert "Completed" in log
        assert ("X=TLS" in log) is (case == "as it is")
        assert (" K " in log) is ("DATA" not in case)
    for user in (ALICE, BOB):
        with server.imap(user) as box:
            found = []

            def there(box=box, found=found):
                box.select("INBOX", readonly=True)
                found[:] = box.uid("SEARCH", "SUBJECT", subject)[1][0].split()
                return found

            wait_until(there, 5, "the message")
            [(_, got), _] = box.uid("FETCH", found[0].decode(), "(BODY.PEEK[])")[1]
        message = email.message_from_bytes(got, policy=email.policy.default)
        assert got.endswith(body.encode())
        assert message["Return-Path"] == "<someone@peer.test>"


@pytest.mark.peer("exim4")
def test_a_refusal_is_understood(server):
    with Exim(onward=f"{HOST}:{server.ports['smtp']}", options=OPTIONS["in clear, by DATA"]) as peer:
        log = peer.send("someone@peer.test", ["nobody@example.test", ALICE], b"From: <a@b.test>\r\nSubject: x\r\n\r\nx\r\n")
    assert "550 5.1.1" in log
    assert f"=> {ALICE.partition('@')[0]} <{ALICE}>" in log or f"=> {ALICE}" in log
