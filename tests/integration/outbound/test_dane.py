"""DANE from end to end: a DNS server that says what is signed, real TLS servers, the plugin, the queue (RFC 7672)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import mta_dane
from mta_hooks import hookimpl

ZONES = """
dest.test      MX 10 mx1.dest.test.
mx1.dest.test  A  127.0.0.2
"""


class Authority:
    """Of its own, that nobody trusts: what DANE is for."""

    def __init__(self, *names):
        self.ca = trustme.CA()
        self.leaf = self.ca.issue_cert(*names)

    @property
    def context(self):
        """Shows the server's certificate alone; ``whole_chain`` the authority's with it."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with self.leaf.private_key_and_cert_chain_pem.tempfile() as key:
            made.load_cert_chain(key)
        return made

    @property
    def whole_chain(self):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem = trustme.Blob(self.leaf.private_key_and_cert_chain_pem.bytes() + self.ca.cert_pem.bytes())
        with pem.tempfile() as key:
            made.load_cert_chain(key)
        return made

    def tlsa(self, usage, selector, matching):
        pem = self.ca.cert_pem if usage == 2 else self.leaf.cert_chain_pems[0]
        return record(pem.bytes(), usage, selector, matching)


def record(pem, usage, selector, matching):
    certificate = x509.load_pem_x509_certificate(pem)
    if selector == 0:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = {0: octets, 1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}[matching]
    return f"{usage} {selector} {matching} {digest.hex()}"


def exchange(relay, sink, *, tls, tlsa, prepare=None, zones=ZONES, signed=("dest.test",), plugins=(), **config):
    """Send one message; return (taken under TLS or None, last reply, TLS results)."""
    results = []

    @hookimpl
    def tls_result(result):
        results.append(result)

    async def main():
        dns = {"validating": True}
        async with relay(zones, plugins=[tls_result], dns=dns, **config) as r, sink(r, "127.0.0.2", tls=tls) as hop:
            for place, plugin in enumerate((mta_dane, *plugins)):
                made = r.hooks.make(plugin.__name__.removeprefix("mta_"), plugin, "package", place)
                r.hooks.change(add=[made])
            r.dns.sign(*signed)
            if tlsa:
                r.dns.set("_25._tcp.mx1.dest.test", TLSA=tlsa)
            if prepare is not None:
                prepare(r.dns, hop)
            await r.queue("x@dest.test")
            rows = await r.settled()
            await asyncio.sleep(0)
            secure = hop.messages[0].secure if hop.messages else None
            return secure, rows[0].last_reply if rows else "", results

    return asyncio.run(main())


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("usage", [2, 3])
def test_every_usable_kind_of_record(relay, sink, usage, selector, matching):
    names = (
        ("mx1.dest.test",) if usage == 2 else ("wrong.test",)
    )  # RFC 7672 §3.1.1: the name in a DANE-EE certificate does not matter
    authority = Authority(*names)
    wrong = f"{usage} {selector} 1 {'00' * 32}"
    secure, reply, results = exchange(
        relay, sink, tls=authority.whole_chain, tlsa=[wrong, authority.tlsa(usage, selector, matching)]
    )
    assert (secure, reply) == (True, "")
    assert [(one.failure, one.policy.source, one.mx) for one in results] == [("", "tlsa", "mx1.dest.test")]


@pytest.mark.parametrize("selector", [0, 1])
def test_an_anchor_that_is_only_in_the_record(relay, sink, selector):
    """RFC 7671 §5.2.2, §5.2.3: TLSA 2 0 0 and 2 1 0, the server sends its own certificate only."""
    authority = Authority("mx1.dest.test")
    assert exchange(relay, sink, tls=authority.context, tlsa=[authority.tlsa(2, selector, 0)])[:2] == (True, "")


def test_the_name_of_the_domain_is_good_as_well(relay, sink):
    authority = Authority("dest.test")  # RFC 7672 §3.2.2
    assert exchange(relay, sink, tls=authority.whole_chain, tlsa=[authority.tlsa(2, 0, 1)])[:2] == (True, "")


@pytest.mark.parametrize("usage", [2, 3])
def test_another_certificate_is_not_taken_and_mail_waits(relay, sink, usage):
    """TLS downgrade: somebody in the middle with a certificate of his own."""
    good, evil = Authority("mx1.dest.test"), Authority("mx1.dest.test")
    secure, reply, results = exchange(relay, sink, tls=evil.whole_chain, tlsa=[good.tlsa(usage, 1, 1)])
    assert secure is None
    assert reply.startswith("451 4.4.1 ")
    assert "TLSA record" in reply
    assert [one.failure for one in results] == ["validation-failure"]


def test_starttls_stripped_by_somebody_is_no_reason_for_cleartext(relay, sink):
    authority = Authority("mx1.dest.test")
    secure, reply, results = exchange(relay, sink, tls=None, tlsa=[authority.tlsa(3, 1, 1)])
    assert (secure, reply) == (None, "451 4.4.1 the next hop does not offer TLS")
    assert [one.failure for one in results] == ["starttls-not-supported"]


def test_an_anchor_vouches_for_the_name_and_not_for_others(relay, sink):
    authority = Authority("other.test")
    secure, reply, results = exchange(relay, sink, tls=authority.whole_chain, tlsa=[authority.tlsa(2, 1, 1)])
    assert (secure, reply) == (None, "451 4.4.1 the server's certificate is for another name")
    assert [one.failure for one in results] == ["certificate-host-mismatch"]


