"""Windows that slide, who counts as one, what workers tell each other, and memory that does not grow."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mta.model.verdict import Verdict
from mta.testing.memory.tables import MemoryTables
from mta.testing.plugins import FakeClock, FakeSession, FakeTransaction, host_with
from mta_hooks import Address
from mta_ratelimit import Ratelimit
from mta_ratelimit.config import Rate, RatelimitConfig
from mta_ratelimit.counts import Counts

BOB = Address("bob", "example.test")


class Worker:
    """The plugin in a host on fakes; several of one ``tables`` are workers of one server."""

    def __init__(self, number: int = 0, tables: MemoryTables | None = None, clock: FakeClock | None = None, **config: Any) -> None:
        self.clock = clock or FakeClock()
        self.plugin = Ratelimit()
        self.plugin.name = "ratelimit"  # type: ignore[attr-defined]  # as its entry point says
        self.host = host_with(self.plugin, config=config, clock=self.clock)
        self.host.services.tables = tables or MemoryTables()
        self.run(self.host.migrate())
        [plugin] = self.host.plugins.values()
        self.ctx = plugin.context
        self.plugin.startup(SimpleNamespace(worker=number), self.ctx)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def ask(self, hook: str, ip: str = "192.0.2.1", **session: Any) -> Verdict | None:
        given: dict[str, Any] = {"session": FakeSession(client_ip=ip, **session)}
        if hook != "smtp_connect":
            given |= {"transaction": FakeTransaction(), "params": {}}
        if hook == "smtp_mail":
            given["sender"] = None
        if hook == "smtp_rcpt":
            given["recipient"] = BOB
        verdict: Verdict | None = self.run(getattr(self.host, hook).verdict(**given)).verdict
        return verdict

    def exchange(self) -> None:
        self.run(self.plugin.exchange(self.ctx))


def test_connections_of_a_network() -> None:
    worker = Worker(client={"connections": "3/1m"})
    assert [worker.ask("smtp_connect") for _ in range(3)] == [None] * 3
    verdict = worker.ask("smtp_connect")
    assert verdict is not None
    assert (verdict.code, verdict.enhanced) == (421, "4.7.1")
    assert worker.ask("smtp_connect", ip="192.0.2.2") is None
    assert [worker.ask("smtp_connect", ip=f"2001:db8::{n}") is None for n in range(4)] == [True, True, True, False]
    worker.clock.advance(121)
    assert worker.ask("smtp_connect") is None


@pytest.mark.parametrize(
    "session", [{"protocol": "imap"}, {"ip": "127.0.0.1"}, {"ip": "10.0.0.1"}, {"ip": "198.51.100.7"}, {"ip": ""}], ids=str
)
def test_who_has_no_limit(session: dict[str, Any]) -> None:
    worker = Worker(client={"connections": "1/1m", "messages": "1/1m"}, exempt=["198.51.100.0/24"])
    assert [worker.ask("smtp_connect", **session) for _ in range(5)] == [None] * 5
    if session.get("protocol") != "imap":
        assert [worker.ask("smtp_mail", **session) for _ in range(5)] == [None] * 5


def test_a_user_is_one_wherever_he_is() -> None:
    worker = Worker(
        user={"messages": "2/1h", "recipients": "3/1h"}, users={"news@example.test": {"messages": "5/1h", "recipients": None}}
    )
    alice = {"user": "alice@example.test", "protocol": "submission"}
    assert worker.ask("smtp_mail", ip="10.0.0.1", **alice) is None
    assert worker.ask("smtp_mail", ip="2001:db8::1", **alice) is None
    verdict = worker.ask("smtp_mail", **alice)
    assert verdict is not None
    assert verdict.code == 450
    assert [worker.ask("smtp_rcpt", **alice) is None for _ in range(4)] == [True, True, True, False]
    news = {"user": "news@example.test", "protocol": "submission"}
    assert [worker.ask("smtp_mail", **news) is None for _ in range(6)] == [True] * 5 + [False]
    assert all(worker.ask("smtp_rcpt", **news) is None for _ in range(10))
    assert all(worker.ask("smtp_mail", ip="", user="root@mx.test", protocol="local") is None for _ in range(10))


def test_sendmail_command() -> None:
    """One uid of the system counts as one, apart from an account of ours of that name; nothing is limited unless it is given."""
    local: dict[str, Any] = {"protocol": "local", "ip": "", "user": "www-data"}
    worker = Worker(user={"messages": "1/1m"}, local={"messages": "2/1m"})
    said = [worker.ask("smtp_mail", **local) for _ in range(3)]
    assert [verdict and (verdict.code, verdict.enhanced) for verdict in said] == [None, None, (450, "4.7.1")]
    assert worker.ask("smtp_mail", **{**local, "user": "cron"}) is None
    assert worker.ask("smtp_mail", user="www-data") is None
    unlimited = Worker()
    assert [unlimited.ask("smtp_mail", **local) for _ in range(20)] == [None] * 20


def test_who_makes_errors_is_not_let_in() -> None:
    worker = Worker(client={"errors": "2/1h"})
    for reason in ("errors", "quit", "errors"):
        assert worker.ask("smtp_connect") is None
        worker.run(worker.host.smtp_disconnect.notify(session=FakeSession(client_ip="192.0.2.1"), reason=reason))
    assert worker.ask("smtp_connect") is not None
    worker.clock.advance(7200)
    assert worker.ask("smtp_connect") is None


def test_workers_limit_together() -> None:
    tables, clock = MemoryTables(), FakeClock()
    one = Worker(0, tables, clock, client={"connections": "10/1h"})
    other = Worker(1, tables, clock, client={"connections": "10/1h"})
    for _ in range(6):
        assert one.ask("smtp_connect") is None
    assert other.ask("smtp_connect") is None
    one.exchange()
    other.exchange()
    one.exchange()
    assert [other.ask("smtp_connect") is None for _ in range(4)] == [True, True, True, False]
    clock.advance(2 * 3600)
    one.run(one.plugin.forget(one.ctx))
    assert other.ask("smtp_connect") is None


def test_memory_has_a_bound_and_forgets_who_was_quiet_longest() -> None:
    counts, rate = Counts(100), Rate(1, 3600)
    for number in range(1000):
        assert counts.may(str(number), rate, 1.0)
    assert len(counts) == 100
    assert not counts.may("999", rate, 1.0)
    assert counts.may("0", rate, 1.0)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=200), st.integers(0, 20), st.integers(1, 60))
def test_never_more_than_twice_the_rate_in_any_window_and_none_refused_below_it(gaps: list[float], most: int, seconds: int) -> None:
    counts, rate, now = Counts(10), Rate(most, seconds), 1_800_000_000.0
    passed: list[float] = []
    for gap in gaps:
        now += gap
        recent = sum(1 for at in passed if at > now - 2 * seconds)
        if counts.may("k", rate, now):
            passed.append(now)
        else:
            assert recent >= most or not most
        assert sum(1 for at in passed if at > now - seconds) <= max(2 * most, 0)


@pytest.mark.parametrize("text", ["", "5", "5/", "/1h", "5/1y", "-1/1h", "5/0s", "5/32d", "5/h/m", 5])
def test_what_is_no_rate(text: Any) -> None:
    with pytest.raises(ValidationError):
        RatelimitConfig(client={"connections": text})  # type: ignore[arg-type]


def test_rates_as_they_are_written() -> None:
    config = RatelimitConfig.model_validate({"client": {"connections": " 5 / 10s", "messages": "7/h", "errors": None}})
    assert (config.client.connections, config.client.messages, config.client.errors) == (Rate(5, 10), Rate(7, 3600), None)
