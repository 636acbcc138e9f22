"""Aliases, plus-addressing, catch-all, loops, bounds."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from types import SimpleNamespace

import pytest

from mta.directory.resolve import MAX_TARGETS, Resolver
from mta.model.address import Address
from mta.model.directory import AliasTarget, Domain, HookTarget, MailboxTarget, NotFound, RelayTarget
from mta.model.errors import TemporaryFailure
from mta.model.ids import UserId
from mta.obs.log import Log


class Plan:
    def __init__(self, function):
        self.function = function
        self.asked = []

    async def first(self, **arguments):
        (value,) = arguments.values()
        self.asked.append(str(value))
        return self.function(value)


def directory(users=(), aliases=None, domains=("here.test",), relays=(), extra=None):
    ids = {name: UserId(n) for n, name in enumerate(users, 1)}
    aliases = aliases or {}
    extra = extra or {}

    def domain(name):
        if name in domains:
            return Domain(name)
        return Domain(name, "relay") if name in relays else None

    def alias(address):
        targets = aliases.get(f"{address.local.lower()}@{address.domain}")
        return AliasTarget(tuple(targets)) if targets is not None else None

    def recipient(address):
        name = f"{address.local.lower()}@{address.domain}"
        if name in extra:
            return extra[name]
        return MailboxTarget(ids[name], Address.parse(name)) if name in ids else None

    return SimpleNamespace(domain_lookup=Plan(domain), alias_expand=Plan(alias), recipient_lookup=Plan(recipient))


def resolve(address, config=frozenset(), hostname="mx.here.test", **kwargs):
    hooks = directory(**kwargs)
    return asyncio.run(Resolver(hooks, frozenset(config), Log(), hostname).resolve(Address.parse(address)))


def names(resolution):
    return [str(target.address) for target in resolution.local]


def test_mailbox_whatever_the_case_of_the_local_part():
    found = resolve("Bob@here.test", users=["bob@here.test"])
    assert names(found) == ["bob@here.test"]
    assert found.is_ours
    assert found.refusal is None


def test_detail_is_kept_and_the_full_address_comes_first():
    found = resolve("bob+lists@here.test", users=["bob@here.test"])
    assert found.local[0].detail == "lists"
    both = resolve("bob+lists@here.test", users=["bob@here.test", "bob+lists@here.test"])
    assert names(both) == ["bob+lists@here.test"]
    assert both.local[0].detail == ""


def test_unknown_user_is_refused_and_foreign_address_is_remote():
    assert resolve("nobody@here.test", users=["bob@here.test"]).refusal.enhanced == "5.1.1"
    foreign = resolve("x@there.test")
    assert foreign.remote == (Address("x", "there.test"),)
    assert not foreign.is_ours


def test_aliases_come_before_mailboxes_and_duplicates_are_removed():
    found = resolve(
        "team@here.test",
        users=["bob@here.test", "eve@here.test", "team@here.test"],
        aliases={"team@here.test": ["bob@here.test", "eve", "BOB@here.test", "z@there.test", "z@there.test"]},
    )
    assert names(found) == ["bob@here.test", "eve@here.test"]
    assert found.remote == (Address("z", "there.test"),)


def test_alias_naming_itself_is_its_mailbox():
    found = resolve(
        "bob@here.test",
        users=["bob@here.test", "eve@here.test"],
        aliases={"bob@here.test": ["bob@here.test", "eve@here.test"]},
    )
    assert names(found) == ["bob@here.test", "eve@here.test"]


def test_loop_without_a_mailbox_is_refused():
    loop = {"a@here.test": ["b@here.test"], "b@here.test": ["a@here.test"]}
    assert resolve("a@here.test", aliases=loop).refusal.enhanced == "5.4.6"
    found = resolve("a@here.test", users=["c@here.test"], aliases={**loop, "b@here.test": ["a@here.test", "c@here.test"]})
    assert names(found) == ["c@here.test"]


def test_catch_all_is_last():
    aliases = {"@here.test": ["bob@here.test"], "info@here.test": ["eve@here.test"]}
    users = ["bob@here.test", "eve@here.test"]
    assert names(resolve("anything@here.test", users=users, aliases=aliases)) == ["bob@here.test"]
    assert names(resolve("info+x@here.test", users=users, aliases=aliases)) == ["eve@here.test"]
    assert names(resolve("eve@here.test", users=users, aliases=aliases)) == ["eve@here.test"]


@pytest.mark.parametrize("depth", [9, 10, 11])
def test_depth_is_bounded(depth):
    aliases = {f"a{n}@here.test": [f"a{n + 1}@here.test"] for n in range(depth)}
    if depth <= 10:
        assert names(resolve("a0@here.test", users=[f"a{depth}@here.test"], aliases=aliases)) == [f"a{depth}@here.test"]
    else:
        with pytest.raises(TemporaryFailure):
            resolve("a0@here.test", users=[f"a{depth}@here.test"], aliases=aliases)


def test_fan_out_is_bounded():
    def all_of(count):
        return {"all@here.test": [f"u{n}@there.test" for n in range(count)]}

    assert len(resolve("all@here.test", aliases=all_of(MAX_TARGETS)).remote) == MAX_TARGETS
    with pytest.raises(TemporaryFailure):
        resolve("all@here.test", aliases=all_of(MAX_TARGETS + 1))


def test_doubling_aliases_cost_linear_work():
    aliases = {f"a{n}@here.test": [f"a{n + 1}@here.test"] * 2 + [f"a{n + 1}+x@here.test"] for n in range(9)}
    hooks = directory(users=["a9@here.test"], aliases=aliases)
    asyncio.run(Resolver(hooks, frozenset(), Log()).resolve(Address.parse("a0@here.test")))
    assert len(hooks.alias_expand.asked) < 100


def test_relay_domain_passes_on_what_nobody_knows():
    found = resolve("x@relay.test", relays=["relay.test"])
    assert (found.remote, found.is_ours) == ((Address("x", "relay.test"),), True)


def test_answers_of_other_directories():
    extra = {
        "ticket@here.test": HookTarget(Address("ticket", "here.test")),
        "away@here.test": RelayTarget(Address("x", "there.test")),
        "gone@here.test": NotFound("moved to the moon"),
        "list@here.test": AliasTarget(("bob@here.test",)),
    }
    users = ["bob@here.test"]
    assert isinstance(resolve("ticket@here.test", extra=extra).local[0], HookTarget)
    assert resolve("away@here.test", extra=extra).remote == (Address("x", "there.test"),)
    assert resolve("gone@here.test", extra=extra).refusal.text == "moved to the moon"
    assert names(resolve("list@here.test", extra=extra, users=users)) == ["bob@here.test"]


def test_a_name_written_in_pieces_is_the_same_name():
    assert names(resolve("jo\u0308rg@here.test", users=["j\u00f6rg@here.test"])) == ["j\u00f6rg@here.test"]
    assert resolve("jo\u0308rn@here.test", users=["j\u00f6rg@here.test"]).refusal.enhanced == "5.1.1"


def test_postmaster_of_every_domain_of_ours():
    users = ["postmaster@mx.here.test"]
    assert names(resolve("postmaster@here.test", users=users)) == ["postmaster@mx.here.test"]
    hooks = directory(users=users)
    bare = asyncio.run(Resolver(hooks, frozenset(), Log(), "mx.here.test").resolve(Address("Postmaster", "")))
    assert names(bare) == ["postmaster@mx.here.test"]
    assert resolve("Postmaster@here.test", users=["x@here.test"]).refusal.enhanced == "5.1.1"


@pytest.mark.parametrize(
    ("whom", "users", "local", "remote"),
    [
        ("x@here.test", ["x@here.test"], ["x@here.test"], ()),
        ("x@here.test", ["x@here.test", "postmaster@mx.here.test"], ["postmaster@mx.here.test"], ()),
        ("admin@there.test", [], [], (Address("admin", "there.test"),)),
    ],
)
def test_the_config_names_a_postmaster_for_domains_without(whom, users, local, remote):
    resolver = Resolver(directory(users=users), frozenset(), Log(), "mx.here.test", whom)
    for asked in (Address("Postmaster", "here.test"), Address("postmaster", "")):
        found = asyncio.run(resolver.resolve(asked))
        assert (names(found), found.remote, found.refusal) == (local, remote, None)
    assert asyncio.run(resolver.resolve(Address("nobody", "here.test"))).refusal.enhanced == "5.1.1"
    asked = Resolver(directory(), frozenset(), Log(), "mx.here.test", "postmaster@here.test").resolve(
        Address("postmaster", "here.test")
    )
    assert asyncio.run(asked).refusal.enhanced == "5.1.1", "nobody stands for himself"


def test_config_domains_and_hostname_are_ours_without_a_directory():
    hooks = SimpleNamespace(domain_lookup=None, alias_expand=None, recipient_lookup=None)
    resolver = Resolver(hooks, frozenset({"conf.test"}), Log(), "mx.here.test")
    assert asyncio.run(resolver.is_ours("conf.test")) == Domain("conf.test")
    assert asyncio.run(resolver.is_ours("mx.here.test")) == Domain("mx.here.test")
    assert asyncio.run(resolver.is_ours("")) is not None
    assert asyncio.run(resolver.is_ours("there.test")) is None
    assert asyncio.run(resolver.resolve(Address("x", "conf.test"))).refusal.code == 550


def test_malformed_alias_target_harms_nobody_else():
    found = resolve("a@here.test", users=["b@here.test"], aliases={"a@here.test": ["|/bin/sh@", "b@here.test"]})
    assert names(found) == ["b@here.test"]
