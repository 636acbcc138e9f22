"""The daemon indexes what arrives at any worker; searching gives the same before, after, and without the index."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from imapclient import IMAPClient

from mta.testing.server import HOST, PASSWORD, MailServer, wait_until
from mta_sql.sqlite import driver

ALICE = "alice@example.test"
COUNT = 80


def deliver(server: MailServer, first: int) -> None:
    with server.smtp() as client:
        for number in range(first, first + COUNT):
            client.sendmail(
                "x@client.test", [ALICE], f"Subject: number {number}\r\nMessage-ID: <{number}@x>\r\n\r\nneedle{number}s\r\n"
            )


def held(server: MailServer) -> int:
    raw = driver.connect(str(server.data_dir / "search.db"))
    try:
        return int(raw.execute("SELECT count(*) FROM heads WHERE held = 1").fetchone()[0])
    finally:
        raw.close()


def indexed(server: MailServer, count: int) -> None:
    wait_until(lambda: held(server) >= count, 20, f"{count} messages in the index")


def check(server: MailServer, count: int) -> None:
    with IMAPClient(HOST, server.ports["imap"], ssl=False) as client:
        client.login(ALICE, PASSWORD)
        client.select_folder("INBOX", readonly=True)
        assert client.search(["TEXT", "needle77s"]) == [78]
        assert client.search(["SUBJECT", "number 12"])[:1] == [13]
        assert len(client.search(["BODY", "eedl"])) == count
        assert client.search(["NOT", "BODY", "needle"]) == []
        assert len(client.sort(["REVERSE ARRIVAL", "REVERSE SUBJECT"])) == count
        assert client.has_capability("THREAD=REFERENCES")
        assert sum(map(len, client.thread())) == count


@pytest.mark.timeout(90)
def test_in_the_daemon() -> None:
    with MailServer({"workers": 2}) as server:
        deliver(server, 0)
        check(server, COUNT)  # whatever is indexed by now
        indexed(server, COUNT)
        check(server, COUNT)
        server.kill()  # without notice: the index goes on where it was
        server.start()
        deliver(server, COUNT)
        check(server, 2 * COUNT)
        indexed(server, 2 * COUNT)
        check(server, 2 * COUNT)
        assert "search.index_failed" not in server.log
        server.stop()
        (server.data_dir / "search.db").write_bytes(b"damaged" * 2000)
        server.start()
        check(server, 2 * COUNT)
        indexed(server, 2 * COUNT)
        assert "sql.search_damaged" in server.log
