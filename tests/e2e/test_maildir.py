"""The daemon with its mailboxes in Maildirs: every door in, IMAP and POP3 out, programs on the files, kill -9."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import os
import re
import sqlite3
import tempfile
import time
from pathlib import Path

import pytest
from imapclient import IMAPClient

from mta.testing.chaos import kill_at_random_moments
from mta.testing.clients import compose
from mta.testing.server import HOST, PASSWORD, USERS, MailServer, wait_until

ALICE, BOB = USERS
KILLS = 3 if int(os.environ.get("MTA_KILLS", "0")) < 100 else 25


def maildir_server(folder, **more):
    (folder / "mail").mkdir()
    config = {"storage": {"mailboxes": f"maildir:{folder}/mail/%d/%n"}, "plugins": {"sql": {}, "maildir": {}}}
    return MailServer({**config, **more}, directory=folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with maildir_server(tmp_path_factory.mktemp("maildir")) as running:
        yield running


def maildir(server, user=ALICE):
    local, _, domain = user.partition("@")
    return server.directory / "mail" / domain / local


def imap(server, user=ALICE):
    client = IMAPClient(HOST, server.ports["imap"], ssl=False, timeout=15)
    client.login(user, PASSWORD)
    return client


def arrived(client, number, folder="INBOX"):
    def count():
        return client.folder_status(folder, ["MESSAGES"])[b"MESSAGES"] == number

    wait_until(count, 10, f"{number} messages in {folder}")


def test_delivery_imap_pop3(server):
    with server.smtp() as smtp:
        smtp.sendmail("x@client.test", [ALICE, BOB], compose("<1@client.test>", ALICE))
    with server.smtp(ALICE) as submission:
        submission.sendmail(ALICE, [BOB], compose("<2@client.test>", BOB, sender=ALICE))
    server.sendmail(BOB, octets=b"Subject: local\n\nhere\n")
    client, box = imap(server), imap(server, BOB)
    arrived(client, 1)
    arrived(box, 3)
    client.select_folder("INBOX")
    [message] = client.fetch(client.search(), ["BODY.PEEK[]", "FLAGS", "RFC822.SIZE"]).values()
    assert b"Message-ID: <1@client.test>" in message[b"BODY[]"]
    assert len(message[b"BODY[]"]) == message[b"RFC822.SIZE"]
    client.create_folder("Projects/M\u00fcnchen")
    client.add_flags([1], [b"\\Flagged", b"$Label1"])
    client.copy([1], "Projects/M\u00fcnchen")
    client.move([1], "Archive")
    client.select_folder("Archive")
    assert set(client.get_flags([1])[1]) == {b"\\Flagged", b"$Label1", b"\\Recent"}
    assert client.search(["SUBJECT", "load"]) == [1]
    [file] = (maildir(server) / ".Projects.M&APw-nchen" / "cur").iterdir()
    assert file.name.endswith(":2,Fa")
    pop = server.pop3(BOB)
    assert pop.stat()[0] == 3
    pop.dele(1)
    pop.quit()
    arrived(box, 2)
    assert server.cli("mailbox", "verify").stdout.strip().endswith(b"sound")


def test_idle_hears_of_deliveries_and_of_other_programs(server):
    client = imap(server, BOB)
    client.select_folder("INBOX")
    client.idle()
    begin = time.monotonic()
    with server.smtp() as smtp:
        smtp.sendmail("x@client.test", [BOB], compose("<idle@client.test>", BOB))
    assert any(b"EXISTS" in line for line in client.idle_check(timeout=5))
    assert time.monotonic() - begin < 2
    (maildir(server, BOB) / "new" / "1700000000.M1P1.procmail").write_bytes(b"Subject: from outside\n\nhi\n")
    heard = []
    wait_until(lambda: heard.extend(client.idle_check(timeout=1)) or any(b"EXISTS" in line for line in heard), 10, "EXISTS")
    client.idle_done()
    client.logout()


def test_a_report_for_a_sender_of_ours_comes_by_the_queue(server):
    user = "sender@example.test"
    server.add_users(user)
    with server.smtp(user) as submission:
        submission.mail(user)
        submission.rcpt(ALICE, ["NOTIFY=SUCCESS"])
        submission.data(compose("<notify@client.test>", ALICE, sender=user))
    client = imap(server, user)
    arrived(client, 1)
    client.select_folder("INBOX")
    assert b"report-type=delivery-status" in next(iter(client.fetch(client.search(), ["BODY[]"]).values()))[b"BODY[]"]


def test_a_full_account_is_told_at_once(server):
    server.cli("user", "quota", BOB, "20000")
    try:
        with server.smtp() as smtp:
            refused = smtp.sendmail("x@client.test", [ALICE], compose("<fits@client.test>", ALICE))
            assert refused == {}
            with pytest.raises(Exception, match="552"):
                smtp.sendmail("x@client.test", [BOB], compose("<big@client.test>", BOB, size=30_000))
    finally:
        server.cli("user", "quota", BOB, "0")


def test_spam_goes_to_junk_by_the_queue(tmp_path):
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "judge.py").write_text(
        "from mta_hooks import add_score, hookimpl\n\n\n@hookimpl\ndef message_check(message):\n    return add_score(7.0, 'looks like it')\n"
    )
    with maildir_server(tmp_path, hooks_dir=str(tmp_path / "hooks")) as server:
        with server.smtp() as smtp:
            smtp.sendmail("x@client.test", [ALICE], compose("<spam@client.test>", ALICE))
        client = imap(server)
        arrived(client, 1, "Junk")
        arrived(client, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account only as root")
def test_as_the_servers_own_account():
    """Rights count for everybody but root; and what commands make as root the server may change."""
    with tempfile.TemporaryDirectory(prefix="mta-maildir-") as place:
        os.chmod(place, 0o755)
        folder = Path(place)
        server = maildir_server(folder, user="nobody")
        os.chown(folder / "mail", 65534, -1)
        with server:
            server.cli("mailbox", "list", BOB)
            with server.smtp() as smtp:
                smtp.sendmail("x@client.test", [ALICE, BOB], compose("<own@client.test>", ALICE))
            for user in USERS:
                client = imap(server, user)
                arrived(client, 1)
                client.create_folder("made/here")
                client.select_folder("INBOX")
                client.add_flags([1], [b"word"])
            server.cli("mailbox", "verify")
            made = [folder / "mail", *(folder / "mail").rglob("*")]
            assert {path.stat().st_uid for path in made} == {65534}


MBSYNC = """
IMAPAccount ours
Host {host}
Port {port}
User {user}
Pass {password}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account ours

