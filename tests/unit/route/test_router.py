"""Order of answers, and what the config may say."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from types import SimpleNamespace

import pytest

from mta.config.sections import Config
from mta.model.address import Address
from mta.model.delivery import Route
from mta.model.errors import ConfigError, TemporaryFailure
from mta.route.router import MX, Router, parse_route

NO_HOOKS = SimpleNamespace(route=None)


class Plan:
    def __init__(self, answer):
        self.answer = answer

    async def first(self, **arguments):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def ask(router, address="x@dest.test"):
    return asyncio.run(router.route(None, Address.parse(address)))


def test_hook_then_routes_then_smarthost_then_mx():
    hook = Route("smtp", "hook.test", 26)
    config = Config(routes={"Dest.test": "smtp://127.0.0.1:2600"}, relay={"smarthost": "smtp://smart.test"})
    assert ask(Router(config, SimpleNamespace(route=Plan(hook)))) is hook
    assert ask(Router(config, SimpleNamespace(route=Plan(None)))) == Route("smtp", "127.0.0.1", 2600)
    assert ask(Router(config, NO_HOOKS), "x@other.test") == Route("smtp", "smart.test", 25)
    assert ask(Router(Config(), NO_HOOKS)) is MX


def test_failing_hook_is_temporary():
    with pytest.raises(TemporaryFailure):
        ask(Router(Config(), SimpleNamespace(route=Plan(TemporaryFailure("away")))))


def test_smarthost_with_credentials():
    relay = {"smarthost": "smtps://smart.test", "username": "us", "password": "secret", "tls": "encrypt"}
    route = Router(Config(relay=relay), NO_HOOKS).configured("any.test")
    assert route == Route("smtp", "smart.test", 465, tls="implicit", credentials=("us", "secret"))
    assert "secret" not in repr(route)
    plain = Router(Config(relay=relay | {"smarthost": "smtp://smart.test:587"}), NO_HOOKS).configured("any.test")
    assert (plain.port, plain.tls) == (587, "encrypt")


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("smtp://hop.test", Route("smtp", "hop.test", 25)),
        ("SMTP://Hop.test:2525/", Route("smtp", "hop.test", 2525)),
        ("smtps://hop.test", Route("smtp", "hop.test", 465, tls="implicit")),
        ("smtp://[2001:db8::1]:26", Route("smtp", "2001:db8::1", 26)),
        ("lmtp://127.0.0.1", Route("lmtp", "127.0.0.1", 24)),
        ("lmtp+unix:/run/lmtp", Route("lmtp", path="/run/lmtp", tls="none")),
        ("lmtp+unix:///run/lmtp", Route("lmtp", path="/run/lmtp", tls="none")),
    ],
)
def test_urls(url, route):
    assert parse_route(url) == route


@pytest.mark.parametrize(
    "url",
    ["", "hop.test", "smtp:hop.test", "ftp://hop.test", "smtp://", "smtp://hop.test:x", "smtp://hop.test:0", "smtp://u@hop.test",
     "smtp://[::1", "smtp://[::1]x", "smtp://hop test", "lmtp+unix:run/lmtp", "smtp://hop.test/path"],
)  # fmt: skip
def test_what_is_no_next_hop_names_its_key(url):
    with pytest.raises(ConfigError) as failure:
        Router(Config(routes={"dest.test": url}), NO_HOOKS)
    assert failure.value.key == "routes.dest.test"
    assert "lmtp+unix:/path" in failure.value.fix


@pytest.mark.parametrize(
    ("relay", "key"),
    [({"smarthost": "nonsense"}, "relay.smarthost"), ({"smarthost": "smtp://h.test", "username": "us"}, "relay.password")],
)
def test_smarthost_that_cannot_be_used(relay, key):
    with pytest.raises(ConfigError) as failure:
        Router(Config(relay=relay), NO_HOOKS)
    assert failure.value.key == key


@pytest.mark.parametrize(
    ("url", "route"),
    [
        ("pipe:archive", Route("pipe", path="archive", tls="none")),
        ("smtp+unix:/run/hop.sock", Route("smtp", path="/run/hop.sock", tls="none")),
        ("mx", MX),
        ("mx:Near.ORG", Route("smtp", "near.org", mx=True)),
        ("mx:near.org:2525", Route("smtp", "near.org", 2525, mx=True)),
    ],
)
def test_other_ways(url, route):
    assert Router(Config(routes={"dest.test": url}), NO_HOOKS).configured("dest.test") == route


@pytest.mark.parametrize(
    "url", ["pipe:/bin/sh", "pipe:sh -c x", "pipe:", "pipe:../x", "smtp+unix:run/hop", "mx://x", "mx:[192.0.2.1]", "mx::25"]
)
def test_what_is_no_way(url):
    with pytest.raises(ConfigError, match=r"routes\.dest\.test"):
        Router(Config(routes={"dest.test": url}), NO_HOOKS)


def test_by_sender_after_the_recipient_and_before_the_smarthost():
    config = Config(
        routes={"dest.test": "smtp://r.test"},
        routes_by_sender={"Here.test": "smtp://s.test", "news@here.test": "smtp://n.test", "<>": "mx"},
        relay={"smarthost": "smtp://smart.test"},
    )
    router = Router(config, NO_HOOKS)

    def host(domain, sender):
        return router.configured(domain, None if sender is None else Address.parse(sender)).host

    assert host("dest.test", "bob@here.test") == "r.test"
    assert host("x.test", "bob@here.test") == "s.test"
    assert host("x.test", "NEWS@here.test") == "n.test"
    assert host("x.test", "bob@else.test") == "smart.test"
    assert host("x.test", None) is None


def test_logins_by_next_hop():
    logins = {"r.test": {"username": "a", "password": "p"}, "r.test:587": {"username": "b", "token_file": "/run/token"}}
    routes = {"one.test": "smtp://r.test", "two.test": "smtp://R.test:587", "three.test": "smtp://other.test"}
    router = Router(Config(routes=routes, relay={"credentials": logins, "smarthost": "smtps://r.test"}), NO_HOOKS)
    assert router.configured("one.test").credentials == ("a", "p")
    assert (router.configured("two.test").credentials, router.configured("two.test").token_file) == (("b", ""), "/run/token")
    assert router.configured("three.test").credentials is None
    assert router.configured("else.test").credentials == ("a", "p")
    assert router.read("smtp://r.test").credentials == ("a", "p")
