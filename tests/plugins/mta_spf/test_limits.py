"""What a stranger's records may cost: look-ups, seconds of waiting, seconds of work (RFC 7208 §4.6.4, §11.1)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import pytest

from mta.model.address import Address
from mta.testing.plugins import FakeDns
from mta_hooks.services import DnsError
from mta_spf.check import check
from mta_spf.query import Limits, Outcome, Query, make_query

SENDER = Address("bob", "b.example")


def query(client: str = "192.0.2.1", sender: Address | None = SENDER, helo: str = "mx.b.example") -> Query:
    return make_query(ip_address(client), sender, helo)


def ask(records: Mapping[tuple[str, str], Any], who: Query | None = None, **options: Any) -> tuple[Outcome, FakeDns]:
    dns = FakeDns(records)
    return asyncio.run(check(dns, who or query(), **options)), dns


def spf(**policies: str) -> dict[tuple[str, str], Any]:
    return {("txt", f"{name}.example"): [b"v=spf1 " + terms.encode()] for name, terms in policies.items()}


def test_a_loop_of_includes_ends_at_ten() -> None:
    outcome, dns = ask(spf(b="include:c.example", c="include:b.example"))
    assert (outcome.result, outcome.reason) == ("permerror", "more than 10 terms ask DNS")
    assert len(dns.asked) == outcome.look_ups == 11


def test_a_tree_of_includes_ends_at_ten() -> None:
    outcome, dns = ask(spf(b="include:c.example " * 9, c="include:d.example " * 9, d="include:e.example " * 9, e="?all"))
    assert outcome.result == "permerror"
    assert len(dns.asked) == 11


def test_look_ups_end_at_a_hundred() -> None:
    hosts = [(10, f"h{n}.example") for n in range(10)]
    records: dict[tuple[str, str], Any] = {("mx", f"m{n}.example"): hosts for n in range(10)}
    records |= {("a", host): ["198.51.100.1"] for _, host in hosts}
    outcome, dns = ask(records | spf(b=" ".join(f"mx:m{n}.example" for n in range(10))))
    assert (outcome.result, outcome.reason) == ("permerror", "more than 100 look-ups")
    assert len(dns.asked) == 100


def test_void_is_what_the_term_names_itself() -> None:
    assert ask(spf(b="a:x.example exists:y.example mx:z.example -all"))[0].result == "permerror"
    assert ask(spf(b="a:x.example exists:y.example ptr -all"))[0].result == "fail"
    hosts = {("mx", "b.example"): [(1, "h1.example"), (1, "h2.example"), (1, "h3.example"), (1, "h4.example")]}
    assert ask(hosts | spf(b="mx -all"), query("2001:db8::1"))[0].result == "fail"
    assert ask(spf(b="a:%{h} a:%{h} a:%{h} -all"), query(helo="x" * 70))[0].result == "fail"  # no such name is asked for


def test_ten_names_of_the_client_and_each_once() -> None:
    names = [f"n{n}.example" for n in range(12)] + ["good.b.example"]
    records: dict[tuple[str, str], Any] = {("ptr", "192.0.2.1"): names, ("a", "good.b.example"): ["192.0.2.1"]}
    outcome, dns = ask(records | spf(b="ptr:example exists:%{p}.x.example ptr:example -all"))
    assert outcome.result == "permerror"  # "example" is no domain of a record
    outcome, dns = ask(records | spf(b="ptr:b.example -all"))
    assert (outcome.result, len(dns.asked)) == ("fail", 2)  # names outside b.example need no address
    records[("ptr", "192.0.2.1")] = ["n1.b.example", "good.b.example"]
    outcome, dns = ask(records | spf(b="exists:%{p}.x.example ptr:c.example ptr -all"))
    assert outcome.result == "pass"
    assert dns.asked.count(("a", "good.b.example")) == dns.asked.count(("ptr", "192.0.2.1")) == 1


def test_no_answer_for_a_name_of_the_client_is_none() -> None:
    records: dict[tuple[str, str], Any] = {("ptr", "192.0.2.1"): ["bad.b.example", "good.b.example"]}
    records |= {("a", "bad.b.example"): DnsError(), ("a", "good.b.example"): ["192.0.2.1"]}
    assert ask(records | spf(b="ptr -all"))[0].result == "pass"
    assert ask({("ptr", "192.0.2.1"): DnsError()} | spf(b="ptr -all"))[0].result == "fail"
    assert ask({("a", "b.example"): DnsError()} | spf(b="a -all"))[0].result == "temperror"


class SilentDns(FakeDns):
    async def a(self, name: str) -> list[str]:
        await asyncio.sleep(60)
        return []

    async def txt(self, name: str) -> list[bytes]:
        if name == "why.example":
            await asyncio.sleep(60)
        return await super().txt(name)


@pytest.mark.parametrize(("terms", "result"), [("a -all", "temperror"), ("-all exp=why.example", "fail")])
def test_time_ends(terms: str, result: str) -> None:
    started = time.monotonic()
    outcome = asyncio.run(check(SilentDns(spf(b=terms)), query(), explain=True, limits=Limits(seconds=0.02)))
    assert (outcome.result, outcome.explanation) == (result, "")
    assert time.monotonic() - started < 1


def measure(records: Mapping[tuple[str, str], Any], who: Query) -> tuple[str, float]:
    """Seconds of processor time, the best of three, each with records not seen before."""
    times = []
    for n in range(3):
        fresh = {key: [b"%s x%d=" % (text, n) for text in value] if key[0] == "txt" else value for key, value in records.items()}
        started = time.process_time()
        outcome, _ = ask(fresh, who, explain=True)
        times.append(time.process_time() - started)
    return outcome.result, min(times)


def chain(terms: str) -> dict[tuple[str, str], Any]:
    """Eleven records, as many as one check reads."""
    names = ["b", *(f"c{n}" for n in range(10))]
    return spf(**{name: f"{terms} redirect={names[n + 1] if n < 10 else 'end'}.example" for n, name in enumerate(names)})


@pytest.mark.parametrize(
    ("records", "who"),
    [
        (chain("ip4:1.2.3.4 " * 670), query()),
        (chain("ip6:2001:db8:ffff:ffff::1/65 " * 278), query()),
        (chain(" ".join(f"x={'%{S9r.-+,/_=}' * 78}" for _ in range(7))), query()),
        (spf(b=" ".join(f"exists:{'%{S9r.-+,/_=}' * 77}.com" for _ in range(7))), query(sender=Address(".-" * 32, "b.example"))),
        (spf(b=f"exists:{'%{H}' * 250}.com " * 7), query(helo="é." * 250)),
        (chain("a:" + "/" * 1000), query()),
        (chain("a:" + "x" * 1000), query()),
        (chain("a:" + ".x" * 500 + "-"), query()),
        (spf(b="v" * 100_000), query()),
    ],
    ids=["ip4", "ip6", "modifiers", "macros", "helo", "slashes", "letters", "dots", "length"],
)
def test_bombs(records: Mapping[tuple[str, str], Any], who: Query) -> None:
    result, seconds = measure(records, who)
    assert result in ("permerror", "neutral")
    assert seconds <= 0.1
