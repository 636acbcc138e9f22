"""SCRAM against the examples of RFC 5802 §5 and RFC 7677 §3, and everything that must not pass."""

# SPDX-License-Identifier: Apache-2.0
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.wire.sasl import SaslError
from mta.wire.sasl.saslprep import saslprep
from mta.wire.sasl.scram import derive_keys, format_keys, parse_keys, read_client_first, server_first, verify

RFC_5802 = (
    "sha1", b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", b"3rfcNHYJY1ZVvWVs7j", "QSXCR+Q6sek8bf92",
    b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
)  # fmt: skip
RFC_7677 = (
    "sha256", b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "W22ZaJ0SNY7soEsUEjb6gQ==",
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
)  # fmt: skip


@pytest.mark.parametrize("vector", [RFC_5802, RFC_7677], ids=["RFC 5802 §5", "RFC 7677 §3"])
def test_the_rfc_examples(vector):
    hash, first, nonce, salt, ours, final, ending = vector
    keys = derive_keys("pencil", hash, base64.b64decode(salt), 4096)
    client = read_client_first(first)
    assert (client.username, client.flag, client.authzid) == ("user", "n", "")
    server = server_first(client, nonce, keys.salt, keys.iterations)
    assert server.octets == ours
    assert verify(client, server, keys, final, b"") == ending
    wrong = derive_keys("pencils", hash, keys.salt, 4096)
    assert verify(client, server, wrong, final, b"") is None


def test_another_exchange_or_channel_does_not_count():
    hash, first, nonce, salt, _ours, final, _ending = RFC_7677
    keys = derive_keys("pencil", hash, base64.b64decode(salt), 4096)
    client = read_client_first(first)
    with pytest.raises(SaslError, match="nonce"):
        verify(client, server_first(client, b"other", keys.salt, 4096), keys, final, b"")
    server = server_first(client, nonce, keys.salt, 4096)
    with pytest.raises(SaslError, match="channel"):
        verify(client, server, keys, final, b"data of a channel")
    with pytest.raises(SaslError, match="channel"):
        verify(client, server, keys, final.replace(b"c=biws", b"c=eSws"), b"")
    with pytest.raises(SaslError, match="proof"):
        verify(client, server, keys, final.rpartition(b",p=")[0] + b",p=YWJj", b"")


def test_the_header_is_read():
    client = read_client_first(b"p=tls-exporter,a=b=3Db,n=a=2Cb,r=12345678")
    assert (client.flag, client.binding, client.authzid, client.username) == ("p", "tls-exporter", "b=b", "a,b")
    assert client.header == b"p=tls-exporter,a=b=3Db,"
    assert read_client_first(b"y,,n=u,r=12345678,x=1").flag == "y"


@pytest.mark.parametrize(
    "octets",
    [b"", b"n,,", b"x,,n=u,r=12345678", b"n,n=u,r=12345678", b"n,,n=,r=12345678", b"n,,n=u,r=1", b"n,,n=u,r=1234,5678", b"n,,n=u,r=12345678,m=x",
     b"n,,m=x,n=u,r=12345678", b"n,,n=u=41,r=12345678", b"n,,n=\xff,r=12345678", b"n,,n=" + b"u" * 2000 + b",r=12345678", b"p=,,n=u,r=12345678"],
)  # fmt: skip
def test_malformed_first_messages(octets):
    with pytest.raises(SaslError):
        read_client_first(octets)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_no_octets_break_it(first, final):
    try:
        read_client_first(first)
    except SaslError:
        pass
    client = read_client_first(b"n,,n=user,r=12345678")
    keys = parse_keys(_KEYS)
    try:
        assert verify(client, server_first(client, b"abc", keys.salt, 4096), keys, final, b"") is None
    except SaslError:
        pass


_KEYS = format_keys(derive_keys("x", "sha256", b"salt", 4096))


@pytest.mark.parametrize("hash", ["sha1", "sha256"])
def test_keys_as_text(hash):
    keys = derive_keys("päss", hash, b"0123456789abcdef", 4096)
    assert parse_keys(format_keys(keys)) == keys
    assert "stored_key" not in repr(keys)
    with pytest.raises(ValueError, match="no SCRAM keys"):
        parse_keys("SCRAM-SHA-512$4096:YQ==$YQ==:YQ==")


def test_saslprep():
    """RFC 4013 §3."""
    assert saslprep("I\u00adX") == "IX"
    assert saslprep("user") == "user"
    assert saslprep("USER") == "USER"
    assert saslprep("\u00aa") == "a"
    assert saslprep("\u2168") == "IX"
    for wrong in ("\u0007", "\u0627\u0031", "a\u0627"):
        with pytest.raises(ValueError, match=r".+"):
            saslprep(wrong)
