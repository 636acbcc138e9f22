"""Tables as operators write them: text files of Postfix, networks, patterns, YAML; changes are seen, mistakes are named."""

import asyncio
import os
from pathlib import Path

import pytest

from mta.lookup.cidr import Networks
from mta.lookup.opened import Lookups
from mta.lookup.patterns import Patterns
from mta.lookup.text import read_aliases, read_pairs
from mta.model.address import Address
from mta.model.errors import ConfigError, TemporaryFailure
from mta.pluginhost.threads import Pool
from mta.testing.plugins import RecordingLog
from mta_hooks.lookup import TableOptions, address_keys, client_keys, detail_of, domain_keys

PAIRS = """# comment
A@Example.org   value one
   continued
# inner comment
   more
b\tx
b\tsecond
"c d"@e.org  quoted
novalue
key: colon value

  # indented comment
d  trailing   \r
"""


def lookups(log: RecordingLog | None = None, **named: object) -> Lookups:
    return Lookups(TableOptions("/nowhere", "sqlite", Pool("test"), log or RecordingLog()), named)  # type: ignore[arg-type]


def test_pairs() -> None:
    entries = read_pairs(PAIRS)
    assert entries.values == {
        "a@example.org": "value one   continued   more",
        "b": "x",
        '"c d"@e.org': "quoted",
        "key:": "colon value",
        "d": "trailing",
    }
    assert [line for line, _ in entries.problems] == [7, 9]


def test_aliases() -> None:
    entries = read_aliases('postmaster: root\n# c\nroot: alice,\n  "|vacation" , :include:/x\n"odd name": bob\nbroken\n')
    assert entries.values == {"postmaster": "root", "root": 'alice,  "|vacation" , :include:/x', "odd name": "bob"}
    assert entries.problems[0][0] == 6


def test_networks() -> None:
    table = Networks.read(
        "192.0.2.0/24 net\nif 10.1.0.0/16\n10.1.2.3 host\nendif\n10.0.0.1/8 bad\n2001:db8::/32 six\n10.0.0.0/8 ten\n!10.0.0.0/8 other\nendif\n"
    )
    asked = {key: table.get(key) for key in ("192.0.2.5", "10.1.2.3", "10.1.2.4", "2001:db8::1", "8.8.8.8", "foo")}
    assert asked == {
        "192.0.2.5": "net",
        "10.1.2.3": "host",
        "10.1.2.4": "ten",
        "2001:db8::1": "six",
        "8.8.8.8": "other",
        "foo": None,
    }
    assert [line for line, _ in table.problems] == [5, 9]


def test_patterns() -> None:
    table = Patterns.read(
        "/^(.*)@example\\.org$/  $1@example.net\n!/\\.org$/ notorg\nif /^z/\n/q/i ${0}? \nif !/q/\n/x/  zx-noq\n  $$\nendif\nendif\n"
        "/foo\\/bar/ slash\n/bad(/ nothing\n~tilde/(x)~ T$(1)\n/one(a)/ $2\n!/x/ $1\n/basic/x no\nunfinished\n/only/\n",
        perl=True,
    )
    assert table.get("A@EXAMPLE.ORG") == "A@example.net"
    assert table.get("zy") == "notorg"
    assert table.get("zax.org") == "zx-noq  $"
    assert table.get("foo/bar.org") == "slash"
    assert table.get("tilde/x.org") == "Tx"
    assert table.get("else.org") is None
    assert [line for line, _ in table.problems] == [11, 13, 14, 16, 17]


def test_keys() -> None:
    address = Address("Bob+x", "sub.example.org")
    assert address_keys(address) == ["bob+x@sub.example.org", "bob@sub.example.org", "@sub.example.org"]
    assert address_keys(address, access=True) == [
        "bob+x@sub.example.org", "bob@sub.example.org", "sub.example.org", ".example.org", ".org", "bob+x@", "bob@",
    ]  # fmt: skip
    assert address_keys(None) == ["<>"]
    assert list(domain_keys("[192.0.2.1]")) == ["[192.0.2.1]"]
    assert client_keys("192.0.2.1") == ["192.0.2.1", "192.0.2", "192.0", "192"]
    assert client_keys("2001:db8::1") == ["2001:db8::1", "2001:db8", "2001"]
    assert detail_of(address, "bob@sub.example.org") == "+x"
    assert detail_of(address, "bob+x@sub.example.org") == detail_of(address, "@sub.example.org") == ""


def test_a_file_that_changes_is_read_again_and_a_broken_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.lookup.file.FRESH", -1.0)
    monkeypatch.setattr("mta.lookup.file.SETTLED", 100.0)
    path = tmp_path / "map"
    log = RecordingLog()
    table = lookups(log).table(f"hash:{path}")

    async def run() -> None:
        with pytest.raises(ConfigError, match=f"{path}: hash: No such file"):
            await table.open()
        with pytest.raises(TemporaryFailure):
            await table.get("a")
        path.write_text("a one\nwrong\n")
        assert await table.get("A") == "one"
        path.write_text("a chan")
        assert await table.get("a") == "one", "it is still being written"
        path.write_text("a changed\n")
        os.utime(path, (1, 1))
        assert await table.get("a") == "changed"
        os.remove(path)
        assert await table.get("a") == "changed"

    asyncio.run(run())
    assert log.named("table.entry_refused") == [{"where": f"{path}:2", "reason": "expected: key, white space, value"}]
    assert log.named("table.unreadable")


def test_sources(tmp_path: Path) -> None:
    (tmp_path / "re").write_text("/^@/ pattern\n/^b@/ whole\n")
    made = lookups(first={"a@x": "1", "@x": ["2", "3"]}, both=["first", f"regexp:{tmp_path}/re", {"c@x": "4"}], again="again")

    async def run() -> None:
        both = made.table("both")
        assert await both.find(["a@x", "@x"]) == "1"
        assert await both.find(["b@x", "@x"]) == "whole"
        assert await both.find(["c@x", "@x"]) == "4"
        assert await both.find(["d@x", "@y"]) is None, "patterns see the whole key only"
        assert await made.table("first").get("@x") == "2, 3"
        assert await made.table("static:yes").get("anything") == "yes"
        assert made.table(None).empty
        assert made.table("both") is both

    asyncio.run(run())
    for source, said in (
        ("again", "names itself"),
        ("nothing", "no table named nothing"),
        ("hash:relative", "absolute"),
        ("odd:x", "no table has the type odd"),
    ):
        with pytest.raises(ConfigError, match=said):
            made.table(source)
