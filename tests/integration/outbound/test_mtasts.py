"""MTA-STS from end to end: DNS, an HTTPS host with the certificate of a test authority, TLS sinks, the plugin, the queue (RFC 8461)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
import ssl

import pytest

import mta_dane
from mta.pluginhost.http import HttpClient
from mta_hooks import hookimpl
from mta_mtasts import MtaSts
from mta_mtasts.cache import POLICIES

ZONES = """
dest.test           MX 10 mx1.dest.test.
mx1.dest.test       A  127.0.0.2
"""
POLICY = "version: STSv1\nmode: {}\nmx: {}\nmax_age: 86400\n"
ENFORCE = POLICY.format("enforce", "mx1.dest.test")


class Host:
    """mta-sts.dest.test: what it answers may be changed; ``asked`` counts."""

    def __init__(self, context, policy, status="200 OK", kind="text/plain"):
        self.context, self.policy, self.status, self.kind = context, policy, status, kind
        self.asked = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"GET /.well-known/mta-sts.txt HTTP/1.1\r\nhost: mta-sts.dest.test\r\n")
            self.asked += 1
            body = self.policy.encode()
            head = f"HTTP/1.1 {self.status}\r\nContent-Type: {self.kind}\r\nLocation: https://evil.test/\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        writer.close()


@pytest.fixture
def sts(relay, sink, authority):
    """``sts(body, policy, …)`` runs ``body(r, hop, host, results)``."""
    trust, context = authority

    def run(
        body,
        policy=ENFORCE,
        *,
        tls="mx1.dest.test",
        name="mta-sts.dest.test",
        zones=ZONES,
        **answer,
    ):
        results = []

        @hookimpl
        def tls_result(result):
            results.append((result.policy.failure or result.failure, result.policy.source))

        async def main():
            async with Host(context(name), policy, **answer) as host:
                http = HttpClient(ssl.create_default_context(cafile=trust), {"mta-sts.dest.test": ("127.0.0.1", host.port)})
                offered = tls and context(tls)
                async with (
                    relay(zones, plugins=[tls_result], trust=trust, http=http) as r,
                    sink(r, "127.0.0.2", tls=offered) as hop,
                ):
                    r.dns.set("_mta-sts.dest.test", TXT='"v=STSv1; id=20261124;"')
                    r.ctx = await r.add("mtasts", MtaSts())
                    return await body(r, hop, host, results)

        return asyncio.run(main())

    return run


async def send(r):
    await r.queue("x@dest.test")
    rows = await r.settled()
    await asyncio.sleep(0)
    return rows[0].last_reply if rows else ""


@pytest.mark.parametrize("pattern", ["mx1.dest.test", "*.dest.test", "other.test\nmx: mx1.dest.test", "MX1.dest.test"])
def test_a_good_host_is_used_and_the_policy_is_kept(sts, pattern):
    async def body(r, hop, host, results):
        assert await send(r) == ""
        assert await send(r) == ""
        assert [m.secure for m in hop.messages] == [True, True]
        assert results[0] == ("", "sts")
        assert host.asked == 1

    sts(body, POLICY.format("enforce", pattern))


@pytest.mark.parametrize(
    ("tls", "pattern", "failure"),
    [
        (None, "mx1.dest.test", "starttls-not-supported"),
        ("other.test", "mx1.dest.test", "certificate-host-mismatch"),
        ("mx1.dest.test", "mx2.dest.test", "validation-failure"),
        ("mx1.dest.test", "*.other.test", "validation-failure"),
        ("mx1.dest.test", "*.test", "validation-failure"),  # "*" is one label
    ],
)
@pytest.mark.parametrize("mode", ["enforce", "testing", "none"])
def test_the_mode_says_what_becomes_of_a_bad_host(sts, tls, pattern, failure, mode):
    async def body(r, hop, _host, results):
        reply = await send(r)
        assert hop.count == (0 if mode == "enforce" else 1)
        assert reply.startswith("451 4.4.1 ") if mode == "enforce" else reply == ""
        if mode != "none":
            assert results == [(failure, "sts")]

    sts(body, POLICY.format(mode, pattern), tls=tls)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ({"status": "404 Not Found"}, "sts-policy-fetch-error"),
        ({"status": "301 Moved Permanently"}, "sts-policy-fetch-error"),
        ({"kind": "text/html"}, "sts-policy-invalid"),
        ({"policy": "version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1\n"}, "sts-policy-invalid"),
        ({"policy": "version: STSv1\nmode: enforce\nmax_age: 1\n"}, "sts-policy-invalid"),
        ({"policy": "version: STSv1\nmode: enforce\nmx: mx1.dest.test\nmax_age: soon\n"}, "sts-policy-invalid"),
        ({"policy": "<html>"}, "sts-policy-invalid"),
        ({"name": "www.dest.test"}, "sts-webpki-invalid"),
    ],
)
def test_a_policy_that_cannot_be_had_is_none_and_is_reported(sts, answer, failure):
    async def body(r, hop, host, results):
        assert await send(r) == ""
        assert await send(r) == ""
        assert [m.secure for m in hop.messages] == [False, False]
        assert results[0] == (failure, "sts")
        assert host.asked <= 1  # not for each message

    sts(body, **{"tls": None} | answer)


def test_who_takes_record_or_policy_away_changes_nothing_until_it_expires(sts):
    """TLS downgrade: DNS and HTTPS are in the hands of an attacker after the first mail."""

    async def body(r, hop, host, _results):
        assert await send(r) == ""
        host.status = "500 Oops"
        hop.tls = None
        await asyncio.sleep(2.1)  # the kept connection ends
        dns = r.runner._lanes._outbound.dns
        for change in ({}, {"TXT": '"v=STSv1; id=new"'}, {"TXT": '"v=STSv1"'}, {"TXT": ['"v=STSv1; id=a"', '"v=STSv1; id=b"']}):
            r.dns.set("_mta-sts.dest.test", **change)
            dns._cache.clear()
            await r.queue("x@dest.test")
            for row in await r.later(90):
                assert row.last_reply == "451 4.4.1 the next hop does not offer TLS"
        assert hop.count == 1
        r.hooks.services.clock.advance(2 * 86400)
        await r.later(1800)
        assert hop.count == 5

    sts(body)


def test_a_new_id_brings_a_new_policy(sts):
    async def body(r, hop, host, _results):
        assert await send(r) == ""
        host.policy = POLICY.format("enforce", "mx9.dest.test")
        r.dns.set("_mta-sts.dest.test", TXT='"v=STSv1; id=2"')
        r.runner._lanes._outbound.dns._cache.clear()
        await asyncio.sleep(2.1)
        assert "does not name this host" in await send(r)
        assert host.asked == 2

    sts(body)


def test_what_is_used_is_refreshed_before_it_expires(sts):
    async def body(r, _hop, host, _results):
        assert await send(r) == ""
        clock = r.hooks.services.clock
        refresh = r.hooks.plugins["mtasts"].object.refresh
        await refresh(r.ctx)
        assert host.asked == 1
        host.policy = POLICY.format("testing", "mx9.dest.test")
        clock.advance(86401)
        await refresh(r.ctx)
        [row] = await r.ctx.db.read(POLICIES.select())
        assert (host.asked, row.policy.splitlines()[1], row.fetched) == (2, "mode: testing", clock.now())
        host.status = "500 Oops"
        clock.advance(86399)
        await refresh(r.ctx)  # fails: what is kept stays
        assert len(await r.ctx.db.read(POLICIES.select())) == 1
        clock.advance(2)
        await refresh(r.ctx)
        assert await r.ctx.db.read(POLICIES.select()) == []

    sts(body, POLICY.format("enforce", "mx1.dest.test").replace("86400", "604800"))


def test_dane_comes_first(sts, relay):
    """RFC 8461 §2: a host with TLSA records is judged by them, not by the web's authorities."""

    async def body(r, hop, _host, results):
        await r.add("dane", mta_dane)
        dns = r.runner._lanes._outbound.dns
        dns.validating = True
        r.dns.sign(".")
        r.dns.set("_25._tcp.mx1.dest.test", TLSA="3 1 1 " + "00" * 32)
        assert "TLSA" in await send(r)
        assert (hop.count, results) == (0, [("validation-failure", "tlsa")])

    sts(body)
