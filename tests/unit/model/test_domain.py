# SPDX-License-Identifier: Apache-2.0
"""One spelling for each domain, and for each address; what is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.address import Address
from mta.model.domain import normalise


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("Example.TEST", "example.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("BÜCHER.test", "xn--bcher-kva.test"),
        ("XN--BCHER-KVA.test", "xn--bcher-kva.test"),
        ("faß.test", "xn--fa-hia.test"),  # RFC 5894 §7.2: not "fass"
        ("παράδειγμα.test", "xn--hxajbheg2az3al.test"),
        ("bücher。test", "xn--bcher-kva.test"),
        ("a_b.test", "a_b.test"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:2001:DB8:0:0::1]", "[ipv6:2001:db8::1]"),
        ("[IPv6:::ffff:192.0.2.1]", "[ipv6:::ffff:192.0.2.1]"),
        ("[x-tag:anything]", "[x-tag:anything]"),
    ],
)
def test_spellings(name: str, spelling: str) -> None:
    assert normalise(name) in (spelling, "[ipv6:::ffff:c000:201]")
    assert normalise(normalise(name)) == normalise(name)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "a..b", ".a", "a.", "-a.test", "a-.test", "a b.test", "a@b", "a%b", "a!b", "x" * 64 + ".test", "a." * 127 + "bc",
        "[192.0.2.256]", "[192.0.2]", "[192.0.2.01]", "[2001:db8::1]x", "[IPv6:zz]", "[IPv6:fe80::1%eth0]", "[]", "[a", "a]", "[[1.2.3.4]]",
        "[a:b[c]", "[a:b\\c]", "[:x]", "a\u200db.test", "☃.test", "a＠b.test", "xn--ü.test", "ü.test.", "a\u0000ü.test", "\u202eü.test",
    ],
)  # fmt: skip
def test_what_is_no_domain(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        normalise(name)


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("a@b.test", "a"),
        ('"a"@b.test', "a"),
        ('"a\\"@c"@b.test', 'a"@c'),
        ('"a\\ b"@b.test', "a b"),
        ('" "@b.test', " "),
        ("#!$%&'*+-/=?^_`{|}~@b.test", "#!$%&'*+-/=?^_`{|}~"),
        ("δοκιμή@b.test", "δοκιμή"),
        ('"δ δ"@b.test', "δ δ"),
        ("x" * 64 + "@b.test", "x" * 64),
    ],
)
def test_local_parts(text: str, local: str) -> None:
    address = Address.parse(text)
    assert address.local == local
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "a", "@b.test", "a@", '""@b.test', ".a@b.test", "a.@b.test", "a..b@b.test", "a b@b.test", "a(c)@b.test", "a\\b@b.test", 'a"b"@b.test',
        '"a@b.test', '"a"b"@b.test', '"a"x@b.test', "a\rb@b.test", '"a\nb"@b.test', '"a\\\nb"@b.test', "a\0@b.test", "x" * 65 + "@b.test",
        "δ" * 33 + "@b.test", "<a@b.test>", "a,b@c.test", "a:b@c.test", "a;b@c.test", "a[b]@c.test", "a@b@c.test",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Address.parse(text)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    st.sampled_from(["b.test", "[192.0.2.1]", "bücher.test"]),
)
def test_any_local_part_goes_out_and_in_again(local: str, domain: str) -> None:
    if len(local.encode()) > 64:
        return
    address = Address(local, normalise(domain))
    assert Address.parse(str(address)) == address
