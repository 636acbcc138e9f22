"""PROXY headers."""
# SPDX-License-Identifier: Apache-2.0

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.proxy import SIGNATURE, Proxied, read_proxy

V1 = b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 143\r\n"
V2 = SIGNATURE + b"\x21\x21\0\x24" + bytes(15) + b"\1" + bytes(15) + b"\2" + b"\0\1\0\2"


def test_headers() -> None:
    assert read_proxy(V1 + b"x") == Proxied(len(V1), "2001:db8::1", 65535, "2001:db8::2", 143)
    assert read_proxy(V2 + b"x") == Proxied(len(V2), "::1", 1, "::2", 2)
    assert read_proxy(b"PROXY UNKNOWN whatever\r\n") == Proxied(24)
    assert read_proxy(SIGNATURE + b"\x20\0\0\0") == Proxied(16)
    assert read_proxy(SIGNATURE + b"\x21\x31\0\1x") == Proxied(17)


@pytest.mark.parametrize("whole", [V1, V2])
def test_more_is_needed_until_it_is_whole(whole: bytes) -> None:
    assert all(read_proxy(whole[:cut]) is None for cut in range(len(whole)))


@pytest.mark.parametrize(
    "octets",
    [b"a NOOP\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 70000\r\n", b"PROXY " + b"x" * 120,
     SIGNATURE + b"\x11\x11\0\x0c", SIGNATURE + b"\x21\x11\0\4abcd", SIGNATURE + b"\x21\x11\xff\xff"],
)  # fmt: skip
def test_malformed(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        read_proxy(octets)


@given(st.binary(max_size=150), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c"]))
def test_anything_is_read_or_refused(octets: bytes, start: bytes) -> None:
    try:
        found = read_proxy(start + octets)
    except ValueError:
        return
    assert found is None or found.size <= len(start + octets)
