"""The plugin through its hooks, over fakes."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

import mta_spf
from mta.model.address import Address
from mta.model.verdict import Verdict
from mta.pipeline.results import build_results
from mta.pluginhost.host import Decision, HookHost
from mta.testing.plugins import FakeDns, FakeMessage, FakeSession, FakeTransaction, host_with
from mta_hooks import AuthResult
from mta_hooks.services import DnsError
from mta_spf.config import SpfConfig

BOB = Address("bob", "b.example")
RECIPIENT = Address("alice", "example.test")
RECORDS: Mapping[tuple[str, str], Any] = {
    ("txt", "b.example"): [b"other", b"v=spf1 ip4:192.0.2.1 ip6:2001:db8::/32 -all exp=why.b.example"],
    ("txt", "why.b.example"): [b"%{i} is not one of ours"],
    ("txt", "mx.b.example"): [b"v=spf1 a ~all"],
    ("txt", "broken.example"): [b"v=spf1 moo"],
    ("txt", "away.example"): DnsError("timed out"),
    ("a", "mx.b.example"): ["192.0.2.1"],
}


def host(records: Mapping[tuple[str, str], Any] = RECORDS, **config: Any) -> HookHost:
    return host_with(mta_spf, config=config, dns=FakeDns(records))


def asked(made: HookHost) -> list[tuple[str, str]]:
    dns: FakeDns = made.services.dns  # type: ignore[assignment]
    return dns.asked


async def mail(made: HookHost, session: FakeSession, sender: Address | None) -> None:
    plan = made.smtp_mail
    assert plan is not None
    await plan.verdict(session=session, transaction=FakeTransaction(sender=sender), sender=sender, params={})


async def rcpt(made: HookHost, session: FakeSession, sender: Address | None, recipient: Address = RECIPIENT) -> Verdict | None:
    plan = made.smtp_rcpt
    assert plan is not None
    transaction = FakeTransaction(sender=sender)
    return (await plan.verdict(session=session, transaction=transaction, recipient=recipient, params={})).verdict


async def authenticate(made: HookHost, session: FakeSession, sender: Address | None) -> AuthResult | None:
    plan = made.message_authenticate
    assert plan is not None
    answers = await plan.all(session=session, message=FakeMessage(sender=sender))
    return answers[0][1] if answers else None


async def judge(made: HookHost, results: Sequence[AuthResult]) -> Decision:
    plan = made.message_check
    assert plan is not None
    return await plan.verdict(session=FakeSession(), message=FakeMessage(), recipients=(), results=results)


def result(made: HookHost, sender: Address | None = BOB, **session: Any) -> AuthResult | None:
    return asyncio.run(authenticate(made, FakeSession(**session), sender))


@pytest.mark.parametrize(
    ("client", "sender", "expected"),
    [
        ("192.0.2.1", BOB, "spf=pass smtp.mailfrom=bob@b.example"),
        ("2001:db8::7%eth0", BOB, "spf=pass smtp.mailfrom=bob@b.example"),
        ("::ffff:192.0.2.1", BOB, "spf=pass smtp.mailfrom=bob@b.example"),
        ("192.0.2.9", BOB, "spf=fail smtp.mailfrom=bob@b.example"),
        ("192.0.2.1", None, "spf=pass smtp.helo=mx.b.example"),
        ("192.0.2.9", None, "spf=softfail smtp.helo=mx.b.example"),
        ("192.0.2.9", Address("a b", "none.example"), 'spf=none smtp.mailfrom="\\"a b\\"@none.example"'),
        ("192.0.2.9", Address("bob", "[192.0.2.9]"), 'spf=none smtp.mailfrom="bob@[192.0.2.9]"'),
        (
            "192.0.2.9",
            Address("bob", "broken.example"),
            'spf=permerror reason="broken.example: unknown mechanism: moo" smtp.mailfrom=bob@broken.example',
        ),
        (
            "192.0.2.9",
            Address("bob", "away.example"),
            'spf=temperror reason="DNS does not answer for away.example" smtp.mailfrom=bob@away.example',
        ),
    ],
)
def test_the_result_as_a_field(client: str, sender: Address | None, expected: str) -> None:
    found = result(host(), sender, client_ip=client, helo="mx.b.example")
    assert found is not None
    assert build_results("mx.example.test", [found]).decode() == f"Authentication-Results: mx.example.test;\r\n\t{expected}\r\n"


def test_the_deciding_mechanism_is_told() -> None:
    found = result(host())
    assert found is not None
    assert found.notes == {"mechanism": "ip4:192.0.2.1"}


@pytest.mark.parametrize(
    "session",
    [
        {"user": "bob@b.example"}, {"protocol": "submission"}, {"protocol": "lmtp"}, {"protocol": "local", "client_ip": ""},
        {"client_ip": ""}, {"client_ip": "127.0.0.1"}, {"client_ip": "::1"}, {"client_ip": "10.1.2.3"}, {"client_ip": "fe80::1%eth0"},
        {"client_ip": "fd00::1"}, {"client_ip": "::ffff:192.168.1.1"}, {"client_ip": "198.51.100.7"},
    ],
)  # fmt: skip
def test_not_checked(session: dict[str, Any]) -> None:
    made = host(exempt=["198.51.100.0/24"], reject_fail=True)

    async def run() -> None:
        seen = FakeSession(**session)
        await mail(made, seen, BOB)
        assert await rcpt(made, seen, BOB) is None
        assert await authenticate(made, seen, BOB) is None

    asyncio.run(run())
    assert asked(made) == []


@pytest.mark.parametrize(
    "helo", ["", "localhost", "[192.0.2.9]", "192.0.2.9", "a..b", "x" * 64 + ".example", "-a.example", "é" * 80]
)
def test_a_helo_that_can_have_no_policy(helo: str) -> None:
    made = host()
    found = result(made, None, helo=helo)
    assert found is not None
    assert found.result == "none"
    assert asked(made) == []


def test_names_of_other_scripts_are_asked_for_as_a_labels() -> None:
    made = host({("txt", "xn--bcher-kva.example"): [b"v=spf1 -all"]})
    found = result(made, None, helo="Bücher.example.")
    assert found is not None
    assert found.result == "fail"


def test_a_local_part_of_other_scripts_matches_no_macro() -> None:
    made = host({("txt", "b.example"): [b"v=spf1 exists:%{l}.b.example -all"], ("a", "jürgen.b.example"): ["127.0.0.2"]})
    found = result(made, Address("jürgen", "b.example"))
    assert found is not None
    assert found.result == "fail"  # RFC 8616 §4


def test_a_fail_is_refused_with_its_explanation() -> None:
    made = host(reject_fail=True)
    verdict = asyncio.run(rcpt(made, FakeSession(client_ip="192.0.2.9"), BOB))
    assert verdict is not None
    assert (verdict.code, verdict.enhanced, verdict.reason) == (550, "5.7.23", "spf fail by -all")
    assert verdict.text == (
        "SPF: 192.0.2.9 may not send mail for b.example\nThe domain b.example explains: 192.0.2.9 is not one of ours"
    )


def test_an_explanation_breaks_no_line() -> None:
    records = {("txt", "b.example"): [b"v=spf1 -all exp=e.b.example"], ("txt", "e.b.example"): [b"%{h}" * 200]}
    session = FakeSession(client_ip="192.0.2.9", helo="a\r\n250 ok\x00")
    verdict = asyncio.run(rcpt(host(records, reject_fail=True), session, BOB))
    assert verdict is not None
    lines = verdict.reply().encode().split(b"\r\n")
    assert [line[:3] for line in lines] == [b"550"] * (len(lines) - 1) + [b""]
    assert max(map(len, lines)) <= 510


@pytest.mark.parametrize(
    ("config", "client", "sender", "recipient"),
    [
        ({}, "192.0.2.9", BOB, RECIPIENT),
        ({"reject_fail": True}, "192.0.2.9", BOB, Address("Postmaster", "example.test")),
        ({"reject_fail": True}, "192.0.2.1", BOB, RECIPIENT),
        ({"reject_fail": True}, "192.0.2.9", None, RECIPIENT),
        ({"reject_fail": True}, "192.0.2.9", Address("bob", "away.example"), RECIPIENT),
        ({"reject_fail": True}, "192.0.2.9", Address("bob", "broken.example"), RECIPIENT),
    ],
)
def test_all_else_is_let_through(config: dict[str, Any], client: str, sender: Address | None, recipient: Address) -> None:
    session = FakeSession(client_ip=client, helo="mx.b.example")
    assert asyncio.run(rcpt(host(**config), session, sender, recipient)) is None


@pytest.mark.parametrize(
    ("config", "outcome", "expected"),
    [
        ({}, "fail", 3.0),
        ({}, "softfail", 1.0),
        ({}, "pass", 0.0),
        ({}, "permerror", 0.0),
        ({"scores": {"permerror": 0.5, "pass": -1}}, "permerror", 0.5),
        ({"scores": {"permerror": 0.5, "pass": -1}}, "pass", -1.0),
        ({"scores": {"permerror": 0.5, "pass": -1}}, "fail", 0.0),
    ],
)
def test_scores(config: dict[str, Any], outcome: str, expected: float) -> None:
    decision = asyncio.run(judge(host(**config), [AuthResult("dkim", "fail"), AuthResult("spf", outcome)]))
    assert (decision.score, decision.verdict) == (expected, None)
    assert asyncio.run(judge(host(**config), [])).score == 0


def test_config_is_checked() -> None:
    for wrong in ({"scores": {"failed": 1}}, {"exempt": ["nowhere"]}, {"reject": True}):
        with pytest.raises(ValidationError):
            SpfConfig.model_validate(wrong)


def test_one_check_serves_a_connection() -> None:
    made = host(reject_fail=True)

    async def run() -> None:
        session = FakeSession(client_ip="192.0.2.1")
        for _ in range(3):
            await mail(made, session, BOB)
            await rcpt(made, session, BOB)
            await authenticate(made, session, BOB)
        assert len(asked(made)) == 1
        session.helo = "other.example"
        await authenticate(made, session, BOB)
        assert len(asked(made)) == 2
        for _ in range(2):  # nothing came of it: asked again
            await authenticate(made, session, Address("bob", "away.example"))
        assert len(asked(made)) == 4

    asyncio.run(run())


class SlowDns(FakeDns):
    """Answers when ``go`` is set."""

    def __init__(self, records: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(records)
        self.go = asyncio.Event()
        self.waiting = 0

    async def txt(self, name: str) -> list[bytes]:
        self.waiting += 1
        try:
            await self.go.wait()
        finally:
            self.waiting -= 1
        return await super().txt(name)


def test_a_client_has_one_check_at_a_time() -> None:
    async def run() -> None:
        dns = SlowDns(RECORDS)
        made = host_with(mta_spf, dns=dns)
        session = FakeSession()
        for n in range(50):
            await mail(made, session, Address("bob", f"n{n}.example"))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert dns.waiting <= 1
        await mail(made, session, BOB)
        dns.go.set()
        found = await authenticate(made, session, BOB)
        assert found is not None
        assert found.result == "pass"

    asyncio.run(run())


def test_a_hook_that_gives_up_leaves_the_check_to_the_others() -> None:
    async def run() -> None:
        dns = SlowDns(RECORDS)
        made = host_with(mta_spf, dns=dns)
        session = FakeSession()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(authenticate(made, session, BOB), 0.01)
        dns.go.set()
        found = await authenticate(made, session, BOB)
        assert found is not None
        assert found.result == "pass"

    asyncio.run(run())


def test_a_bug_of_the_resolver_is_told_to_those_who_ask_and_to_no_others() -> None:
    complaints: list[Any] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        made = host_with(mta_spf, dns=FakeDns({("txt", "b.example"): RuntimeError("bug")}), strict=False)
        session = FakeSession()
        await mail(made, session, BOB)
        await asyncio.sleep(0)
        assert await authenticate(made, session, BOB) is None
        session.notes.clear()  # the client has gone

    asyncio.run(run())
    assert complaints == []
