"""Addresses and domains: refused, or in one spelling that reads as itself."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.address import Address
from mta.model.domain import normalise

FILES = ("/mta/model/",)
SEEDS = (
    b"a@b.test",
    b'"a\\"@c"@b.test',
    "δ@bücher.test".encode(),
    b"a@[192.0.2.1]",
    b"a@[IPv6:2001:db8::1]",
    b"a@[x-y:z]",
    "faß。test".encode(),
)
WORDS = (
    b"@",
    b'"',
    b"\\",
    b"[",
    b"]",
    b"IPv6:",
    b":",
    b"::",
    b".",
    b"xn--",
    b"-",
    "ß".encode(),
    "\u200d".encode(),
    "＠".encode(),
    "\u0130".encode(),
)


def run(octets: bytes) -> None:
    text = octets.decode("utf-8", "surrogateescape")
    try:
        address = Address.parse(text)
    except ValueError:
        pass
    else:
        assert Address.parse(str(address)) == address
        assert address.domain.isascii()
        assert 0 < len(address.local.encode("utf-8", "surrogatepass")) <= 64
    try:
        domain = normalise(text)
    except ValueError:
        return
    assert normalise(domain) == domain == domain.lower()
    assert 0 < len(domain) <= 253 or domain.startswith("[")
    assert not set(domain) & set('@ \r\n\0%!"')
