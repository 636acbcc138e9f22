"""Block lists through the hooks, over a fake resolver."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

import mta_dnsbl
from mta.model.address import Address
from mta.model.verdict import Action, Verdict
from mta.pluginhost.host import Decision, HookHost
from mta.testing.plugins import FakeDns, FakeMessage, FakeSession, FakeTransaction, host_with
from mta_dnsbl.config import DnsblConfig
from mta_hooks.services import DnsError

ONE = {"zone": "one.test", "score": 3}
TWO = {"zone": "two.test", "codes": {"127.0.0.2": 5, "127.0.0.4": 1.5}}
HARD = {"zone": "hard.test", "reject": True}
BOB = Address("bob", "example.test")


def host(records: Mapping[str, Any], lists: list[dict[str, Any]], **config: Any) -> HookHost:
    dns = FakeDns({("a", name): answer for name, answer in records.items()})
    return host_with(mta_dnsbl, config={"lists": lists, **config}, dns=dns)


def asked(made: HookHost) -> list[str]:
    return [name for _, name in made.services.dns.asked]  # type: ignore[attr-defined]


async def check(made: HookHost, session: FakeSession) -> Decision:
    plan = made.message_check
    assert plan is not None
    return await plan.verdict(session=session, message=FakeMessage(), recipients=(), results=())


async def rcpt(made: HookHost, session: FakeSession, recipient: Address = BOB) -> Verdict | None:
    plan = made.smtp_rcpt
    assert plan is not None
    return (await plan.verdict(session=session, transaction=FakeTransaction(), recipient=recipient, params={})).verdict


def score(records: Mapping[str, Any], lists: list[dict[str, Any]], **session: Any) -> float:
    return asyncio.run(check(host(records, lists), FakeSession(client_ip="203.0.113.9", **session))).score


def test_scores_add_up_and_say_why() -> None:
    made = host({"9.113.0.203.one.test": ["127.0.0.2"], "9.113.0.203.two.test": ["127.0.0.4"]}, [ONE, TWO])
    decision = asyncio.run(check(made, FakeSession(client_ip="203.0.113.9")))
    assert (decision.verdict, decision.score) == (None, 4.5)
    assert decision.steps[0]["verdict"]["reason"] == "one.test (127.0.0.2), two.test (127.0.0.4)"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], 0),
        (["127.0.0.2"], 5),
        (["127.0.0.2", "127.0.0.4"], 6.5),
        (["127.0.0.2", "127.0.0.99"], 5),
        (["127.0.0.99"], 0),
        (["192.0.2.1"], 0),
        (["garbage"], 0),
        (["127.0.0.2", "127.255.255.254"], 0),
        (DnsError("timed out"), 0),
        (RuntimeError("a bug of the resolver"), 0),
    ],
)
def test_answers(answers: Any, expected: float) -> None:
    assert score({"9.113.0.203.two.test": answers}, [TWO]) == expected


def test_without_codes_every_answer_counts_once() -> None:
    assert score({"9.113.0.203.one.test": ["127.0.0.2", "127.0.0.77"]}, [ONE]) == 3
    assert score({"9.113.0.203.good.test": ["127.0.0.2"]}, [{"zone": "good.test", "score": -2}]) == -2


def test_a_list_that_fails_takes_nothing_from_the_others() -> None:
    assert score({"9.113.0.203.one.test": ["127.0.0.2"], "9.113.0.203.two.test": DnsError("away")}, [TWO, ONE]) == 3


def test_ipv6_is_asked_by_nibbles_and_mapped_addresses_as_ipv4() -> None:
    made = host({}, [ONE])
    asyncio.run(check(made, FakeSession(client_ip="2001:db8::1")))
    asyncio.run(check(made, FakeSession(client_ip="::ffff:203.0.113.9")))
    assert asked(made) == ["1" + ".0" * 23 + ".8.b.d.0.1.0.0.2.one.test", "9.113.0.203.one.test"]


@pytest.mark.parametrize(
    "session",
    [
        {"client_ip": "127.0.0.1"},
        {"client_ip": "10.1.2.3"},
        {"client_ip": "192.168.1.1"},
        {"client_ip": "172.31.255.255"},
        {"client_ip": "::1"},
        {"client_ip": "fe80::1%eth0"},
        {"client_ip": "fd00::1"},
        {"client_ip": "::ffff:10.0.0.1"},
        {"client_ip": ""},
        {"client_ip": "198.51.100.7"},
        {"client_ip": "203.0.113.9", "user": "alice@example.test"},
        {"client_ip": "203.0.113.9", "protocol": "submission"},
        {"client_ip": "203.0.113.9", "protocol": "lmtp"},
    ],
)
def test_who_is_not_asked_for(session: dict[str, Any]) -> None:
    made = host({}, [ONE], exempt=["198.51.100.0/24"])
    assert asyncio.run(check(made, FakeSession(**session))).score == 0
    assert asked(made) == []


def test_lists_are_asked_together_once_a_session_and_early() -> None:
    class SlowDns(FakeDns):
        running = most = 0

        async def a(self, name: str) -> list[str]:
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            self.running -= 1
            return await super().a(name)

    dns = SlowDns({("a", "9.113.0.203.one.test"): ["127.0.0.2"]})
    made = host_with(mta_dnsbl, config={"lists": [ONE, TWO, HARD]}, dns=dns)

    async def run() -> None:
        session = FakeSession(client_ip="203.0.113.9")
        mail = made.smtp_mail
        assert mail is not None
        await mail.verdict(session=session, transaction=FakeTransaction(), sender=None, params={})
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(dns.asked) == 3
        assert dns.most == 3
        for _ in range(3):
            assert await rcpt(made, session) is None
            assert (await check(made, session)).score == 3
        assert len(dns.asked) == 3
        assert (await check(made, FakeSession(client_ip="203.0.113.9"))).score == 3
        assert len(dns.asked) == 6

    asyncio.run(run())


def test_reject_refuses_at_rcpt_but_not_postmaster() -> None:
    made = host({"9.113.0.203.hard.test": ["127.0.0.2"]}, [ONE, HARD])

    async def run() -> None:
        session = FakeSession(client_ip="203.0.113.9")
        verdict = await rcpt(made, session)
        assert verdict is not None
        assert (verdict.action, verdict.code, verdict.enhanced) == (Action.REJECT, 554, "5.7.1")
        assert verdict.text == "203.0.113.9 is listed by hard.test"
        assert await rcpt(made, session, Address("Postmaster", "example.test")) is None

    asyncio.run(run())


def test_a_list_that_only_scores_does_not_refuse() -> None:
    made = host({"9.113.0.203.one.test": ["127.0.0.2"]}, [ONE, HARD])
    assert asyncio.run(rcpt(made, FakeSession(client_ip="203.0.113.9"))) is None


def test_a_hook_that_is_cancelled_takes_the_answers_from_nobody() -> None:
    gate = asyncio.Event()

    class GatedDns(FakeDns):
        async def a(self, name: str) -> list[str]:
            await gate.wait()
            return ["127.0.0.2"]

    made = host_with(mta_dnsbl, config={"lists": [ONE]}, dns=GatedDns())

    async def run() -> None:
        session = FakeSession(client_ip="203.0.113.9")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(check(made, session), 0.01)
        gate.set()
        assert (await check(made, session)).score == 3

    asyncio.run(run())


def test_after_authentication_nobody_is_judged() -> None:
    made = host({"9.113.0.203.hard.test": ["127.0.0.2"]}, [HARD])

    async def run() -> None:
        session = FakeSession(client_ip="203.0.113.9")
        assert await rcpt(made, session) is not None
        session.user = "alice@example.test"
        assert await rcpt(made, session) is None
        assert (await check(made, session)).score == 0

    asyncio.run(run())


def test_config_is_checked() -> None:
    assert DnsblConfig.model_validate({"lists": [{"zone": "Zen.Example.ORG."}]}).lists[0].zone == "zen.example.org"
    for wrong in ({"lists": [{"zone": "a b"}]}, {"lists": [{"zone": "a.test", "codes": {"x": 1}}]}, {"exempt": ["10.0.0.0/99"]}):
        with pytest.raises(ValidationError):
            DnsblConfig.model_validate(wrong)
