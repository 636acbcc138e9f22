# SPDX-License-Identifier: Apache-2.0
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.sasl import Challenge, Credentials, Login, Plain, SaslError, decode_base64, decode_initial


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def test_plain() -> None:
    assert Plain().step(b"admin\0alice\0p\xc3\xa4ss") == Credentials("alice", "päss", "admin")


def test_login_asks_for_name_and_password() -> None:
    run = Login()
    assert run.step(None) == Challenge(b"Username:")
    assert run.step(b"alice") == Challenge(b"Password:")
    assert run.step(b"secret") == Credentials("alice", "secret")
    assert Login().step(b"alice") == Challenge(b"Password:")


@pytest.mark.parametrize(
    "line", [b"*", b"====", b"a", b"YQ=", b"YQ==x", b"YW Jj", b"!", b"A" * 20000], ids=lambda line: repr(line[:20])
)
def test_broken_base64_is_refused(line: bytes) -> None:
    with pytest.raises(SaslError):
        decode_base64(line)


def test_an_equals_sign_is_an_empty_initial_response() -> None:
    assert decode_initial("=") == b""
    assert decode_initial("YQ==") == b"a"
    assert decode_base64(b"A" * 12288)


@pytest.mark.parametrize(
    "response",
    [None, b"a\0b", b"\0\0p", b"\0u\0", b"\0u\0p\0", b"\0\xff\0p", b"\0" + b"u" * 2000 + b"\0p"],
    ids=lambda response: repr(response)[:20],
)
def test_broken_plain_is_refused(response: bytes | None) -> None:
    with pytest.raises(SaslError):
        Plain().step(response)


@pytest.mark.parametrize("response", [b"", b"a\0b", b"u" * 2000], ids=lambda response: repr(response)[:20])
def test_broken_login_is_refused(response: bytes) -> None:
    with pytest.raises(SaslError):
        Login().step(response)


@given(st.sampled_from([Plain, Login]), st.lists(st.binary(max_size=60), max_size=3))
def test_no_octets_break_an_exchange(kind: type[Plain] | type[Login], responses: list[bytes]) -> None:
    run = kind()
    for response in responses:
        try:
            if isinstance(run.step(response), Credentials):
                return
        except SaslError:
            return


def test_the_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Credentials("alice", "secret"))
