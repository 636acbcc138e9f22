"""Order of hosts, from DNS answers."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta.model.delivery import Route
from mta.outbound.hosts import MAX_ADDRESSES, Destination, NoHost, hosts
from mta.testing.plugins import FakeDns
from mta_hooks.services import DnsError

MX = Route("smtp")


def ask(records, route=MX, domain="dest.test", hostname="mx.here.test"):
    async def main():
        found = hosts(FakeDns(records), Destination.of(route, domain), hostname, 25)
        return [(h.name, h.address, h.port) async for group in found for h in group]

    return asyncio.run(main())


def test_preference_decides_and_equal_ones_take_turns():
    records = {
        ("mx", "dest.test"): [(20, "c.test"), (10, "a.test"), (10, "b.test")],
        **{("a", f"{n}.test"): [f"192.0.2.{i}"] for i, n in enumerate("abc", 1)},
    }
    orders = {tuple(name for name, _, _ in ask(records)) for _ in range(60)}
    assert orders == {("a.test", "b.test", "c.test"), ("b.test", "a.test", "c.test")}


def test_both_families_in_turn_and_not_too_many():
    records = {
        ("aaaa", "dest.test"): ["2001:db8::1", "2001:db8::2"],
        ("a", "dest.test"): [f"192.0.2.{n}" for n in range(9)],
    }
    found = [address for _, address, _ in ask(records)]
    assert len(found) == MAX_ADDRESSES
    assert [":" in address for address in found[:4]] == [True, False, True, False]


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (Route("smtp", "192.0.2.9", 2525), ("192.0.2.9", "192.0.2.9", 2525)),
        (Route("smtp", "hop.test"), ("hop.test", "192.0.2.5", 25)),
        (Route("smtp", "hop.test", tls="implicit"), ("hop.test", "192.0.2.5", 465)),
        (Route("lmtp", "hop.test"), ("hop.test", "192.0.2.5", 24)),
        (Route("lmtp", path="/run/x"), ("localhost", "", 0)),
    ],
)
def test_given_hosts_are_not_asked_for_mx(route, expected):
    records = {("a", "hop.test"): ["192.0.2.5"], ("mx", "hop.test"): [(10, "other.test")]}
    assert ask(records, route) == [expected]


def test_address_literals_and_localhost():
    assert ask({}, domain="[192.0.2.7]") == [("[192.0.2.7]", "192.0.2.7", 25)]
    assert ask({}, domain="[ipv6:2001:db8::7]")[0][1] == "2001:db8::7"
    assert [a for _, a, _ in ask({}, Route("smtp", "localhost"))] == ["127.0.0.1", "::1"]
    with pytest.raises(NoHost):
        ask({}, domain="[nonsense]")


@pytest.mark.parametrize(
    ("records", "status", "permanent"),
    [
        ({("mx", "dest.test"): [(0, "")]}, "5.1.10", True),
        ({}, "5.1.2", True),
        ({("mx", "dest.test"): [(10, "gone.test")]}, "5.1.2", True),
        ({("mx", "dest.test"): [(10, "mx.here.test")]}, "5.4.6", True),
        ({("mx", "dest.test"): DnsError("away")}, "4.4.3", False),
        ({("mx", "dest.test"): [(10, "a.test")], ("a", "a.test"): DnsError("away")}, "4.4.3", False),
        ({("mx", "dest.test"): [(10, "a.test")], ("aaaa", "a.test"): DnsError("away")}, "4.4.3", False),
    ],
)
def test_nobody(records, status, permanent):
    with pytest.raises(NoHost) as failure:
        ask(records)
    assert str(failure.value).split()[1] == status
    assert failure.value.permanent is permanent


def test_one_family_or_host_without_answer_does_not_hide_the_others():
    records = {
        ("mx", "dest.test"): [(10, "a.test"), (20, "b.test")],
        ("a", "a.test"): DnsError("away"),
        ("aaaa", "a.test"): DnsError("away"),
        ("aaaa", "b.test"): DnsError("away"),
        ("a", "b.test"): ["192.0.2.2"],
    }
    assert ask(records) == [("b.test", "192.0.2.2", 25)]


def test_a_destination_names_what_connections_are_kept_for():
    assert Destination.of(MX, "a.test") != Destination.of(MX, "b.test")
    smart = Route("smtp", "smart.test", 25, credentials=("us", "secret"))
    assert Destination.of(smart, "a.test") == Destination.of(smart, "b.test")
    assert "secret" not in str(Destination.of(smart, "a.test"))
    assert "secret" not in repr(Destination.of(smart, "a.test"))
