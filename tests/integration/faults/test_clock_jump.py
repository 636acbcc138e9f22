"""The wall clock jumps: nothing expires by it, sessions and new connections go on."""
# SPDX-License-Identifier: Apache-2.0

import json
import time

import pytest

from mta.testing.clients import compose, message_ids
from mta.testing.server import HOST, MailServer, free_port, wait_until

ALICE, BOB = "alice@example.test", "bob@example.test"


def made(server: MailServer) -> int:
    """Attempts at the one recipient that waits."""
    [row] = json.loads(server.cli("queue", "list", "--json").stdout)
    return int(row["attempts"])


class Shifted(MailServer):
    """Only the daemon and ``queue flush`` have the shifted clock: other commands need none, and start sooner without a shim."""

    def __init__(self, config, shim):
        super().__init__(config)
        self.shim = shim

    def launch(self) -> None:
        self._with_shim(super().launch)

    def flush(self) -> None:
        self._with_shim(lambda: self.cli("queue", "flush"))

    def _with_shim(self, act) -> None:
        self.env = self.shim.env
        act()
        self.env = {}


@pytest.mark.parametrize("jump", [10 * 86400.0, -3600.0], ids=["ten days on", "an hour back"])
def test_clock_jump(shim, jump):
    config = {
        "routes": {"dead.test": f"smtp://{HOST}:{free_port()}"},
        "queue": {"retry": [60], "lifetime": "1h", "delay_warning": 0},
    }
    with Shifted(config, shim) as server:
        with server.smtp(BOB) as client:
            client.sendmail(BOB, ["x@dead.test"], compose("<waits@client.test>", "x@dead.test", sender=BOB))
        wait_until(lambda: made(server) == 1, 10, "the first attempt", 0.2)
        box, smtp = server.imap(ALICE), server.smtp()
        box.select("INBOX")
        uid_validity = box.response("UIDVALIDITY")
        shim.shift_clock(jump)
        begin = time.monotonic()
        assert box.noop()[0] == "OK"
        assert smtp.noop()[0] == 250
        smtp.sendmail("x@client.test", [ALICE], compose("<old-session@client.test>", ALICE))
        with server.smtp() as client:
            client.sendmail("x@client.test", [ALICE], compose("<new-session@client.test>", ALICE))
        with server.imap(ALICE) as other:
            assert sorted(message_ids(other).values()) == ["<new-session@client.test>", "<old-session@client.test>"]
            assert other.response("UIDVALIDITY") == uid_validity
        assert time.monotonic() - begin < 5
        for attempts in range(2, 6):  # more than the three attempts without which nothing expires anyway
            server.flush()  # after a jump forward the row is due by itself as well: one attempt more
            wait_until(lambda least=attempts: made(server) >= least, 10, f"{attempts} attempts", 0.2)
        assert server.queue_count() == 1  # neither bounced nor lost
        with server.imap(BOB) as other:
            assert message_ids(other) == {}
        smtp.close()
        box.shutdown()
