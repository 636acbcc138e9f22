"""Which of our addresses a connection comes from, by domain, by sender and by a plugin's word; each says its own name in EHLO."""
# SPDX-License-Identifier: Apache-2.0

import asyncio

import pytest

from mta_hooks import DeliveryPolicy, Route, hookimpl

HELO = {f"127.0.0.{n}": f"out{n}.here.test" for n in range(11, 16)}
CONFIG = {
    "outbound": {
        "source_addresses": ["127.0.0.11"],
        "sources_by_domain": {"*.big.test": ["127.0.0.12"]},
        "sources_by_sender": {"news@here.test": ["127.0.0.13"], "list.test": ["127.0.0.14"], "<>": ["127.0.0.15"]},
        "helo": HELO,
    }
}


def names(hop):
    """What was said in EHLO, by connection, with the messages that came over it."""
    said = [lines[0].partition(" ")[2] for lines in hop.commands if lines]
    return {message.mail.split()[1]: said[message.connection] for message in hop.messages}


@pytest.mark.parametrize(
    ("sender", "domain", "name"),
    [
        ("bob@here.test", "dest.test", "out11"),
        ("bob@here.test", "a.big.test", "out12"),
        ("news@here.test", "a.big.test", "out12"),
        ("News@here.test", "dest.test", "out13"),
        ("anybody@list.test", "dest.test", "out14"),
        ("", "dest.test", "out15"),
    ],
)
def test_by_domain_then_by_sender(relay, sink, sender, domain, name):
    async def main():
        async with relay(f"{domain} MX 10 mx.dest.test.\nmx.dest.test A 127.0.0.2\n", **CONFIG) as r, sink(r, "127.0.0.2") as hop:
            await r.queue(f"x@{domain}", sender=sender)
            assert await r.settled() == []
            assert names(hop) == {f"FROM:<{sender}>": f"{name}.here.test"}

    asyncio.run(main())


def test_connections_are_not_shared_between_addresses(relay, sink):
    async def main():
        async with relay("dest.test MX 10 mx.dest.test.\nmx.dest.test A 127.0.0.2\n", **CONFIG) as r, sink(r, "127.0.0.2") as hop:
            for sender in ("bob@here.test", "news@here.test", "ann@here.test"):
                await r.queue("x@dest.test", sender=sender)
            assert await r.settled() == []
            said = names(hop)
            assert said["FROM:<bob@here.test>"] == said["FROM:<ann@here.test>"] == "out11.here.test"
            assert said["FROM:<news@here.test>"] == "out13.here.test"

    asyncio.run(main())


def test_a_plugin_chooses(relay, sink):
    """Before the tables; an address of a route is before both."""

    @hookimpl
    def delivery_policy(envelope):
        return DeliveryPolicy(sources=("127.0.0.14", "::1")) if envelope.user == "vip" else None

    @hookimpl
    def route(recipient):
        return Route("smtp", source="127.0.0.15") if recipient.local == "pinned" else None

    async def main():
        zones = "dest.test MX 10 mx.dest.test.\nmx.dest.test A 127.0.0.2\n"
        async with relay(zones, plugins=[delivery_policy, route], **CONFIG) as r, sink(r, "127.0.0.2") as hop:
            await r.queue("x@dest.test", sender="news@here.test", user="vip")
            await r.queue("pinned@dest.test", sender="ann@here.test", user="vip")
            await r.queue("x@dest.test", sender="bob@here.test")
            assert await r.settled() == []
            said = names(hop)
            assert [said[f"FROM:<{one}@here.test>"][:5] for one in ("news", "ann", "bob")] == ["out14", "out15", "out11"]

    asyncio.run(main())


def test_without_an_address_of_the_family_mail_waits(relay, sink):
    """Never from another one: its reputation, and the sender's SPF, are those of the given ones."""

    async def main():
        zones = "dest.test MX 10 mx.dest.test.\nmx.dest.test A 127.0.0.2\n"
        config = {"outbound": {"sources_by_domain": {"dest.test": ["::1"]}}}
        async with relay(zones, **config) as r, sink(r, "127.0.0.2") as hop:
            await r.queue("x@dest.test")
            [row] = await r.settled()
            assert row.last_reply.startswith("451 4.4.1 ")
            assert hop.open == hop.count == 0

    asyncio.run(main())


def test_what_is_no_address_is_the_plugins_mistake():
    with pytest.raises(ValueError, match="mail"):
        DeliveryPolicy(sources=("mail.example.org",))
