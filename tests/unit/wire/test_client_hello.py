"""The name in a ClientHello: of OpenSSL's own, whole, in pieces, in several records; and of anything else none."""

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.client_hello import MAX_HELLO, server_name


def hello(name):
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("name", ["mail.example.org", "MAIL.Example.ORG", None, "a" * 60 + ".test"])
def test_the_name(name) -> None:
    octets = hello(name)
    assert server_name(octets) == (name or "").lower()
    for end in range(len(octets)):
        assert server_name(octets[:end]) is None


def test_a_hello_in_several_records() -> None:
    octets = hello("mail.example.org")
    body = octets[5:]
    split = b"".join(b"\x16\x03\x01" + len(p).to_bytes(2, "big") + p for p in (body[:10], body[10:100], body[100:]))
    assert server_name(split) == "mail.example.org"


@pytest.mark.parametrize("octets", [b"EHLO x\r\n", b"\x15\x03\x01\x00\x02\x01\x00", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"])
def test_what_is_no_hello_has_no_name(octets) -> None:
    assert server_name(octets) == ""


@given(st.binary(max_size=300))
def test_any_octets_end(octets) -> None:
    assert server_name(octets) in (None, "") or isinstance(server_name(octets), str)
    hostile = b"\x16\x03\x01\xff\xff\x01\xff\xff\xff" + octets
    assert server_name(hostile + b"\0" * (MAX_HELLO + 1)) == ""
