"""``mta-sendmail``: with the server up, with it down and started later, and with it killed just after the pick-up."""
# SPDX-License-Identifier: Apache-2.0

import getpass
import random
import time

import pytest

from mta.testing.clients import message_ids
from mta.testing.server import MailServer, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


@pytest.fixture(scope="module")
def server():
    with MailServer() as running:
        yield running


def letter(message_id, to=ALICE, more=""):
    return f"To: {to}\nSubject: local\nMessage-ID: {message_id}\n{more}\nby cron\n".encode()


def inbox(server, user=ALICE):
    with server.imap(user) as box:
        return list(message_ids(box).values())


def wait_for(server, message_id, user=ALICE, timeout=5):
    wait_until(lambda: message_id in inbox(server, user), timeout, f"{message_id} in the mailbox", 0.05)
    assert inbox(server, user).count(message_id) == 1


def test_server_up(server):
    begin = time.monotonic()
    server.sendmail("-t", octets=letter("<up@local>"))
    print(f"mta-sendmail -t: {time.monotonic() - begin:.3f} s")
    wait_for(server, "<up@local>")


def test_bcc_is_served_and_removed(server):
    server.sendmail("-t", octets=letter("<bcc@local>", more=f"Bcc: {BOB}\n"))
    wait_for(server, "<bcc@local>", BOB)
    with server.imap(BOB) as box:
        box.select("INBOX", readonly=True)
        number = box.search(None, "HEADER", "Message-ID", "<bcc@local>")[1][0].decode()
        octets = box.fetch(number, "(BODY.PEEK[])")[1][0][1]
    assert b"bcc:" not in octets.lower()
    assert b"\r\nby cron\r\n" in octets


@pytest.mark.parametrize(
    "words",
    [
        ("-i", "-f", BOB, "--", ALICE),  # mutt, s-nail
        ("-FCronDaemon", "-i", "-B8BITMIME", "-oem", ALICE),  # cron
        ("-oi", "-f", "", ALICE),  # maildrop: the null sender
        ("-t", "-i", f"-f{BOB}"),  # PHP
        ("-bm", "-oi", "-oem", ALICE),
    ],
    ids=["mutt", "cron", "maildrop", "php", "bm"],
)
def test_arguments_of_real_callers(server, words):
    message_id = f"<caller{abs(hash(words))}@local>"
    server.sendmail(*words, octets=letter(message_id) + b".\nafter the dot\n")
    wait_for(server, message_id)
    with server.imap(ALICE) as box:
        box.select("INBOX", readonly=True)
        number = box.search(None, "HEADER", "Message-ID", message_id)[1][0].decode()
        octets = box.fetch(number, "(BODY.PEEK[])")[1][0][1]
    assert b"after the dot" in octets
    sender = {"-f": words[words.index("-f") + 1] if "-f" in words else None}.get("-f")
    if sender is not None:
        assert octets.startswith(f"Return-Path: <{sender}>\r\n".encode())
    elif f"-f{BOB}" in words:
        assert octets.startswith(f"Return-Path: <{BOB}>\r\n".encode())
    else:
        assert octets.startswith(f"Return-Path: <{getpass.getuser()}@".encode())


def test_dot_ends_the_message_without_i(server):
    server.sendmail(ALICE, octets=letter("<dot@local>") + b".\nnever seen\n")
    wait_for(server, "<dot@local>")
    with server.imap(ALICE) as box:
        box.select("INBOX", readonly=True)
        number = box.search(None, "HEADER", "Message-ID", "<dot@local>")[1][0].decode()
        assert b"never seen" not in box.fetch(number, "(BODY.PEEK[])")[1][0][1]


def test_exit_codes(server):
    assert server.sendmail("-i", octets=letter("<none@local>"), check=False).returncode == 64
    assert server.sendmail("-t", octets=b"Subject: nobody\n\nx\n", check=False).returncode == 65
    assert server.sendmail("--no-such-option", ALICE, octets=letter("<o@local>"), check=False).returncode == 64


def test_server_down_then_started():
    with MailServer() as server:
        server.stop()
        for n in range(20):
            server.sendmail("-t", octets=letter(f"<down{n}@local>"))
        server.start()
        wait_until(lambda: len(inbox(server)) >= 20, 10, "twenty messages", 0.1)
        time.sleep(0.5)
        assert sorted(inbox(server)) == sorted(f"<down{n}@local>" for n in range(20))


@pytest.mark.slow
def test_killed_right_after_the_pick_up():
    """Ten times: whatever the moment, each message is there once in the end."""
    chance, wanted = random.Random(2), []
    with MailServer({"workers": 1}) as server:
        maildrop = server.data_dir / "maildrop"
        server.stop()
        for kill in range(10):
            batch = [f"<k{kill}.{n}@local>" for n in range(4)]
            for message_id in batch:
                server.sendmail("-t", octets=letter(message_id))
            wanted += batch
            before = sum(1 for path in maildrop.rglob("*") if path.is_file())
            assert before >= 4
            server.launch()
            wait_until(lambda was=before: sum(1 for p in maildrop.rglob("*") if p.is_file()) < was, 15, "the pick-up", 0.0005)
            time.sleep(chance.choice((0, 0, 0.001, 0.003)))
            server.kill()
        server.start()
        wait_until(lambda: len(inbox(server)) >= len(wanted), 15, "everything", 0.1)
        time.sleep(0.5)
        assert sorted(inbox(server)) == sorted(wanted)
        assert [path for path in maildrop.rglob("*") if path.is_file()] == []
