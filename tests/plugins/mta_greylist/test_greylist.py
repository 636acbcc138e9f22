"""Who waits and who does not: the rules, the hook on fakes, the limits, and what is forgotten."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Coroutine
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from mta.model.message import Recipient
from mta.testing.memory.tables import MemoryTables
from mta.testing.plugins import FakeClock, FakeMessage, FakeSession, FakeTransaction, host_with
from mta_greylist import Greylist
from mta_greylist.decide import Decision, Seen, Triplet, candidates, decide, entry_of, network_of
from mta_greylist.memory import Memory
from mta_greylist.tables import TRIPLETS
from mta_hooks import Address, Verdict

DELAY, WINDOW = 300.0, 7200.0
ALICE = Address("alice", "example.test")
STRANGER = Address("x", "stranger.example")


@pytest.mark.parametrize(
    ("seen", "now", "decision"),
    [
        (None, 0.0, Decision("new", DELAY)),
        (Seen(1000, 1000, 0), 1000, Decision("too early", 300.0)),
        (Seen(1000, 1000, 0), 1299.5, Decision("too early", 1.0)),
        (Seen(1000, 1000, 0), 1300, Decision("came back")),
        (Seen(1000, 1200, 0), 1300, Decision("came back")),  # tries in between do not start anew
        (Seen(1000, 1000, 0), 1000 + WINDOW, Decision("came back")),
        (Seen(1000, 1000, 0), 1000 + WINDOW + 1, Decision("too late", DELAY)),
        (Seen(1000, 1000, 0), 999, Decision("too late", DELAY)),  # a clock set back
        (Seen(1000, 1300, 1), 10**9, Decision("known")),
        (Seen(1000, 1300, 7), 0.0, Decision("known")),
    ],
)
def test_the_rules(seen: Seen | None, now: float, decision: Decision) -> None:
    assert decide(seen, now, delay=DELAY, window=WINDOW) == decision


@pytest.mark.parametrize(
    ("sender", "form"),
    [
        (None, ""),
        (Address("Bob", "a.example"), "bob@a.example"),
        (Address("bounce-1234-77", "l.example"), "bounce-#-#@l.example"),
        (Address("list+alice=example.test", "l.example"), "list@l.example"),
        (Address("prvs=0123abcdef=bob", "a.example"), "bob@a.example"),
        (Address("+", "a.example"), "+@a.example"),
        (Address("x" * 400, "a.example"), "x" * 320),
    ],
)
def test_senders_that_change_with_each_message_are_one(sender: Address | None, form: str) -> None:
    assert Triplet.of("192.0.2.0/24", sender, Address("Alice", "example.test")) == Triplet(
        "192.0.2.0/24", form, "alice@example.test"
    )


def test_networks() -> None:
    assert network_of(ip_address("192.0.2.77"), 24, 64) == "192.0.2.0/24"
    assert network_of(ip_address("2001:db8:1:2:3::4"), 24, 64) == "2001:db8:1:2::/64"
    found = candidates(ip_address("192.0.2.77"), Address("Bob", "a.example"))
    assert {"192.0.2.77/32", "192.0.2.0/24", "192.0.0.0/16", "bob@a.example", "@a.example"} <= set(found)
    assert len(candidates(ip_address("2001:db8::1"), None)) == 113


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
        (" Bob@A.example ", "bob@a.example"),
        ("@A.example", "@a.example"),
        ("0.0.0.0/0", None),
        ("2000::/3", None),
        ("a.example", None),
        ("@", None),
    ],
)
def test_entries_as_an_operator_writes_them(text: str, entry: str | None) -> None:
    if entry is None:
        with pytest.raises(ValueError, match=r".+"):
            entry_of(text)
    else:
        assert entry_of(text) == entry


# ---- the hook


class Ground:
    """The plugin in a host on fakes."""

    def __init__(self, **config: Any) -> None:
        self.clock = FakeClock()
        self.plugin = Greylist()
        self.plugin.name = "greylist"  # as its entry point says
        self.host = host_with(self.plugin, config=config, clock=self.clock)
        self.tables = self.host.services.tables = MemoryTables()
        self.run(self.host.migrate())
        [self.ctx] = [plugin.context for plugin in self.host.plugins.values()]
        self.memory = Memory(self.ctx.db)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def rcpt(self, sender: Address | None = STRANGER, ip: str = "192.0.2.1", to: Address = ALICE, **session: Any) -> Verdict | None:
        plan = self.host.smtp_rcpt
        assert plan is not None
        given = {"session": FakeSession(client_ip=ip, **session), "transaction": FakeTransaction(sender=sender)}
        verdict: Verdict | None = self.run(plan.verdict(**given, recipient=to, params={})).verdict
        return verdict

    def counts(self) -> dict[str, float]:
        return {m.labels.get("by", "deferred"): m.value for m in self.plugin.numbers(self.ctx)}


def test_a_stranger_waits_comes_back_and_is_known() -> None:
    ground = Ground()
    verdict = ground.rcpt()
    assert verdict is not None
    assert (verdict.code, verdict.enhanced) == (450, "4.7.1")
    assert "try again in 300 seconds" in verdict.text
    ground.clock.advance(200)
    assert "100 seconds" in ground.rcpt().text  # type: ignore[union-attr]
    ground.clock.advance(100)
    assert ground.rcpt(ip="192.0.2.200") is None  # another host of the same network
    assert ground.rcpt() is None
    assert ground.rcpt(to=Address("bob", "example.test")) is not None
    assert ground.rcpt(sender=None) is not None
    assert ground.rcpt(ip="198.51.100.1") is not None
    assert ground.counts() == {"deferred": 5, "came_back": 1, "known": 1}


def test_who_comes_back_too_late_is_a_stranger() -> None:
    ground = Ground(window=3600)
    ground.rcpt()
    ground.clock.advance(3601)
    assert ground.rcpt() is not None
    ground.clock.advance(301)
    assert ground.rcpt() is None


@pytest.mark.parametrize(
    "given",
    [
        {"user": "bob@example.test"},
        {"protocol": "submission"},
        {"protocol": "lmtp"},
        {"ip": "10.1.2.3"},
        {"ip": "::ffff:127.0.0.1"},
        {"ip": ""},
        {"ip": "198.51.100.9"},
        {"to": Address("Postmaster", "example.test")},
        {"to": Address("abuse", "example.test")},
        {"to": Address("any", "open.test")},
    ],
    ids=str,
)
def test_who_is_not_asked(given: dict[str, Any]) -> None:
    ground = Ground(exempt=["198.51.100.0/24"], exempt_recipients=["Abuse@example.test", "@open.test"])
    assert ground.rcpt(**given) is None
    assert ground.run(ground.ctx.db.read(TRIPLETS.select())) == []


@pytest.mark.parametrize(("result", "waits"), [("pass", False), ("fail", True), ("neutral", True), (None, True)])
def test_spf_vouches(result: str | None, waits: bool) -> None:
    ground = Ground()

    async def ask() -> Verdict | None:
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if result is None:
            outcome.set_exception(OSError("no DNS"))
        else:
            outcome.set_result(SimpleNamespace(result=result))
        session = FakeSession(notes={"spf": SimpleNamespace(outcome=outcome)})
        assert ground.host.smtp_rcpt is not None
        decision = await ground.host.smtp_rcpt.verdict(
            session=session, transaction=FakeTransaction(sender=STRANGER), recipient=ALICE, params={}
        )
        verdict: Verdict | None = decision.verdict
        return verdict

    assert (ground.run(ask()) is not None) is waits


def test_whom_one_of_ours_writes_to_may_answer() -> None:
    ground = Ground()
    plan = ground.host.message_check
    assert plan is not None
    recipients = (Recipient(Address("Friend", "far.example"), "Friend@far.example"),)
    for user in ("", "alice@example.test"):
        session = FakeSession(user=user)
        ground.run(plan.verdict(session=session, message=FakeMessage(), recipients=recipients, results=()))
        assert (ground.rcpt(Address("friend", "far.example")) is None) is bool(user)
    assert ground.counts()["known"] == 1


def test_a_network_that_keeps_coming_back_need_not_any_more() -> None:
    ground = Ground(allow_after=3)
    senders = [Address(name, "fine.example") for name in "abc"]
    for sender in senders:
        ground.rcpt(sender)
    ground.clock.advance(300)
    assert [ground.rcpt(sender) for sender in senders] == [None] * 3
    assert ground.rcpt(Address("d", "fine.example")) is None
    assert ground.rcpt(Address("d", "fine.example"), ip="192.0.3.1") is not None
    [row] = ground.run(ground.memory.allowed("", 10))
    assert (row.entry, row.made_by) == ("192.0.2.0/24", "passes")


def test_one_network_cannot_fill_the_table_and_still_gets_in() -> None:
    ground = Ground(most_waiting=10)
    for n in range(30):
        assert ground.rcpt(Address("s", f"d{n}.example")) is not None
    rows = ground.run(ground.ctx.db.read(TRIPLETS.select()))
    assert len(rows) == 11
    ground.clock.advance(300)
    assert ground.rcpt(Address("s", "d29.example")) is None
    assert ground.rcpt(Address("s", "d0.example")) is None


def test_what_is_old_goes() -> None:
    ground = Ground(window=3600, keep=86400)
    ground.rcpt(Address("waits", "a.example"))
    ground.rcpt(Address("comes", "a.example"))
    ground.clock.advance(300)
    ground.rcpt(Address("comes", "a.example"))
    for by in ("operator", "mail"):
        ground.run(ground.memory.allow(f"{by}@a.example", by, ground.clock.now()))  # type: ignore[arg-type]

    def left() -> list[str]:
        rows = ground.run(ground.memory.triplets("", 10)), ground.run(ground.memory.allowed("", 10))
        return [row.sender for row in rows[0]] + [row.entry for row in rows[1]]

    ground.clock.advance(3601)
    ground.run(ground.plugin.expire(ground.ctx))
    assert left() == ["comes@a.example", "mail@a.example", "operator@a.example"]
    ground.clock.advance(86400)
    ground.run(ground.plugin.expire(ground.ctx))
    assert left() == ["operator@a.example"]


def test_an_error_of_ours_lets_the_mail_in() -> None:
    ground = Ground()
    ground.host.services.tables = None
    assert ground.rcpt() is None


def test_two_connections_at_once_are_one_stranger() -> None:
    ground = Ground()
    triplet = Triplet.of("192.0.2.0/24", STRANGER, ALICE)

    async def both() -> None:
        await asyncio.gather(*[ground.memory.note(triplet, Decision("new", DELAY), 1.0) for _ in range(2)])

    ground.run(both())
    assert len(ground.run(ground.ctx.db.read(TRIPLETS.select()))) == 1


def test_mail_of_the_known_is_written_down_once_an_hour() -> None:
    ground = Ground()
    ground.rcpt()
    ground.clock.advance(300)
    ground.rcpt()

    def passes() -> int:
        [row] = ground.run(ground.ctx.db.read(TRIPLETS.select()))
        return int(row.passes)

    for _ in range(3):
        assert ground.rcpt() is None
    assert passes() == 1
    ground.clock.advance(3601)
    assert ground.rcpt() is None
    assert passes() == 2
