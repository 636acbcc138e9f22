"""Which bounces count, from when on an address is left out, where it is refused, and when it is forgotten."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mta.model.ids import QueueId
from mta.testing.memory.tables import MemoryTables
from mta.testing.plugins import FakeClock, FakeSession, FakeTransaction, host_with
from mta.testing.server import MailServer
from mta_hooks import Address, Attempt, DeliveryRecord, Envelope
from mta_suppression import Suppression
from mta_suppression.addresses import TABLE, Addresses

DAY = 86400.0
BOB, EVE = Address("Bob", "far.test"), Address("eve", "far.test")
NOBODY = "550 5.1.1 no such user"


class Ground:
    """The plugin in a host on fakes."""

    def __init__(self, **config: Any) -> None:
        self.clock = FakeClock()
        self.plugin = Suppression()
        self.plugin.name = "suppression"  # type: ignore[attr-defined]  # as its entry point says
        self.host = host_with(self.plugin, config=config, clock=self.clock)
        self.host.services.tables = MemoryTables()
        self.run(self.host.migrate())
        [self.ctx] = [plugin.context for plugin in self.host.plugins.values()]

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def bounce(self, reply: str = NOBODY, remote: str = "mx.far.test[192.0.2.1]:25", who: Address = BOB) -> None:
        now = self.clock.now()
        record = DeliveryRecord(QueueId("q"), "<m@x>", "smtp", "a@x.test", str(who), None, "failed", reply, remote, 1, now, now, 1)
        self.run(self.plugin.bounced(record, self.ctx))

    def rcpt(self, who: Address = BOB) -> str:
        plan = self.host.smtp_rcpt
        assert plan is not None
        given = {"session": FakeSession(), "transaction": FakeTransaction(), "recipient": who, "params": {}}
        verdict = self.run(plan.verdict(**given)).verdict
        return "" if verdict is None else f"{verdict.code} {verdict.enhanced}"

    def attempt(self, *who: Address) -> str:
        plan = self.host.delivery_attempt
        assert plan is not None
        envelope = Envelope("q", None, who, "smtp", 0.0, 0)
        verdict = self.run(plan.verdict(envelope=envelope, attempt=Attempt(1, "far.test", "smtp"))).verdict
        return "" if verdict is None else f"{verdict.code} {verdict.enhanced}"


def test_three_days_with_a_bounce_are_enough() -> None:
    ground = Ground()
    for _ in range(3):
        assert ground.rcpt() == ""
        for _ in range(5):
            ground.bounce()
        ground.clock.advance(DAY)
    assert ground.rcpt() == ground.rcpt(Address("bOB", "far.test")) == "550 5.1.1"
    assert ground.rcpt(EVE) == ""
    assert ground.attempt(BOB) == "550 5.1.1"
    assert ground.attempt(BOB, EVE) == "", "the verdict would be for both"
    ground.clock.advance(180 * DAY)
    assert ground.rcpt() == ""
    ground.run(ground.plugin.expire(ground.ctx))
    assert ground.run(ground.ctx.db.read(TABLE.select())) == []


@pytest.mark.parametrize(
    "given",
    [
        {"reply": "550 5.7.1 not from you"},
        {"reply": "552 5.2.2 mailbox is full"},
        {"reply": "554 5.4.7 delivery time expired"},
        {"reply": "550 5.1.10"},
        {"reply": "550 no such user"},
        {"remote": ""},
    ],
    ids=str,
)
def test_what_counts(given: dict[str, str]) -> None:
    ground = Ground(after=1)
    ground.bounce(**given)
    assert ground.rcpt() == ("550 5.1.1" if given == {"reply": "550 5.1.10"} else "")


def test_bounces_far_apart_count_anew() -> None:
    ground = Ground(after=2, within=10 * DAY)
    ground.bounce()
    ground.clock.advance(11 * DAY)
    ground.bounce()
    assert ground.rcpt() == ""
    ground.clock.advance(2 * DAY)
    ground.bounce()
    assert ground.rcpt() == "550 5.1.1"


def test_the_operator_has_the_last_word() -> None:
    ground = Ground(after=1)
    addresses = Addresses(ground.ctx.db)
    ground.bounce()
    assert ground.run(addresses.remove("bob@far.test")) == 1
    assert ground.rcpt() == ""
    ground.run(addresses.add("bob@far.test", "asked to be", ground.clock.now()))
    ground.clock.advance(10_000 * DAY)
    ground.run(ground.plugin.expire(ground.ctx))
    assert ground.rcpt() == "550 5.1.1"


def test_commands(tmp_path: Path) -> None:
    with closing(MailServer({"plugins": {"sql": {}, "suppression": {}}}, protocols=("smtp",), directory=tmp_path)) as server:
        server.prepare()
        server.cli("suppression", "add", "Bob@far.test", "--reason", "asked to be")
        [row] = json.loads(server.cli("suppression", "list", "far", "--json").stdout)
        assert (row["address"], row["by"], row["until"], row["reason"]) == ("bob@far.test", "operator", None, "asked to be")
        assert b"bob@far.test  operator  asked to be" in server.cli("suppression", "list").stdout
        assert server.cli("suppression", "remove", "bob@far.test").returncode == 0
        assert server.cli("suppression", "remove", "bob@far.test", check=False).returncode == 67
        assert json.loads(server.cli("suppression", "list", "--json").stdout) == []
