"""Each restriction: what it refuses with which code, what it lets through, and what DNS without an answer means."""

import asyncio
from typing import Any

import pytest

import mta_restrict
from mta.model.address import Address
from mta.model.directory import Domain
from mta.testing.plugins import FakeDns, FakeSession, FakeTransaction, RecordingLog, host_with
from mta_hooks.services import DnsError

RECORDS: dict[tuple[str, str], Any] = {
    ("ptr", "192.0.2.1"): ["mail.good.org."],
    ("a", "mail.good.org."): ["192.0.2.1"],
    ("a", "mail.good.org"): ["192.0.2.1"],
    ("ptr", "192.0.2.2"): ["mail.good.org."],
    ("mx", "good.org"): [(10, "mail.good.org")],
    ("a", "address.org"): ["192.0.2.7"],
    ("mx", "null.org"): [(0, "")],
    ("mx", "slow.org"): DnsError("timeout"),
    ("a", "slow.org"): DnsError("timeout"),
    ("ptr", "192.0.2.3"): DnsError("timeout"),
}


def ask(reject: list[str] | None = None, *, sender: str | None = "a@good.org", recipient: str = "b@ours.org", log: RecordingLog | None = None, dns: FakeDns | None = None, session: FakeSession | None = None, **config: Any) -> Any:  # fmt: skip
    section = {**config, **({} if reject is None else {"reject": reject})}
    host = host_with(mta_restrict, config=section, dns=dns or FakeDns(RECORDS), log=log or RecordingLog())

    async def domain(name: str) -> Domain | None:
        return Domain(name) if name in ("ours.org", "short") else None

    host.services.domain = domain
    assert host.smtp_rcpt is not None
    transaction = FakeTransaction(sender=None if sender is None else Address.parse(sender))
    local, _, name = recipient.partition("@")
    decision = asyncio.run(host.smtp_rcpt.verdict(session=session or FakeSession(helo="mail.good.org"), transaction=transaction, recipient=Address(local, name), params={}))  # fmt: skip
    return None if decision.verdict is None else (decision.verdict.code, decision.verdict.enhanced)


def test_a_good_client_passes_everything() -> None:
    every = ["unknown_reverse_client", "unknown_client", "invalid_helo", "non_fqdn_helo", "own_helo", "unknown_helo", "non_fqdn_sender", "unknown_sender_domain", "non_fqdn_recipient", "unknown_recipient_domain"]  # fmt: skip
    assert ask(every) is None
    assert ask() is None


@pytest.mark.parametrize(
    ("name", "client", "said"),
    [
        ("unknown_reverse_client", "192.0.2.9", (450, "4.7.25")),
        ("unknown_reverse_client", "192.0.2.2", None),
        ("unknown_reverse_client", "192.0.2.3", (450, "4.7.1")),
        ("unknown_client", "192.0.2.2", (450, "4.7.25")),
        ("unknown_client", "192.0.2.9", (450, "4.7.25")),
        ("unknown_client", "10.0.0.1", None),
        ("unknown_client", "", None),
    ],
)
def test_clients(name: str, client: str, said: Any) -> None:
    assert ask([name], session=FakeSession(client_ip=client)) == said


@pytest.mark.parametrize(
    ("name", "helo", "said"),
    [
        ("invalid_helo", "bad name", (501, "5.5.2")),
        ("invalid_helo", "-x.org", (501, "5.5.2")),
        ("invalid_helo", "[192.0.2.300]", (501, "5.5.2")),
        ("invalid_helo", "[192.0.2.3]", None),
        ("invalid_helo", "[IPv6:2001:db8::1]", None),
        ("invalid_helo", "short", None),
        ("non_fqdn_helo", "short", (504, "5.5.2")),
        ("non_fqdn_helo", "192.0.2.1", (504, "5.5.2")),
        ("non_fqdn_helo", "host_x.example.org.", None),
        ("own_helo", "MX.example.test", (550, "5.7.1")),
        ("own_helo", "[192.0.2.25]", (550, "5.7.1")),
        ("own_helo", "mail.good.org", None),
        ("unknown_helo", "nowhere.org", (450, "4.7.1")),
        ("unknown_helo", "good.org", None),
    ],
)
def test_greetings(name: str, helo: str, said: Any) -> None:
    assert ask([name], session=FakeSession(helo=helo)) == said
    assert ask([name], session=FakeSession(helo=helo, user="x@ours.org")) is None


@pytest.mark.parametrize(
    ("name", "sender", "said"),
    [
        ("non_fqdn_sender", "a@host", (504, "5.5.2")),
        ("non_fqdn_sender", None, None),
        ("unknown_sender_domain", "a@nowhere.org", (550, "5.1.8")),
        ("unknown_sender_domain", "a@null.org", (550, "5.7.27")),
        ("unknown_sender_domain", "a@slow.org", (450, "4.1.8")),
        ("unknown_sender_domain", "a@address.org", None),
        ("unknown_sender_domain", "a@ours.org", None),
        ("unknown_sender_domain", "a@[192.0.2.1]", None),
    ],
)
def test_senders(name: str, sender: str | None, said: Any) -> None:
    assert ask([name], sender=sender) == said


@pytest.mark.parametrize(
    ("name", "recipient", "said"),
    [
        ("non_fqdn_recipient", "a@host", (504, "5.5.2")),
        ("non_fqdn_recipient", "a@short", None),
        ("non_fqdn_recipient", "postmaster@", None),
        ("unknown_recipient_domain", "a@nowhere.org", (550, "5.1.2")),
        ("unknown_recipient_domain", "a@null.org", (556, "5.1.10")),
        ("unknown_recipient_domain", "a@slow.org", (450, "4.1.2")),
        ("unknown_recipient_domain", "a@ours.org", None),
    ],
)
def test_recipients(name: str, recipient: str, said: Any) -> None:
    assert ask([name], recipient=recipient, session=FakeSession(user="x@ours.org", protocol="submission")) == said


def test_exemptions_and_warnings() -> None:
    assert ask(sender="a@nowhere.org") == (550, "5.1.8")
    assert ask(sender="a@nowhere.org", exempt=["192.0.2.0/24"]) is None
    assert ask(sender="a@nowhere.org", exempt_senders=["nowhere.org"]) is None
    log = RecordingLog()
    assert ask(sender="a@nowhere.org", warn_only=["unknown_sender_domain"], log=log) is None
    assert log.named("restrict.warned")[0]["restriction"] == "unknown_sender_domain"


def test_one_look_for_each_transaction() -> None:
    dns = FakeDns(RECORDS)
    host = host_with(mta_restrict, config={"reject": ["unknown_sender_domain"]}, dns=dns)

    async def run() -> None:
        async def nobody(_name: str) -> None:
            return None

        host.services.domain = nobody
        transaction = FakeTransaction(sender=Address("a", "good.org"))
        assert host.smtp_rcpt is not None
        for _ in range(3):
            await host.smtp_rcpt.verdict(session=FakeSession(), transaction=transaction, recipient=Address("b", "x.org"), params={})

    asyncio.run(run())
    assert dns.asked == [("mx", "good.org")]
