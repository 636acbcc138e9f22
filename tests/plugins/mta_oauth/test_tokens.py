"""Which tokens let whom in, read or asked about."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mta.model.errors import TemporaryFailure
from mta.obs.log import Log
from mta.pluginhost.http import HttpClient
from mta_oauth.config import OauthConfig
from mta_oauth.jwt import BadToken, read_keys, read_token
from mta_oauth.tokens import Tokens


class Clock:
    def __init__(self):
        self.ahead = 0.0

    def now(self):
        return time.time() + self.ahead

    def monotonic(self):
        return time.monotonic() + self.ahead


def context(issuer, **config):
    made = OauthConfig(issuer=issuer.url, audience=("mail",), **config)
    return SimpleNamespace(config=made, clock=Clock(), http=HttpClient(), log=Log())


def address_of(issuer, token, **config):
    return str(asyncio.run(Tokens().address_of(token, context(issuer, **config))))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("kid", ["", None])
def test_a_good_token(issuer, algorithm, kid):
    assert (
        address_of(issuer, issuer.token(algorithm, kid=kid, aud=["other", "mail"], email="Alice@Example.TEST"))
        == "alice@example.test"
    )


def test_claims_and_scopes(issuer):
    assert address_of(issuer, issuer.token(sub="bob", email=None), claim="sub", domain="example.test") == "bob@example.test"
    assert address_of(issuer, issuer.token(scope="openid mail"), scopes=("mail",)) == "alice@example.test"
    assert address_of(issuer, issuer.token(scp=["mail"]), scopes=("mail",)) == "alice@example.test"


NOW = time.time()


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": NOW - 100}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "never"}, "expired"),
        ({"exp": True}, "expired"),
        ({"nbf": NOW + 1000}, "not valid yet"),
        ({"iat": NOW + 1000}, "not valid yet"),
        ({"iss": "https://evil.test"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "calendar"}, "somebody else"),
        ({"aud": None}, "somebody else"),
        ({"aud": [7]}, "somebody else"),
        ({"email": None}, "no claim"),
        ({"email": "alice"}, "no address"),
        ({"email": ["alice@example.test"]}, "no claim"),
        ({"email_verified": False}, "not verified"),
        ({"scope": "openid"}, "scope"),
    ],
)
def test_claims_that_let_nobody_in(issuer, claims, why):
    with pytest.raises(BadToken, match=why):
        address_of(issuer, issuer.token(**claims), **({"scopes": ("mail",)} if why == "scope" else {}))


def test_signatures_that_do_not_count(issuer):
    good = issuer.token()
    head, body, signature = good.split(".")
    for wrong, why in (
        (issuer.token("none"), "none, which is not believed"),
        (f"{head}.{body}.", "signature is wrong"),
        (f"{head}.{issuer.token(email='bob@example.test').split('.')[1]}.{signature}", "signature is wrong"),
        (issuer.token("RS256", kid="ec"), "does not publish"),
        (issuer.token("ES256", kid="ed"), "does not publish"),
        (issuer.token("HS256"), "not believed"),
        (issuer.token("RS512"), "not believed"),
        (issuer.token(header={"crit": ["b64"]}), "malformed"),
        (issuer.token(header={"typ": "dpop+jwt"}), "another kind"),
        ("a.b", "not a signed token"),
        ("!.!.!", "malformed"),
        (good + "=", "malformed"),
        (good + "A" * 13000, "not a signed token"),
    ):
        with pytest.raises(BadToken, match=why):
            address_of(issuer, wrong)
    with pytest.raises(BadToken, match="not believed"):
        address_of(issuer, issuer.token("RS256"), algorithms=("ES256",))


@given(st.text(max_size=60))
def test_no_text_breaks_it(text):
    with pytest.raises(BadToken):
        read_token(text)


def test_keys_are_fetched_once_an_hour_and_for_a_new_one(issuer):
    async def scenario():
        tokens, ctx = Tokens(), context(issuer)
        issuer.asked.clear()
        issuer.names = ["rsa"]
        await asyncio.gather(*(tokens.address_of(issuer.token(), ctx) for _ in range(5)))
        assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
        issuer.names = ["rsa", "ec", "ed"]
        for _ in range(3):
            with pytest.raises(BadToken, match="does not publish"):
                await tokens.address_of(issuer.token("ES256"), ctx)
        assert len(issuer.asked) == 2  # anybody can name a key
        ctx.clock.ahead += 31
        await tokens.address_of(issuer.token("ES256"), ctx)
        assert len(issuer.asked) == 4
        issuer.up = False
        ctx.clock.ahead += 3700
        await tokens.address_of(issuer.token("ES256", exp=NOW + 9000), ctx)  # the old keys serve
        ctx.clock.ahead += 90000
        with pytest.raises(TemporaryFailure, match="503"):
            await tokens.address_of(issuer.token("ES256", exp=NOW + 900000), ctx)
        issuer.up = True

    asyncio.run(scenario())


def test_auth_cache_mix_up(issuer):
    """What is remembered of one token is not said of another."""

    async def scenario():
        endpoint = {"url": f"{issuer.url}/introspect", "client_id": "mta", "client_secret": "s:1"}
        tokens, ctx = Tokens(), context(issuer, introspection=endpoint)
        issuer.active = {name: {"email": f"{name}@example.test", "aud": "mail"} for name in ("alice", "bob", "alice ")}
        for name in ("alice", "bob", "alice", "bob", "alice"):
            assert str(await tokens.address_of(name, ctx)) == f"{name}@example.test"
        with pytest.raises(BadToken):
            await tokens.address_of("ALICE", ctx)

    asyncio.run(scenario())


def test_introspection(issuer):
    async def scenario():
        endpoint = {"url": f"{issuer.url}/introspect", "client_id": "mta", "client_secret": "s:1"}
        tokens, ctx = Tokens(), context(issuer, introspection=endpoint)
        issuer.active = {
            "good": {"email": "alice@example.test", "aud": "mail"},
            "other": {"email": "alice@example.test", "aud": "x"},
        }
        issuer.asked.clear()
        for _ in range(3):
            assert str(await tokens.address_of("good", ctx)) == "alice@example.test"
            with pytest.raises(BadToken, match="not active"):
                await tokens.address_of("bad", ctx)
        assert issuer.asked == ["Basic bXRhOnMlM0Ex"] * 2  # remembered for a minute
        with pytest.raises(BadToken, match="somebody else"):
            await tokens.address_of("other", ctx)
        del issuer.active["good"]
        ctx.clock.ahead += 61
        with pytest.raises(BadToken, match="not active"):
            await tokens.address_of("good", ctx)
        issuer.up = False
        with pytest.raises(TemporaryFailure):
            await tokens.address_of("another", ctx)
        issuer.up = True

    asyncio.run(scenario())


def test_keys_that_are_passed_over():
    assert read_keys(b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "EC", "crv": "P-1"}, 7]}') == []
    with pytest.raises(ValueError, match="no JWK set"):
        read_keys(b"[]")


@pytest.mark.parametrize("url", ["http://id.example.org", "ftp://id.example.org", "id.example.org"])
def test_an_issuer_in_clear_is_refused(url):
    with pytest.raises(ValidationError, match="https"):
        OauthConfig(issuer=url, audience=("mail",))
