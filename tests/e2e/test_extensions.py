"""Extensions of SMTP whose effect only the whole daemon shows: mail that is held, BDAT into a mailbox, ETRN that empties the queue."""
# SPDX-License-Identifier: Apache-2.0

import time
import uuid

import pytest

from mta.testing.clients import message_ids
from mta.testing.peers import SmtpSink
from mta.testing.server import HOST, MailServer, free_port, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.fixture(scope="module")
def port():
    """Of a next hop that is away until a test starts it."""
    return free_port()


@pytest.fixture(scope="module")
def server(port):
    config = {
        "routes": {"branch.test": f"smtp://{HOST}:{port}"},
        "queue": {"retry": [3600], "jitter": 0, "connect_timeout": 2},
        "smtp": {"etrn": ["branch.test"]},
    }
    with MailServer(config) as running:
        yield running


def arrived(server):
    with server.imap(ALICE) as box:
        return set(message_ids(box).values())


def message():
    message_id = f"<{uuid.uuid4().hex}@client.test>"
    return message_id, f"From: <{BOB}>\r\nSubject: x\r\nMessage-ID: {message_id}\r\n\r\nbody\r\n".encode()


def test_a_message_in_chunks_arrives(server):
    message_id, octets = message()
    with server.smtp(BOB) as client:
        client.ehlo("client.test")
        assert client.has_extn("chunking")
        client.mail(BOB)
        client.rcpt(ALICE)
        for start in range(0, len(octets), 50):
            chunk = octets[start : start + 50]
            last = b" LAST" if start + 50 >= len(octets) else b""
            client.send(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
            assert client.getreply()[0] == 250
    assert message_id in arrived(server)


def test_what_is_held_arrives_when_its_time_has_come(server):
    message_id, octets = message()
    with server.smtp(BOB) as client:
        client.ehlo("client.test")
        assert client.has_extn("futurerelease")
        client.sendmail(BOB, [ALICE], octets, ["HOLDFOR=3"])
    began = time.monotonic()
    assert message_id not in arrived(server)
    wait_until(lambda: message_id in arrived(server), 20, "the held message")
    assert time.monotonic() - began > 2


@pytest.mark.peer("smtp-sink")
def test_etrn_sends_what_waits(server, port):
    _, octets = message()
    with server.smtp(BOB) as client:
        client.sendmail(BOB, ["a@branch.test"], octets)
    waiting = ("queue", "list", "--domain", "branch.test", "--state", "waiting")
    wait_until(lambda: b"a@branch.test" in server.cli(*waiting).stdout, 20, "the first attempt", 0.5)
    with SmtpSink(port=port) as sink:
        with server.smtp() as client:
            client.ehlo("branch.test")
            assert client.docmd("ETRN", "elsewhere.test")[0] == 459
            assert client.docmd("ETRN", "branch.test")[0] == 250
        wait_until(lambda: sink.messages, 20, "the message at its next hop")
