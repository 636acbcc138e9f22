"""Commands about who may do what in folders, and how much an account may hold, over a real database."""
# SPDX-License-Identifier: Apache-2.0

import imaplib
import json

import pytest

from mta.testing.server import HOST, MailServer, wait_until

ALICE = "alice@example.test"


@pytest.fixture(scope="module")
def server():
    one = MailServer(protocols=("smtp",))
    one.prepare()
    yield one
    one.close()


def run(server, *words, status=0):
    done = server.cli(*words, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done.stdout.decode() if status == 0 else done.stderr.decode()


def told(server, *words):
    return json.loads(run(server, *words, "--json"))


def test_access_lists(server):
    assert told(server, "mailbox", "acl", ALICE) == []
    bob = {"folder": "Archive", "who": "bob@example.test", "rights": "lrswi"}
    assert told(server, "mailbox", "acl", ALICE, "Archive", "Bob@Example.Test", "lrswi") == [bob]
    run(server, "mailbox", "acl", ALICE, "inbox", "anyone", "lrp")
    assert told(server, "mailbox", "acl", ALICE) == [{"folder": "INBOX", "who": "anyone", "rights": "lrp"}, bob]
    assert told(server, "mailbox", "acl", ALICE, "INBOX", "anyone", "none") == []
    assert told(server, "mailbox", "acl", ALICE, "Archive", "bob@example.test", "+te")[0]["rights"] == "lrswite"
    assert "no folder Nowhere" in run(server, "mailbox", "acl", ALICE, "Nowhere", status=67)
    assert "no such right: z" in run(server, "mailbox", "acl", ALICE, "INBOX", "anyone", "lz", status=64)
    assert "owner has every right" in run(server, "mailbox", "acl", ALICE, "INBOX", ALICE, "l", status=64)
    assert "RIGHTS are missing" in run(server, "mailbox", "acl", ALICE, "INBOX", "anyone", status=64)
    assert "no such user" in run(server, "mailbox", "acl", "nobody@example.test", status=67)


def test_quota_of_messages(server):
    run(server, "user", "quota", ALICE, "1 GiB", "--messages", "5000")
    expected = {"address": ALICE, "quota": 2**30, "used": 0, "quota_messages": 5000, "messages": 0}
    assert told(server, "user", "quota", ALICE) == expected
    run(server, "user", "quota", ALICE, "--messages", "0")
    assert told(server, "user", "quota", ALICE) == {**expected, "quota_messages": None}
    run(server, "user", "quota", ALICE, "0")


def test_undelete_wakes_who_is_there(tmp_path):
    """IDLE hears of restored messages, and of a warning at a level of the quota."""
    with MailServer({"workers": 1}) as one:
        with imaplib.IMAP4(HOST, one.ports["imap"]) as client:
            client.login(ALICE, "correct-horse")
            client.select()
            run(one, "user", "quota", ALICE, "--messages", "10")
            for number in range(8):
                assert client.append("INBOX", None, None, b"Subject: %d\r\n\r\nbody" % number)[0] == "OK"
            wait_until(lambda: client.search(None, "SUBJECT", '"80 % full"')[1] == [b"9"], 20, "the warning")
            assert "Auto-Submitted" in str(client.fetch("9", "(BODY[HEADER])"))
            client.store("2:3", "+FLAGS", "\\Deleted")
            client.expunge()
            assert told(one, "mailbox", "undelete", ALICE, "--dry-run")[0]["messages"] == 2
            assert client.noop()[0] == "OK"
            client.send(b"x IDLE\r\n")
            assert client.readline().startswith(b"+")
            assert told(one, "mailbox", "undelete", ALICE, "INBOX")[0]["messages"] == 2
            assert client.readline() == b"* 9 EXISTS\r\n"
            client.send(b"DONE\r\n")
            while not client.readline().startswith(b"x OK"):
                pass
        assert "nothing to restore" in one.cli("mailbox", "undelete", ALICE, check=False).stderr.decode()
        assert "had, no folder Nowhere" in run(one, "mailbox", "undelete", ALICE, "Nowhere", status=67)
