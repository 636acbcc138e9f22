"""A configuration written by half: the old one is kept, the error is named; a good one is taken without losing mail."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import smtplib
import time

from mta.testing.clients import compose, message_ids
from mta.testing.server import MailServer, wait_until

ALICE = "alice@example.test"


def size_limit(server):
    """What EHLO says; 0 when a worker that drains answered 421."""
    try:
        with server.smtp() as client:
            return int(client.esmtp_features.get("size", 0))
    except smtplib.SMTPException:
        return 0


def test_half_a_file_changes_nothing():
    with MailServer() as server:
        session = server.imap(ALICE)
        before = size_limit(server)
        whole = server.config_file.read_text()
        server.write_config(whole[: len(whole) // 2])
        server.reload()
        server.wait_for_log(r"mta\.yaml:\d+")
        time.sleep(0.2)
        assert size_limit(server) == before
        server.write_config(whole.replace('"workers"', '"wrokers"'))
        server.reload()
        named = server.wait_for_log(r".*wrokers.*")
        assert "workers" in named[0]  # the nearest known key
        with server.smtp() as client:
            client.sendmail("x@client.test", [ALICE], compose("<m@client.test>", ALICE))
        assert list(message_ids(session).values()) == ["<m@client.test>"]
        server.config["limits"] = {"message_size": 1_000_000}
        server.write_config()
        server.reload()
        wait_until(lambda: size_limit(server) == 1_000_000, 5, "the new configuration", 0.1)
        wait_until(lambda: all(size_limit(server) == 1_000_000 for _ in range(6)), 5, "in every worker", 0.1)
        with contextlib.suppress(session.abort):  # its worker was drained, and said BYE
            assert session.noop()[0] == "OK"
        with server.imap(ALICE) as again:
            assert list(message_ids(again).values()) == ["<m@client.test>"]
        session.shutdown()


def test_half_a_file_at_start_is_exit_78():
    with MailServer() as server:
        assert server.stop() == 0
        text = server.config_file.read_text()
        server.write_config(text[: len(text) // 2])
        done = server.cli("serve", check=False, timeout=20)
        assert done.returncode == 78
        assert b"mta.yaml:" in done.stderr
