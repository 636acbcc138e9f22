"""Records and macros: the examples of RFC 7208 §7.4, what is malformed, and that nothing else is ever raised."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.address import Address
from mta.testing.plugins import FakeDns
from mta_spf.check import check
from mta_spf.macro import Malformed, parse_macros, query_name
from mta_spf.query import make_query
from mta_spf.record import is_policy, parse_record

STRONG_BAD = Address("strong-bad", "email.example.com")
NIBBLES = "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2"


def expanded(text: str, client: str = "192.0.2.3", sender: Address | None = STRONG_BAD, helo: str = "mx.example.com") -> str:
    """The text as the explanation of a fail: there every macro is allowed, and nothing is cut."""
    domain = sender.domain if sender is not None else helo
    records = {("txt", domain): [b"v=spf1 -all exp=why.example.net"], ("txt", "why.example.net"): [text.encode()]}
    query = make_query(ip_address(client), sender, helo, "mx.example.test", 1_800_000_000.9)
    return asyncio.run(check(FakeDns(records), query, explain=True)).explanation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{D000000000000000000002}", "example.com"),
        (f"%{{d{'9' * 900}R}}", "com.example.email"),
        ("%{S}|%{L-+}", "strong-bad%40email.example.com|strong.bad"),
        ("100%% %_ %- %{c} %{r} %{t} %{h} %{p}", "100%   %20 192.0.2.3 mx.example.test 1800000000 mx.example.com unknown"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expanded(text) == expected


def test_expansion_for_ipv6_and_the_null_sender() -> None:
    assert expanded("%{ir}.%{v}._spf.%{d2}", "2001:db8::cb01") == f"{NIBBLES}.ip6._spf.example.com"
    assert expanded("%{c}", "2001:db8::cb01") == "2001:db8::cb01"
    assert expanded("%{s} %{h}", sender=None) == "postmaster@mx.example.com mx.example.com"


@pytest.mark.parametrize(
    "text", ["%", "%{", "%{}", "%{d", "%{d0}", "%{z}", "%{dr1}", "%{d!}", "%d", "%{ d}", "a\tb", "é", "\x7f", "%{d}%"]
)
def test_malformed_macros(text: str) -> None:
    with pytest.raises(Malformed):
        parse_macros(text)


@pytest.mark.parametrize(
    "terms",
    [
        "a:b.example/33", "a:b.example//129", "a/", "a//", "a/1/2", "a/024", "mx:", "ptr/24", "ptr:", "exists", "exists:", "include",
        "include:com", "include:b.example/24", "all:x", "all/8", "ip4", "ip4:", "ip4:1.2.3", "ip4:1.2.3.4/", "ip4:01.2.3.4",
        "ip4:1.2.3.4/33", "ip4:::1", "ip6:1.2.3.4", "ip6:::1%eth0", "ip6:::1/129", "ip6:::1//64", "-redirect=b.example", "redirect=",
        "redirect=a.example redirect=b.example", "exp=a.example exp=b.example", "exp=%{c}.example", "a:%{t}.example", "x=%", "=x", "1x=y",
        "++all", "all\t-all", "all\x00", "al\xcc", "moo", "moo:x", "a:b.example.-x", "a:b.1", "a:" + "x" * 1022 + ".com",
        "ip4:192.0.2.1 " * 600,
    ],
)  # fmt: skip
def test_malformed_records(terms: str) -> None:
    with pytest.raises(Malformed):
        parse_record(b"v=spf1 -all " + terms.encode("latin-1"))


@pytest.mark.parametrize(
    "terms",
    [
        "", "   ", "A MX PTR", "a/0", "a//0", "a/32//128", "a:b.example/24//64", "mx:%{d}/24", "ptr:b.example.", "EXISTS:%{i}.x.example",
        "include:_spf.b.example", "IP6:2001:DB8::/32", "ip6:::ffff:192.0.2.1", "redirect=%{d2}", "EXP=e.example", "x.y-z_0=%{c}/a:b=c",
        "x=", "a:1-2.x-y", "a:b.example.xn--zckzah", "a:x%%", "exists:%{l1r+-}.%{ir/}",
    ],
)  # fmt: skip
def test_well_formed_records(terms: str) -> None:
    parse_record(b"v=spf1 " + terms.encode())


PIECES = st.sampled_from(
    ["a", "mx", "ptr", "ip4", "ip6", "exists", "include", "all", "redirect", "exp", "x", ":", "=", "/", "//", " ", "+", "-", "~", "?",
     "%{", "}", "%{d}", "%{l1r-}", "%{I2R.}", "%%", "%_", "%-", "%", "192.0.2.1", "2001:db8::1", "24", "033", "129", ".", "b.example",
     "museum", "x" * 70, "\t", "\0", "é", "9" * 30]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=200))
@settings(max_examples=400, deadline=None)
def test_reading_raises_nothing_but_malformed(text: str) -> None:
    with contextlib.suppress(Malformed):
        parse_record(b"v=spf1 " + text.encode())


@given(
    st.lists(PIECES, max_size=30).map("".join),
    st.text(min_size=1, max_size=64),
    st.text(max_size=255),
    st.sampled_from(["192.0.2.1", "2001:db8::1"]),
)
@settings(max_examples=300, deadline=None)
def test_checking_raises_nothing(record: str, local: str, helo: str, client: str) -> None:
    records = {("txt", "b.example"): [b"v=spf1 " + record.encode()], ("ptr", client): ["b.example", "", "x." * 200]}
    for sender in (Address(local, "b.example"), None):
        outcome = asyncio.run(check(FakeDns(records), make_query(ip_address(client), sender, helo), explain=True))
        assert outcome.result in ("none", "neutral", "pass", "fail", "softfail", "permerror")
        assert outcome.look_ups <= 100


@pytest.mark.parametrize(
    ("record", "expected"),
    [(b"v=spf1", True), (b"V=SPF1 a", True), (b"v=spf10", False), (b"v=spf1\ta", False), (b" v=spf1", False), (b"", False)],
)
def test_is_policy(record: bytes, expected: bool) -> None:
    assert is_policy(record) is expected


def test_names_to_ask_for() -> None:
    assert query_name("example.org.") == "example.org"
    assert query_name("a b%.example") == "a b%.example"
    for text in ("", ".", "a..b", ".example", "x" * 64 + ".example", "bücher.example", "a\\.example", "a\x00b.example"):
        assert query_name(text) is None
    long = ".".join(["x" * 49] * 8)
    assert query_name(long) == ".".join(["x" * 49] * 5)
    exact = ".".join(["x" * 62] * 4) + ".z"
    assert query_name(f"{exact}.") == query_name(f"y.{exact}") == exact
    assert query_name(f"y{exact}") == exact.partition(".")[2]
