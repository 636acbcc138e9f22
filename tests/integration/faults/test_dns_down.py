"""The resolver never answers: mail is taken, what has to leave waits, nobody is told 5xx, nothing piles up."""
# SPDX-License-Identifier: Apache-2.0

import json
import socket
import time

from mta.testing.clients import compose, message_ids
from mta.testing.server import HOST, MailServer, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


def test_dns_down():
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((HOST, 0))
    config = {"dns": {"servers": [f"{HOST}:{silent.getsockname()[1]}"], "timeout": 1}, "plugins": {"sql": {}, "dkim": {}}}
    with MailServer(config) as server:
        begin = time.monotonic()
        with server.smtp(BOB) as client:
            for n in range(20):
                client.sendmail(BOB, [f"u{n}@d{n}.elsewhere.test", ALICE], compose(f"<{n}@client.test>", ALICE, sender=BOB))
        took = time.monotonic() - begin
        assert took < 10, f"acceptance waits for names: {took:.1f} s"
        with server.imap(ALICE) as box:
            assert len(message_ids(box)) == 20

        def attempted():
            rows = json.loads(server.cli("queue", "list", "--json").stdout)
            return len(rows) == 20 and all(row["attempts"] >= 1 for row in rows) and rows

        wait_until(attempted, 30, "every recipient was tried once", 0.5)
        rows = attempted()
        assert all(row["last_reply"].startswith("4") or not row["last_reply"][:1].isdigit() for row in rows), rows[:2]
        with server.imap(BOB) as box:
            assert message_ids(box) == {}  # no bounce
        with server.smtp() as client:  # mail from outside, with dkim asked to verify
            client.sendmail("x@elsewhere.test", [ALICE], compose("<in@client.test>", ALICE))
    silent.close()