MaildirStore near
Path {home}/mail/
Inbox {home}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""


@pytest.mark.peer("mbsync")
def test_mbsync_two_way(server, run, tmp_path):
    user = "sync@example.test"
    server.add_users(user)
    with server.smtp() as smtp:
        for n in range(60):
            smtp.sendmail("x@client.test", [user], compose(f"<m{n}@client.test>", user, size=400 + n * 10))
    client = imap(server, user)
    arrived(client, 60)
    (tmp_path / "mail").mkdir()
    (tmp_path / "rc").write_text(MBSYNC.format(host=HOST, port=server.ports["imap"], user=user, password=PASSWORD, home=tmp_path))
    sync = ("mbsync", "-c", "rc", "-a", "-q")
    run(*sync)
    near = tmp_path / "mail" / "INBOX"
    files = [path for part in ("new", "cur") for path in (near / part).iterdir()]
    assert len(files) == 60
    read, gone = files[0], files[1]
    subject = re.search(rb"Message-ID: (\S+)", read.read_bytes())[1].decode()
    uid = re.search(r",U=(\d+)", read.name)[1]
    read.rename(near / "cur" / (read.name.partition(":2,")[0] + ":2,FS"))
    gone.rename(near / "cur" / (gone.name.partition(":2,")[0] + ":2,T"))
    client.select_folder("INBOX")
    client.append("INBOX", compose("<new@client.test>", user))
    run(*sync)
    assert len([path for part in ("new", "cur") for path in (near / part).iterdir()]) == 60
    client.select_folder("INBOX")
    assert len(client.search()) == 60
    [found] = client.search(["HEADER", "Message-ID", subject])
    assert {b"\\Flagged", b"\\Seen"} <= set(client.get_flags([found])[found])
    assert uid.isdecimal()


@pytest.mark.slow
def test_kill_9_loses_nothing_and_doubles_nothing(tmp_path):
    with maildir_server(tmp_path) as server:

        def settled():
            with contextlib.closing(sqlite3.connect(server.data_dir / "mta.db")) as database:  # a command takes a second each
                wait_until(lambda: database.execute("SELECT count(*) FROM queue").fetchone() == (0,), 30, "the queue is empty")

        result = kill_at_random_moments(server, KILLS, seed=3, load=(0.15, 0.6), settled=settled)
        assert not result.faults, result
        assert result.acknowledged > 10 * KILLS
        assert server.cli("mailbox", "verify").stdout.strip().endswith(b"sound")
        print(result)
