"""Out of file descriptors: sessions go on, the listener pauses without a busy loop, service returns."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import socket
import time

from mta.testing.clients import compose, message_ids
from mta.testing.processes import processor_seconds
from mta.testing.server import HOST, MailServer, wait_until

ALICE = "alice@example.test"
FILES = 160


def test_out_of_files():
    wrapper = ("/bin/sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh")
    config = {"workers": 1, "limits": {"connections_per_client": 10_000}}
    with MailServer(config, wrapper=wrapper) as server:
        box, smtp = server.imap(ALICE), server.smtp()
        box.select("INBOX")
        flood = []
        for _ in range(2 * FILES):
            connection = socket.socket()
            connection.settimeout(0.5)
            with contextlib.suppress(OSError):
                connection.connect((HOST, server.ports["smtp"]))
            flood.append(connection)
        time.sleep(0.5)
        (worker,) = server.workers
        before = processor_seconds(worker)
        time.sleep(1.5)
        busy = processor_seconds(worker) - before
        assert busy < 0.75, f"{busy:.2f} s of processor time in 1.5 s of doing nothing"
        assert smtp.noop()[0] == 250
        smtp.sendmail("x@client.test", [ALICE], compose("<full@client.test>", ALICE))
        assert box.noop()[0] == "OK"
        assert list(message_ids(box).values()) == ["<full@client.test>"]
        for connection in flood:
            connection.close()

        def served():
            try:
                with server.smtp(timeout=1) as client:
                    return client.noop()[0] == 250
            except OSError:
                return False

        wait_until(served, 5, "service after the flood")
        assert server.workers == [worker]  # nobody crashed
        smtp.close()
        box.shutdown()
