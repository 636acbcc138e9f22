"""Somebody else holds the database: a bounded wait, then 451 or NO [UNAVAILABLE]; no session hangs, reading goes on."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import smtplib
import threading
import time

import pytest

from mta.testing.clients import compose, message_ids
from mta.testing.server import MailServer, wait_until

ALICE = "alice@example.test"
LONGEST = 12.0  # 10 s and a margin for a loaded machine


@contextlib.contextmanager
def write_lock(server, url):
    """Hold what every writer needs."""
    if url == "sqlite":
        from pysqlite3 import dbapi2 as sqlite

        connection = sqlite.connect(server.data_dir / "mta.db", isolation_level=None, timeout=10)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()
    else:
        import psycopg

        with psycopg.connect(url) as connection:
            tables = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
            connection.execute(f"LOCK TABLE {', '.join(tables)} IN SHARE ROW EXCLUSIVE MODE")
            yield
            connection.rollback()


def timed(action):
    begin = time.monotonic()
    value = action()
    return value, time.monotonic() - begin


def send(server, message_id):
    try:
        with server.smtp(timeout=30) as client:
            client.sendmail("x@client.test", [ALICE], compose(message_id, ALICE))
    except smtplib.SMTPRecipientsRefused as exc:
        return next(iter(exc.recipients.values()))[0]
    except smtplib.SMTPResponseException as exc:
        return exc.smtp_code
    return 250


@pytest.mark.slow
def test_locked(database):
    with MailServer({"database": database}) as server:
        assert send(server, "<before@client.test>") == 250
        box, other = server.imap(ALICE, timeout=30), server.imap(ALICE)
        box.select("INBOX")
        other.select("INBOX")
        answers = {}

        def run(name, action):
            try:
                answers[name] = timed(action)
            except Exception as exc:
                answers[name] = (repr(exc), 0.0)

        with write_lock(server, database):
            threads = [
                threading.Thread(target=run, args=("smtp", lambda: send(server, "<during@client.test>"))),
                threading.Thread(
                    target=run, args=("append", lambda: box.append("INBOX", None, None, compose("<a@client.test>", ALICE)))
                ),
            ]
            for thread in threads:
                thread.start()
            reads = []
            while any(thread.is_alive() for thread in threads) and len(reads) < 200:
                got, took = timed(lambda: other.fetch("1", "(FLAGS BODY.PEEK[])"))
                assert got[0] == "OK"
                reads.append(took)
                time.sleep(0.1)
            for thread in threads:
                thread.join(15)
        print(f"{answers}, slowest read meanwhile {max(reads):.3f} s")
        code, took = answers["smtp"]
        assert code == 451
        assert took <= LONGEST
        (status, text), took = answers["append"]
        assert (status, text[0].split()[0]) == ("NO", b"[UNAVAILABLE]")
        assert took <= LONGEST
        assert max(reads) < 1.0
        wait_until(lambda: send(server, "<after@client.test>") == 250, 5, "mail is taken again", 0.2)
        found = list(message_ids(other).values())
        assert found.count("<before@client.test>") == 1
        assert "<during@client.test>" not in found
        assert "<a@client.test>" not in found
        box.shutdown()
        other.shutdown()
