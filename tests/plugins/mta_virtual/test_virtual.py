"""Aliases, domains, relay recipients and people who have moved, through the server's own resolver."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mta.app.resolution import graph, graph_lines
from mta.config.sections import Config
from mta.directory.resolve import Resolution, Resolver
from mta.model.address import Address
from mta.model.directory import MailboxTarget
from mta.model.errors import TemporaryFailure
from mta.model.ids import UserId
from mta.testing.plugins import RecordingLog, host_with, plugin_of
from mta_hooks import hookimpl
from mta_virtual import Virtual
from mta_virtual.targets import split_targets

PEOPLE = {"bob@example.org": 1, "carol@example.org": 2, "bob@alias.org": 3, "root@mx.example.test": 4}


@hookimpl
def recipient_lookup(address: Address) -> MailboxTarget | None:
    number = PEOPLE.get(str(address).lower())
    return None if number is None else MailboxTarget(UserId(number), address)


def resolve(text: str, log: RecordingLog | None = None, **config: Any) -> Resolution:
    host = host_with(Virtual(), config=config, log=log or RecordingLog())
    host.change(add=[host.make("people", plugin_of(recipient_lookup, name="people"), "built-in")])
    resolver = Resolver(host, frozenset({"example.org"}), log or RecordingLog(), "mx.example.test")
    return asyncio.run(resolver.resolve(Address.parse(text)))


def who(resolution: Resolution) -> list[str]:
    return sorted(
        [
            *(str(t.address) + (f" +{t.detail}" if isinstance(t, MailboxTarget) and t.detail else "") for t in resolution.local),
            *map(str, resolution.remote),
        ]
    )


def test_aliases_and_details() -> None:
    aliases = {
        "sales@example.org": "bob@example.org, carol@elsewhere.net",
        "bob@example.org": "bob@example.org, x@elsewhere.net",
        "@example.org": "carol@example.org",
    }
    assert who(resolve("Sales@example.org", aliases=aliases)) == ["bob@example.org", "carol@elsewhere.net", "x@elsewhere.net"]
    assert who(resolve("sales+q@example.org", aliases=aliases)) == [
        "bob@example.org +q",
        "carol+q@elsewhere.net",
        "x+q@elsewhere.net",
    ]
    assert who(resolve("nobody@example.org", aliases=aliases)) == ["carol@example.org"]
    assert who(resolve("carol@example.org", aliases=aliases)) == ["carol@example.org"], "a mailbox goes before the catch-all"


def test_loops_are_cut() -> None:
    loop = resolve("a@example.org", aliases={"a@example.org": "b@example.org", "b@example.org": "a@example.org"})
    assert loop.refusal is not None
    assert loop.refusal.enhanced == "5.4.6"


def test_domains() -> None:
    tables: dict[str, Any] = {
        "aliases": {"virtual.org": "anything", "a@virtual.org": "bob@example.org", "@alias.org": "@example.org"},
        "domains": {"alias.org": "x"},
    }
    assert who(resolve("a@virtual.org", **tables)) == ["bob@example.org"]
    assert who(resolve("bob+y@alias.org", **tables)) == ["bob@example.org +y"], "before the mailbox bob@alias.org"
    assert resolve("x@virtual.org", **tables).refusal is not None
    tables["aliases"]["ann@alias.org"] = "carol@example.org"
    assert who(resolve("ann+y@alias.org", **tables)) == ["carol@example.org +y"], "an alias of its own goes before the domain's"
    assert not resolve("a@other.org", **tables).is_ours


def test_patterns_see_whole_addresses_only(tmp_path: Path) -> None:
    (tmp_path / "re").write_text("/^(.*)@example\\.org$/ $1@elsewhere.net\n/./ everything@elsewhere.net\n")
    tables = {"aliases": f"regexp:{tmp_path}/re"}
    assert who(resolve("bob@example.org", **tables)) == ["bob@elsewhere.net"]
    assert not resolve("a@stranger.org", **tables).is_ours, "no pattern makes the domains of others ours"


def test_relay() -> None:
    tables: dict[str, Any] = {
        "relay_domains": {".far.org": "x", "far.org": "x"},
        "relay_recipients": {"ann@far.org": "x", "@sub.far.org": "x"},
    }
    assert who(resolve("ann+1@far.org", **tables)) == ["ann+1@far.org"]
    assert who(resolve("any@sub.far.org", **tables)) == ["any@sub.far.org"]
    refusal = resolve("bob@far.org", **tables).refusal
    assert refusal is not None
    assert (refusal.code, refusal.enhanced) == (550, "5.1.1")
    del tables["relay_recipients"]
    assert who(resolve("bob@far.org", **tables)) == ["bob@far.org"]


def test_relocated() -> None:
    moved = {"bob@example.org": "bob@new.org", "dave": "somewhere"}
    refusal = resolve("bob+x@example.org", relocated=moved, relocated_code=551).refusal
    assert refusal is not None
    assert (refusal.code, refusal.enhanced, refusal.text) == (551, "5.1.6", "user has moved to bob@new.org")
    refusal = resolve("dave@mx.example.test", relocated=moved).refusal
    assert refusal is not None
    assert refusal.code == 550
    refusal = resolve("dave@example.org", relocated=moved).refusal
    assert refusal is not None
    assert refusal.enhanced == "5.1.1"


def test_etc_aliases(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# members\nbob@example.org\ncarol@example.org, ann@far.net\n")
    (tmp_path / "aliases").write_text(
        f'postmaster: root\nstaff: :include:{tmp_path}/list\nprog: |archive\nbad: "|/bin/sh -c evil", bob@example.org\nfile: /var/mail/x\n'
    )
    log = RecordingLog()
    files = f"aliases:{tmp_path}/aliases"
    assert who(resolve("Postmaster@mx.example.test", files=files)) == ["root@mx.example.test"]
    assert who(resolve("staff@mx.example.test", files=files)) == ["ann@far.net", "bob@example.org", "carol@example.org"]
    assert [str(target.address) for target in resolve("prog@mx.example.test", files=files).local] == [
        '"|archive prog@mx.example.test"'
    ]
    assert who(resolve("bad@mx.example.test", log, files=files)) == ["bob@example.org"]
    assert "no command line" in str(log.named("virtual.target_refused")[0]["reason"])
    with pytest.raises(TemporaryFailure):
        resolve("file@mx.example.test", files=files)
    with pytest.raises(TemporaryFailure):
        resolve("x@example.org", aliases={"x@example.org": f":include:{tmp_path}/list"})
    assert resolve("staff@example.org", files=files).refusal is not None, "names belong to local domains"


def test_the_graph_shows_loops_programs_and_dead_ends() -> None:
    aliases = {"a@example.org": "b@example.org, |archive, nobody@example.org", "b@example.org": "a@example.org, x@far.net"}
    host = host_with(Virtual(), config={"aliases": aliases})
    resolver = Resolver(host, frozenset({"example.org"}), RecordingLog(), "mx.example.test")
    rehearsal: Any = SimpleNamespace(hooks=host, resolver=resolver, config=Config())
    lines = graph_lines(asyncio.run(graph(rehearsal, Address("a", "example.org"))))
    text = "\n".join(lines)
    assert "a@example.org: alias -> b@example.org, |archive (program), nobody@example.org" in text
    assert "b@example.org: alias -> a@example.org (loop), x@far.net" in text
    assert "nobody@example.org: dead end" in text
    assert "remote: x@far.net" in text


def test_targets() -> None:
    assert split_targets('a@b.org, "odd, name"@b.org ,"|prog", :include:/x ,') == [
        "a@b.org",
        '"odd, name"@b.org',
        "|prog",
        ":include:/x",
    ]
