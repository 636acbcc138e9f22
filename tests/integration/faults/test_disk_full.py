"""Disk full: 452 for new mail, reading and deleting go on, service resumes by itself; a small tmpfs holds the data."""
# SPDX-License-Identifier: Apache-2.0

import imaplib
import smtplib
import time
import uuid

import pytest

from mta.testing.clients import Ledger, Load, compose, message_ids
from mta.testing.server import MailServer, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


def answer(server, message_id="", size=2000):
    """Send one message; returns the code of the first refusal, or 250."""
    message_id = message_id or f"<{uuid.uuid4().hex}@client.test>"
    try:
        with server.smtp() as client:
            client.sendmail("x@client.test", [ALICE], compose(message_id, ALICE, size=size))
    except smtplib.SMTPRecipientsRefused as exc:
        return next(iter(exc.recipients.values()))[0]
    except smtplib.SMTPResponseException as exc:
        return exc.smtp_code
    return 250


def test_below_the_reserve(mount, fill):
    disk = mount("-t", "tmpfs", "-o", "size=48m", "tmpfs")
    with MailServer({"data_dir": str(disk / "data"), "storage": {"reserve": "8 MiB"}}) as server:
        for n in range(5):
            assert answer(server, f"<{n}@client.test>") == 250
        box = server.imap(ALICE)
        box.select("INBOX")
        ballast = fill(disk, leave=4 * 2**20)
        wait_until(lambda: answer(server) == 452, 6, "452 when the disk is below the reserve")
        time.sleep(1.1)  # each worker looks at the disk once a second
        status, text = box.append("INBOX", None, None, compose("<late@client.test>", ALICE))
        assert status == "NO"
        assert text[0].startswith(b"[OVERQUOTA]")
        assert box.fetch("1:*", "(BODY.PEEK[])")[0] == "OK"
        assert box.store("1:2", "+FLAGS", r"(\Deleted)")[0] == "OK"
        assert box.expunge()[0] == "OK"
        assert list(message_ids(box).values())[:3] == [f"<{n}@client.test>" for n in range(2, 5)]
        ballast.unlink()
        wait_until(lambda: answer(server) == 250, 5, "mail is taken again after space came back", 0.2)
        box.shutdown()


def test_not_one_octet_left(mount, fill, audit):
    """The reserve is off, so that ENOSPC reaches the database itself in the middle of the load."""
    disk = mount("-t", "tmpfs", "-o", "size=24m", "tmpfs")
    ledger = Ledger()
    with MailServer({"data_dir": str(disk / "data"), "storage": {"reserve": 0}}) as server:
        assert answer(server, "<first@client.test>") == 250
        ledger.acknowledged["<first@client.test>"] = time.monotonic()
        with Load(server.smtp, [ALICE, BOB], ledger=ledger, size=20_000) as load:
            load.wait_acknowledged(20)
            ballast = fill(disk, leave=0)
            load.wait_refused(10)
            with server.imap(ALICE) as box:
                assert "<first@client.test>" in message_ids(box).values()
                box.select("INBOX")
                assert box.fetch("1", "(BODY.PEEK[])")[0] == "OK"
            ballast.unlink()
            print(f"resumed after {load.wait_acknowledged(5, 5):.2f} s")
            load.stop()
        assert {code for code, _ in ledger.refused.values()} <= {452}
        audit(server, ledger, ALICE, BOB)
        server.kill()
        server.start()
        audit(server, ledger, ALICE, BOB)


@pytest.mark.parametrize("size", [300_000])
def test_large_bodies_leave_nothing_behind(mount, fill, size):
    """A message that goes to a file, refused for want of space, frees what it took."""
    disk = mount("-t", "tmpfs", "-o", "size=48m", "tmpfs")
    with MailServer({"data_dir": str(disk / "data"), "storage": {"reserve": 0}}) as server:
        assert answer(server, size=size) == 250
        ballast = fill(disk, leave=size // 2)
        assert answer(server, size=4 * size) == 452
        ballast.unlink()
        wait_until(lambda: answer(server, size=size) == 250, 5, "mail is taken again", 0.2)
        assert [path for path in (disk / "data" / "tmp").rglob("*") if path.is_file()] == []


def test_imap_append_when_full(mount, fill):
    disk = mount("-t", "tmpfs", "-o", "size=24m", "tmpfs")
    with MailServer({"data_dir": str(disk / "data"), "storage": {"reserve": 0}}) as server:
        box = server.imap(ALICE)
        box.select("INBOX")
        ballast = fill(disk, leave=0)
        status, text = box.append("INBOX", None, None, compose("<a@client.test>", ALICE, size=200_000))
        assert (status, text[0].split()[0]) == ("NO", b"[OVERQUOTA]")
        assert box.noop()[0] == "OK"
        ballast.unlink()

        def appended():
            try:
                return box.append("INBOX", None, None, compose("<b@client.test>", ALICE, size=200_000))[0] == "OK"
            except imaplib.IMAP4.error:
                return False

        wait_until(appended, 5, "APPEND works again", 0.2)
        assert list(message_ids(box).values()) == ["<b@client.test>"]
        box.shutdown()
