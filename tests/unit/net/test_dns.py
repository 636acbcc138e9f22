"""The resolver against a real server on loopback."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest
import uvloop

from mta.config.sections import Dns
from mta.net import dns as module
from mta.net.dns import DnsResolver, parse_server
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.testing.dns import DnsServer
from mta_hooks.services import DnsError

ZONES = """
dest.test     MX    10 mx1.dest.test.
dest.test     MX    20 mx2.dest.test.
dest.test     TXT   "v=spf1 " "-all"
mx1.dest.test A     127.0.0.2
mx1.dest.test AAAA  ::1
null.test     MX    0 .
bare.test     A     127.0.0.3   ; no MX
www.dest.test CNAME mx1.dest.test.
loop.test     CNAME loop.test.
xn--bcher-kva.test A 127.0.0.9
1.0.0.127.in-addr.arpa PTR localhost.
"""


class Turned:
    now = 0.0

    def __call__(self):
        return self.now


def run(body, *, servers=1, timeout=2.0, ttl=60, runner=asyncio.run):
    async def main():
        async with DnsServer(ZONES, ttl) as server:
            clock = Turned()
            addresses = ("127.0.0.1:9",) * (servers - 1) + (server.address,)
            resolver = DnsResolver(Dns(servers=addresses, timeout=timeout), Tasks(Log()), clock)
            return await body(resolver, server, clock)

    return runner(main())


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_records(runner):
    async def body(resolver, server, clock):
        assert sorted(await resolver.mx("dest.test")) == [(10, "mx1.dest.test"), (20, "mx2.dest.test")]
        assert await resolver.a("MX1.dest.test.") == ["127.0.0.2"]
        assert await resolver.aaaa("mx1.dest.test") == ["::1"]
        assert await resolver.a("www.dest.test") == ["127.0.0.2"]
        assert await resolver.txt("dest.test") == [b"v=spf1 -all"]
        assert await resolver.ptr("127.0.0.1") == ["localhost"]
        assert await resolver.a("xn--bcher-kva.test") == ["127.0.0.9"]

    run(body, runner=runner)


def test_what_does_not_exist_is_an_empty_list_and_null_mx_is_not():
    async def body(resolver, server, clock):
        assert await resolver.mx("bare.test") == []
        assert await resolver.mx("nowhere.test") == []
        assert await resolver.mx("null.test") == [(0, "")]
        assert await resolver.ptr("not an address") == []
        assert await resolver.a("a" * 70 + ".test") == []

    run(body)


def test_answers_are_kept_for_their_ttl_and_no_longer():
    async def body(resolver, server, clock):
        for name in ("mx1.dest.test", "nowhere.test"):
            await resolver.a(name)
            await resolver.a(name.upper())
            assert server.asked[name, "A"] == 1
        clock.now = 61.0
        server.set("nowhere.test", A="127.0.0.5")
        assert await resolver.a("nowhere.test") == ["127.0.0.5"]

    run(body)


def test_changing_an_answer_does_not_change_the_cache():
    async def body(resolver, server, clock):
        (await resolver.a("mx1.dest.test")).clear()
        assert await resolver.a("mx1.dest.test") == ["127.0.0.2"]

    run(body)


def test_equal_questions_at_once_are_sent_once_and_survive_a_caller_who_leaves():
    async def body(resolver, server, clock):
        first = asyncio.ensure_future(resolver.mx("dest.test"))
        others = [asyncio.ensure_future(resolver.mx("dest.test")) for _ in range(20)]
        await asyncio.sleep(0)
        first.cancel()
        assert all(len(found) == 2 for found in await asyncio.gather(*others))
        assert server.asked["dest.test", "MX"] == 1

    run(body)


@pytest.mark.parametrize("fault", ["timeout", "servfail", "refused"])
def test_no_answer_is_an_error_for_a_moment(fault):
    async def body(resolver, server, clock):
        server.misbehave("dest.test", fault)
        for _ in range(2):
            with pytest.raises(DnsError):
                await resolver.mx("dest.test")
        assert server.asked["dest.test", "MX"] == 2  # one server is asked twice, the failure is remembered
        server.misbehave("dest.test", None)
        clock.now = 2.0
        assert len(await resolver.mx("dest.test")) == 2

    run(body, timeout=0.2)


@pytest.mark.parametrize("fault", ["formerr-edns", "forged", "lose-first"])
def test_trouble_that_is_overcome(fault):
    async def body(resolver, server, clock):
        server.misbehave("dest.test", fault)
        assert len(await resolver.mx("dest.test")) == 2

    run(body, timeout=1.0)


def test_next_server_is_asked_when_the_first_is_dead():
    async def body(resolver, server, clock):
        assert await resolver.a("mx1.dest.test") == ["127.0.0.2"]

    run(body, servers=2, timeout=1.0)


def test_no_server_at_all():
    async def body(resolver, server, clock):
        await server.stop()
        with pytest.raises(DnsError):
            await resolver.a("mx1.dest.test")

    run(body, timeout=0.3)


def test_endless_chain_of_cnames():
    async def body(resolver, server, clock):
        with pytest.raises(DnsError):
            await resolver.a("loop.test")

    run(body, timeout=0.5)


def test_large_answer_comes_over_tcp():
    async def body(resolver, server, clock):
        server.set("big.test", TXT=[f'"{n:03d}{"x" * 200}"' for n in range(50)])
        assert len(await resolver.txt("big.test")) == 50
        assert server.over_tcp == 1

    run(body)


def test_cache_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "CACHE_SIZE", 3)

    async def body(resolver, server, clock):
        for n in range(6):
            await resolver.a(f"n{n}.test")
        assert len(resolver._cache) == 3
        assert not resolver._running

    run(body)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
    ],
)
def test_servers(text, server):
    assert parse_server(text) == server


@pytest.mark.parametrize("text", ["localhost", "192.0.2.1:x", "192.0.2.1:0", "192.0.2.1:70000", ""])
def test_malformed_servers(text):
    with pytest.raises(ValueError, match=r"."):
        parse_server(text)


def test_server_in_a_thread():
    with DnsServer(ZONES).thread() as server:

        async def main():
            resolver = DnsResolver(Dns(servers=(server.address,), timeout=2.0), Tasks(Log()))
            return await resolver.a("mx1.dest.test")

        assert asyncio.run(main()) == ["127.0.0.2"]


def test_what_is_signed_is_said_where_the_resolver_is_trusted():
    async def main(validating):
        async with DnsServer(
            ZONES + "_25._tcp.mx1.dest.test TLSA 3 1 1 " + "ab" * 32 + "\nout.dest.test CNAME bare.test.\n"
        ) as server:
            server.sign("dest.test")
            tasks = Tasks(Log())
            dns = DnsResolver(Dns(servers=(server.address,), validating=validating), tasks)
            names = [
                ("dest.test", "MX"),
                ("www.dest.test", "A"),
                ("out.dest.test", "A"),
                ("bare.test", "A"),
                ("none.dest.test", "A"),
            ]
            answers = [await dns.validated(*name) for name in (*names, ("_25._tcp.mx1.dest.test", "TLSA"))]
            await tasks.close()
            return answers

    secure = asyncio.run(main(True))
    assert [answer.secure for answer in secure] == [True, True, False, False, True, True]  # of a chain all of it must be
    assert [secure[1].name, secure[4].records] == ["mx1.dest.test", ()]
    assert str(secure[5].records[0]) == "3 1 1 " + "ab" * 32
    assert not any(answer.secure for answer in asyncio.run(main(False)))
