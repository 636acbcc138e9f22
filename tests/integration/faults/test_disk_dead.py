"""EIO from fsync: not one acknowledgement afterwards, the workers exit non-zero, nothing acknowledged is missing.

fsync reports a failure once and may lie the second time, so going on in the same process is what loses mail.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import re
import time

from mta.testing.clients import Load, compose
from mta.testing.server import MailServer, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


def test_stops_acknowledging_at_the_first_failure(shim, audit):
    with MailServer(env=shim.env) as server:
        with Load(server.smtp, [ALICE, BOB]) as load:
            load.wait_acknowledged(50, 15)
            shim.fail_syncs(True)
            wait_until(lambda: shim.failed, 5, "a failed fsync")
            time.sleep(0.7)
            shim.fail_syncs(False)
            first = shim.first_failure
            ledger = load.stop()
        # an answer on its way at the moment of the failure belongs to a sync before it
        late = [at - first for at in ledger.acknowledged.values() if first + 0.05 < at < first + 0.6]
        assert late == []
        left = re.findall(r"\bworker\S*.*\bstatus=(-?\d+)", server.log_now)
        assert any(status != "0" for status in left) or server.process.poll(), server.log_now[-3000:]
        server.kill()
        server.start()
        audit(server, ledger, ALICE, BOB, in_doubt=3)


def test_imap_append_is_not_acknowledged(shim):
    with MailServer(env=shim.env) as server:
        box = server.imap(ALICE)
        box.append("INBOX", None, None, compose("<safe@client.test>", ALICE))
        shim.fail_syncs(True)
        status = "closed"
        with contextlib.suppress(OSError, box.abort):
            status = box.append("INBOX", None, None, compose("<unsafe@client.test>", ALICE))[0]
        assert status in {"NO", "BYE", "closed"}
        shim.fail_syncs(False)
        box.shutdown()
