# SPDX-License-Identifier: Apache-2.0
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.sasl import MECHANISMS, Challenge, Credentials, LoginExchange, PlainExchange, SaslError


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def test_plain_with_and_without_initial_response() -> None:
    response = b64(b"admin\0alice\0p\xc3\xa4ss")
    wanted = Credentials("alice", "päss", "admin")
    assert PlainExchange().begin(response.decode()) == wanted
    exchange = PlainExchange()
    assert exchange.begin(None) == Challenge(b"")
    assert exchange.step(response) == wanted


def test_login_asks_for_name_and_password() -> None:
    exchange = LoginExchange()
    assert exchange.begin(None) == Challenge(b"Username:")
    assert exchange.step(b64(b"alice")) == Challenge(b"Password:")
    assert exchange.step(b64(b"secret")) == Credentials("alice", "secret")
    exchange = LoginExchange()
    assert exchange.begin(b64(b"alice").decode()) == Challenge(b"Password:")


@pytest.mark.parametrize(
    "line",
    [b"*", b"====", b"a", b"YQ=", b"YQ==x", b"YW Jj", b64(b"a\0b"), b64(b"\0\0p"), b64(b"\0u\0"), b64(b"\0u\0p\0"), b64(b"\0\xff\0p"),
     b64(b"\0" + b"u" * 2000 + b"\0p"), b"A" * 20000],
    ids=lambda line: repr(line[:20]),
)  # fmt: skip
def test_broken_plain_is_refused(line: bytes) -> None:
    exchange = PlainExchange()
    exchange.begin(None)
    with pytest.raises(SaslError):
        exchange.step(line)


@pytest.mark.parametrize("line", [b"*", b"", b"!", b64(b"a\0b"), b64(b"u" * 2000)], ids=lambda line: repr(line[:20]))
def test_broken_login_is_refused(line: bytes) -> None:
    exchange = LoginExchange()
    exchange.begin(None)
    with pytest.raises(SaslError):
        exchange.step(line)


@given(st.sampled_from(sorted(MECHANISMS)), st.lists(st.binary(max_size=60), max_size=3))
def test_no_octets_break_an_exchange(name: str, lines: list[bytes]) -> None:
    exchange = MECHANISMS[name]()
    exchange.begin(None)
    for line in lines:
        try:
            if isinstance(exchange.step(b64(line)), Credentials):
                return
        except SaslError:
            return


def test_the_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Credentials("alice", "secret"))
