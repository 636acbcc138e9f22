"""Other people's servers: Postfix and Exim as next hops under TLS and DANE, and unbound as the judge of signed zones."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import hashlib

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import mta_dane
from mta.testing.exim import Exim
from mta.testing.peers import Postfix
from mta.testing.sink import Sink
from mta.testing.unbound import Unbound

LARGE = b"From: bob@here.test\r\nSubject: big\r\nMessage-ID: <big@here.test>\r\n\r\n" + b".dots\r\n.\r\nmore\r\n" * 40_000
EIGHT = "From: bob@here.test\r\nSubject: eight\r\nMessage-ID: <e@here.test>\r\n\r\ngrün\r\n".encode()
ZONES = "dest.test MX 10 mx1.dest.test.\nmx1.dest.test A 127.0.0.1\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """(PEM file of a key and its chain, the TLSA record of the key), of an authority that nobody trusts."""
    leaf = trustme.CA().issue_cert("mx1.dest.test")
    path = tmp_path_factory.mktemp("pair") / "pair.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(path)
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return str(path), "3 1 1 " + hashlib.sha256(key).hexdigest()


def exchange(relay, peer, tlsa, *messages):
    """Send these to x@dest.test at the peer, by DANE; return what still waits."""

    async def main():
        async with relay(ZONES, dns={"validating": True}) as r:
            r.runner._lanes._outbound.smtp_port = peer.port
            await r.add("dane", mta_dane)
            r.dns.sign("dest.test")
            r.dns.set("_25._tcp.mx1.dest.test", TLSA=tlsa)
            for octets in messages:
                await r.queue("x@dest.test", octets=octets, skip=0, eightbit=not octets.isascii())
            return await r.settled(20)

    return asyncio.run(main())


def bodies(messages):
    return {str(m["Message-ID"]): m.get_payload(decode=True) for m in messages}


@pytest.mark.peer("postfix")
def test_postfix_under_dane(relay, pair):
    pem, tlsa = pair
    tls = (
        "smtpd_tls_security_level = may",
        f"smtpd_tls_chain_files = {pem}",
        "smtpd_tls_loglevel = 1",
        "smtpd_tls_received_header = yes",
    )
    with Postfix(("dest.test",), extra=tls) as peer:
        assert exchange(relay, peer, tlsa, LARGE, EIGHT) == []
        messages = peer.wait("x@dest.test", 2)
        assert all("using TLSv1.3" in str(m["Received"]) for m in messages)
        assert bodies(messages)["<big@here.test>"] == LARGE.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")
        assert "improper" not in peer.log
        [row] = exchange(relay, peer, "3 1 1 " + "00" * 32, EIGHT)
        assert "TLSA" in row.last_reply
        assert len(peer.messages("x@dest.test")) == 2


@pytest.mark.peer("exim4")
def test_exim_under_dane(relay, pair):
    pem, tlsa = pair
    with Exim(certificate=pem) as peer:
        assert exchange(relay, peer, tlsa, LARGE, EIGHT) == []
        messages = peer.wait(2)
        assert all("TLS1.3" in str(m["Received"]) for m in messages)
        assert bodies(messages)["<big@here.test>"] == LARGE.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")
        assert bodies(messages)["<e@here.test>"] == "grün\n".encode()
        assert " K " in peer.log  # RFC 3030: by BDAT
        assert "syntax" not in peer.log
        assert "protocol" not in peer.log
        [row] = exchange(relay, peer, "3 1 1 " + "00" * 32, EIGHT)
        assert "TLSA" in row.last_reply


# ---- zones that are really signed


def zone(tlsa):
    return {
        "@": {"MX": ["10 mx1"]},
        "mx1": {"A": ["127.0.0.1"]},
        "_25._tcp.mx1": {"TLSA": [tlsa]},
    }


@pytest.fixture(scope="module")
def resolver(pair):
    _, tlsa = pair
    wrong = "3 1 1 " + "00" * 32
    zones = {
        "good.test": zone(tlsa),
        "wrong.test": zone(wrong),
        "bogus.test": zone(wrong),
        "mxbogus.test": zone(tlsa),
        "plain.test": zone(wrong),
    }
    forged = {"bogus.test": {"_25._tcp.mx1": {"TLSA": [tlsa]}}, "mxbogus.test": {"@": {"MX": ["10 mx1.good.test."]}}}
    with Unbound(zones, unsigned=("plain.test",), forged=forged) as running:
        yield running


@pytest.mark.peer("unbound")
@pytest.mark.parametrize(
    ("domain", "arrives", "reply"),
    [
        ("good.test", True, ""),
        ("wrong.test", False, "in none of its TLSA records"),
        ("bogus.test", False, "the TLSA records of mx1.bogus.test cannot be had"),
        ("mxbogus.test", False, "DNS does not answer"),
        ("plain.test", True, ""),
    ],
)
def test_signed_zones_and_forged_ones(relay, resolver, pair, domain, arrives, reply):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair[0])

    async def main():
        async with Sink(tls=context) as hop, relay(dns={"validating": True}, resolver=resolver.address) as r:
            r.runner._lanes._outbound.smtp_port = hop.port
            await r.add("dane", mta_dane)
            await r.queue(f"x@{domain}")
            rows = await r.settled()
            assert [m.secure for m in hop.messages] == ([True] if arrives else [])
            assert reply in (rows[0].last_reply if rows else "")

    asyncio.run(main())
