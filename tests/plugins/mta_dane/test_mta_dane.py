"""The plugin on fakes: whom it speaks of, and that it says when it can protect nobody."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

import mta_dane
from mta.model.errors import TemporaryFailure
from mta.model.tls import Tlsa, TlsPolicy
from mta.testing.plugins import FakeDns, RecordingLog, host_with
from mta_hooks.services import DnsError, Validated

RECORD = Tlsa(3, 1, 1, bytes(32))


def signed(*records, name="mx.dest.test", secure=True):
    return Validated(records, secure, name)


def records(**changed):
    found = {
        ("mx", "dest.test"): signed((10, "mx.dest.test"), name="dest.test"),
        ("a", "mx.dest.test"): signed("192.0.2.1"),
        ("aaaa", "mx.dest.test"): signed(),
        ("tlsa", "_25._tcp.mx.dest.test"): signed(RECORD),
    }
    return found | {tuple(key.split("_", 1)): value for key, value in changed.items()}


def ask(found, domain="dest.test", mx="mx.dest.test"):
    dns = FakeDns(found)
    host = host_with(mta_dane, dns=dns)
    return asyncio.run(host.tls_policy.first(domain=domain, mx=mx)), dns.asked


def test_a_signed_record_decides():
    policy, _ = ask(records())
    assert policy == TlsPolicy(
        "dane", (RECORD,), "mx.dest.test", ("dest.test",), source="tlsa", policy=(str(RECORD),), mx=("mx.dest.test",)
    )


def test_a_host_that_the_operator_names_is_judged_by_its_own_zone():
    found = records() | {("mx", "dest.test"): signed((10, "other.test"), secure=False)}
    assert ask(found)[0].level == "dane"


def test_records_that_are_not_signed_say_nothing():
    found = records() | {("tlsa", "_25._tcp.mx.dest.test"): signed(RECORD, secure=False)}
    assert ask(found)[0] is None


def test_servers_of_zones_that_are_not_signed_are_not_asked():
    found = records() | {("a", "mx.dest.test"): signed("192.0.2.1", secure=False)}
    policy, asked = ask(found)
    assert policy is None
    assert ("tlsa", "_25._tcp.mx.dest.test") not in asked


def test_one_family_that_cannot_be_had_is_no_matter():
    assert ask(records() | {("aaaa", "mx.dest.test"): DnsError("servfail")})[0].level == "dane"


@pytest.mark.parametrize("which", [("mx", "dest.test"), ("a", "mx.dest.test")])
def test_what_dns_does_not_say_is_not_known(which):
    found = records() | {which: DnsError("servfail"), ("aaaa", "mx.dest.test"): DnsError("servfail")}
    with pytest.raises(TemporaryFailure):
        ask(found)


@pytest.mark.parametrize(("domain", "mx"), [("[192.0.2.1]", "[192.0.2.1]"), ("dest.test", "[192.0.2.1]")])
def test_addresses_have_no_names(domain, mx):
    assert ask(records(), domain, mx) == (None, [])


def test_without_a_validating_resolver_it_says_that_it_protects_nobody():
    log, dns = RecordingLog(), FakeDns()
    dns.validating = False
    host = host_with(mta_dane, dns=dns, log=log)
    asyncio.run(host.startup.all(server=None))
    assert len(log.named("dane.not_validating")) == 1
    [(_, health)] = asyncio.run(host.health_check.all())
    assert health.state == "degraded"