@pytest.mark.parametrize("tlsa", ["0 0 1 " + "00" * 32, "1 1 1 " + "00" * 32, "3 7 1 " + "00" * 32, "3 1 9 00"])
def test_records_that_nobody_can_use_ask_for_tls_with_any_certificate(relay, sink, tlsa):
    """RFC 7672 §2.2, §3.1.3: usages 0 and 1 are unusable; TLS is asked for all the same."""
    authority = Authority("whoever.test")
    secure, _, [result] = exchange(relay, sink, tls=authority.context, tlsa=[tlsa])
    assert (secure, result.policy.level) == (True, "require")
    secure, reply, _ = exchange(relay, sink, tls=None, tlsa=[tlsa])
    assert (secure, reply) == (None, "451 4.4.1 the next hop does not offer TLS")


@pytest.mark.parametrize("signed", [(), ("mx1.dest.test",)], ids=["nothing", "not the MX"])
def test_what_is_not_signed_promises_nothing(relay, sink, signed):
    secure, reply, [result] = exchange(relay, sink, tls=Authority("x").context, tlsa=["3 1 1 " + "00" * 32], signed=signed)
    assert (secure, reply, result.policy.source) == (True, "", "")


def test_the_bit_is_believed_only_where_config_says_so(relay, sink):
    import mta.testing.plugins as fakes

    assert fakes.FakeDns.validating

    async def main():
        async with relay(ZONES) as r:
            r.dns.sign(".")
            outbound = r.runner._lanes._outbound
            assert not outbound.dns.validating
            found = await outbound.dns.validated("dest.test", "MX")
            assert (found.records, found.secure) == (((10, "mx1.dest.test"),), False)

    asyncio.run(main())


@pytest.mark.parametrize("fault", ["servfail", "timeout", "refused"])
@pytest.mark.parametrize("name", ["_25._tcp.mx1.dest.test", "mx1.dest.test", "dest.test"])
def test_bogus_or_missing_answers_defer(relay, sink, name, fault):
    """RFC 7672 §2.1.1, §2.1.2: "bogus" (SERVFAIL) and "indeterminate" are never "no TLSA records"."""
    authority = Authority("mx1.dest.test")
    secure, reply, results = exchange(
        relay, sink, tls=authority.context, tlsa=[authority.tlsa(3, 1, 1)], prepare=lambda dns, _: dns.misbehave(name, fault)
    )
    assert secure is None
    assert reply.startswith("451 4.4.")
    if name.startswith("_25"):
        assert [(one.failure, one.policy.source) for one in results] == [("dnssec-invalid", "tlsa")]


def test_no_records_leave_it_to_opportunity(relay, sink):
    assert exchange(relay, sink, tls=None, tlsa=None)[:2] == (False, "")


CNAMES = """
dest.test        MX 10 mx1.dest.test.
mx1.dest.test    CNAME host.other.test.
host.other.test  A  127.0.0.2
"""


def test_records_of_where_a_signed_cname_leads_come_first(relay, sink):
    authority = Authority("host.other.test")

    def prepare(dns, _hop):
        dns.set("_25._tcp.host.other.test", TLSA=[authority.tlsa(2, 0, 1)])

    secure, reply, [result] = exchange(
        relay, sink, tls=authority.whole_chain, tlsa=["3 1 1 " + "00" * 32], zones=CNAMES, signed=(".",), prepare=prepare
    )
    assert (secure, reply, result.policy.name) == (True, "", "host.other.test")


def test_a_cname_that_leads_out_of_what_is_signed_falls_back_to_the_name(relay, sink):
    authority = Authority("mx1.dest.test")
    secure, _, [result] = exchange(relay, sink, tls=authority.whole_chain, tlsa=[authority.tlsa(2, 0, 1)], zones=CNAMES)
    assert (secure, result.policy.name, result.policy.level) == (True, "mx1.dest.test", "dane")


def test_the_next_host_is_tried(relay, sink):
    good, evil = Authority("mx1.dest.test"), Authority("mx1.dest.test")
    zones = ZONES + "dest.test MX 5 mx0.dest.test.\nmx0.dest.test A 127.0.0.3\n"

    async def main():
        async with relay(zones, dns={"validating": True}, plugins=[]) as r:
            r.hooks.change(add=[r.hooks.make("dane", mta_dane, "package", 0)])
            r.dns.sign("dest.test")
            for host in ("mx0", "mx1"):
                r.dns.set(f"_25._tcp.{host}.dest.test", TLSA=[good.tlsa(3, 1, 1)])
            async with sink(r, "127.0.0.3", tls=evil.context) as bad, sink(r, "127.0.0.2", tls=good.context) as fine:
                await r.queue("x@dest.test")
                assert await r.settled() == []
                assert (bad.count, fine.count) == (0, 1)

    asyncio.run(main())


@pytest.mark.parametrize(("level", "secure"), [("none", False), ("may", True), ("require", True)])
def test_the_operator_s_table_comes_before(relay, sink, level, secure):
    evil = Authority("other.test")
    found = exchange(relay, sink, tls=evil.context, tlsa=["3 1 1 " + "00" * 32], tls_policies={"dest.test": level})
    assert found[:2] == (secure, "")


def test_dane_demanded_by_the_operator(relay, sink):
    authority = Authority("mx1.dest.test")
    secure, reply, [result] = exchange(relay, sink, tls=authority.context, tlsa=None, tls_policies={"*": "dane"})
    assert (secure, reply) == (None, "451 4.4.1 DANE is required, and the host has no signed TLSA records")
    assert result.failure == "dane-required"
    found = exchange(relay, sink, tls=authority.context, tlsa=[authority.tlsa(3, 1, 1)], tls_policies={"*": "dane"})
    assert found[:2] == (True, "")
