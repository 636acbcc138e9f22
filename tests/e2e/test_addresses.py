"""Which recipients are taken and where they end: directory, aliases, catch-all, plus-addressing, relay rules."""
# SPDX-License-Identifier: Apache-2.0

import uuid

import pytest

from mta.testing.clients import compose, message_ids
from mta.testing.server import MailServer

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.fixture(scope="module")
def server():
    with MailServer() as running:
        for words in (
            ("alias", "add", "team@example.test", ALICE, BOB),
            ("alias", "add", "loop-a@example.test", "loop-b@example.test"),
            ("alias", "add", "loop-b@example.test", "loop-a@example.test", ALICE),
            ("domain", "add", "catch.test"),
            ("alias", "add", "@catch.test", BOB),
        ):
            running.cli(*words)
        yield running


def send(server, *recipients, sender="x@client.test"):
    message_id = f"<{uuid.uuid4().hex}@client.test>"
    with server.smtp() as client:
        refused = client.sendmail(sender, list(recipients), compose(message_id, recipients[0]))
    assert refused == {}
    return message_id


def count(server, user, message_id):
    with server.imap(user) as box:
        return list(message_ids(box).values()).count(message_id)


@pytest.mark.parametrize(
    ("recipient", "where"),
    [
        ("alice@example.test", (1, 0)),
        ("ALICE@EXAMPLE.TEST", (1, 0)),
        ("alice+shop@example.test", (1, 0)),
        ("team@example.test", (1, 1)),
        ("team+news@example.test", (1, 1)),
        ("loop-a@example.test", (1, 0)),
        ("whoever@catch.test", (0, 1)),
    ],
)
def test_recipient_ends_in(server, recipient, where):
    message_id = send(server, recipient)
    assert (count(server, ALICE, message_id), count(server, BOB, message_id)) == where


def test_two_roads_to_one_mailbox_deliver_once(server):
    message_id = send(server, ALICE, "team@example.test", "alice+x@example.test")
    assert (count(server, ALICE, message_id), count(server, BOB, message_id)) == (1, 1)


@pytest.mark.parametrize(
    ("recipient", "answer"),
    [
        ("nobody@example.test", (550, b"5.1.1")),
        ("alice@elsewhere.test", (550, b"5.7.1")),
        ("alice%elsewhere.test@example.test", (550, b"5.7.1")),
        ("elsewhere.test!alice@example.test", (550, b"5.7.1")),
    ],
)
def test_refused(server, recipient, answer):
    with server.smtp() as client:
        client.mail("x@client.test")
        code, text = client.rcpt(recipient)
    assert (code, text[:5]) == answer


def test_good_and_bad_recipients_in_one_transaction(server):
    message_id = f"<{uuid.uuid4().hex}@client.test>"
    with server.smtp() as client:
        refused = client.sendmail("x@client.test", [ALICE, "nobody@example.test"], compose(message_id, ALICE))
    assert refused["nobody@example.test"][0] == 550
    assert count(server, ALICE, message_id) == 1


def test_a_user_added_while_running_is_served_at_once(server):
    server.cli("user", "add", "carol@example.test", "--password-stdin", octets=b"correct-horse\n")
    message_id = send(server, "carol@example.test")
    assert count(server, "carol@example.test", message_id) == 1
