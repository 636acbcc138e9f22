"""From a bearer token to an address: read with the issuer's keys, or asked about at the issuer (RFC 7662)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from mta_hooks import Address, Context, TemporaryFailure
from mta_oauth.config import Introspection, OauthConfig
from mta_oauth.jwt import BadToken, Key, UnknownKey, read_keys, read_token, verify

_KEYS_FRESH = 3600.0
_KEYS_KEPT = 86400.0
"""Seconds that keys serve while the issuer does not answer."""
_KEYS_AGAIN = 30.0
"""Seconds between fetches that an unknown key causes: anybody can name one."""
_MOST_REMEMBERED = 10_000


class Tokens:
    """One for each worker. ``address_of`` raises BadToken, and TemporaryFailure when the issuer is needed and away."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._fetched = self._asked = float("-inf")
        self._fetching = asyncio.Lock()
        self._remembered: OrderedDict[bytes, tuple[float, Address | None]] = OrderedDict()

    async def address_of(self, text: str, ctx: Context) -> Address:
        config: OauthConfig = ctx.config
        if config.introspection is not None:
            return await self._introspected(text, config.introspection, ctx)
        token = read_token(text)
        try:
            verify(token, await self.keys(ctx), config.algorithms)
        except UnknownKey:
            verify(token, await self.keys(ctx, again=True), config.algorithms)
        _check(token.claims, config, ctx.clock.now(), signed=True)
        return _address(token.claims, config)

    # ---- keys

    async def keys(self, ctx: Context, *, again: bool = False) -> list[Key]:
        """The issuer's, at most an hour old; ``again``: newer than those we have, if it was not asked just now."""
        now = ctx.clock.monotonic()
        old = now - self._fetched
        if (old < _KEYS_FRESH and not again) or (self._keys and now - self._asked < _KEYS_AGAIN):
            return self._keys
        had = self._fetched
        async with self._fetching:
            if self._fetched != had:  # somebody else has, meanwhile
                return self._keys
            self._asked = now
            try:
                self._keys = await _fetch_keys(ctx)
                self._fetched = now
            except TemporaryFailure as exc:
                if old > _KEYS_KEPT:
                    raise
                ctx.log.warning("oauth.keys_unavailable", reason=str(exc))
        return self._keys

    # ---- introspection

    async def _introspected(self, text: str, endpoint: Introspection, ctx: Context) -> Address:
        now, digest = ctx.clock.now(), hashlib.sha256(text.encode()).digest()
        known = self._remembered.get(digest)
        if known is not None and now < known[0]:
            if known[1] is None:
                raise BadToken("not active")
            return known[1]
        until, address = now + ctx.config.remember, None
        claims = await _introspect(text, endpoint, ctx)
        try:
            if claims.get("active") is not True:
                raise BadToken("not active")
            _check(claims, ctx.config, now, signed=False)
            address = _address(claims, ctx.config)
            if isinstance(claims.get("exp"), int | float):
                until = min(until, claims["exp"])
        finally:
            self._remembered[digest] = (until, address)
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)
        return address


async def _fetch_keys(ctx: Context) -> list[Key]:
    config: OauthConfig = ctx.config
    url = config.jwks_url
    if url is None:
        about = await _get(ctx, config.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if about.get("issuer") != config.issuer or not isinstance(about.get("jwks_uri"), str):
            raise TemporaryFailure("oauth: the openid-configuration is of another issuer, or names no keys")
        url = about["jwks_uri"]
    try:
        keys = read_keys(json.dumps(await _get(ctx, url)).encode())
    except ValueError as exc:
        raise TemporaryFailure(f"oauth: {url}: {exc}") from exc
    ctx.log.info("oauth.keys", url=url, keys=len(keys))
    return keys


async def _get(ctx: Context, url: str) -> dict[str, Any]:
    return await _answer(ctx, "GET", url, {"accept": "application/json"}, b"")


async def _introspect(text: str, endpoint: Introspection, ctx: Context) -> Mapping[str, Any]:
    name = f"{quote(endpoint.client_id, safe='')}:{quote(endpoint.client_secret, safe='')}"  # RFC 6749 §2.3.1
    headers = {
        "authorization": "Basic " + base64.b64encode(name.encode()).decode(),
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
    }
    data = urlencode({"token": text, "token_type_hint": "access_token"}).encode()
    return await _answer(ctx, "POST", endpoint.url, headers, data)


async def _answer(ctx: Context, method: str, url: str, headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
    try:
        reply = await ctx.http.request(method, url, headers=headers, data=data, timeout=8.0)
        found = json.loads(reply.body) if reply.status == 200 else None
    except (OSError, TimeoutError, ValueError, RecursionError) as exc:
        raise TemporaryFailure(f"oauth: {url}: {str(exc) or type(exc).__name__}") from exc
    if not isinstance(found, dict):
        raise TemporaryFailure(f"oauth: {url} answered {reply.status}" + ("" if found is None else " and no JSON object"))
    return found


# ---- claims (RFC 7519 §4.1, RFC 9068 §4, RFC 7662 §2.2)


def _check(claims: Mapping[str, Any], config: OauthConfig, now: float, *, signed: bool) -> None:
    """Raises BadToken. What an introspection leaves out, the issuer has vouched for."""
    if claims.get("iss", None if signed else config.issuer) != config.issuer:
        raise BadToken("of another issuer")
    expires = claims.get("exp")
    if (signed or expires is not None) and not (_is_time(expires) and now < float(expires or 0) + config.leeway):
        raise BadToken("expired")
    for name in ("nbf", "iat"):
        begins = claims.get(name)
        if begins is not None and not (_is_time(begins) and float(begins) <= now + config.leeway):
            raise BadToken("not valid yet")
    audience = claims.get("aud")
    for_whom = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    if not any(one in config.audience for one in for_whom if isinstance(one, str)):
        raise BadToken("for somebody else")
    granted = claims.get("scope", claims.get("scp", ()))
    scopes = granted.split() if isinstance(granted, str) else granted if isinstance(granted, list | tuple) else ()
    if missing := [scope for scope in config.scopes if scope not in scopes]:
        raise BadToken(f"without the scope {missing[0]}")


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _address(claims: Mapping[str, Any], config: OauthConfig) -> Address:
    """The account. Raises BadToken."""
    value = claims.get(config.claim)
    if not isinstance(value, str) or not value:
        raise BadToken(f"has no claim {config.claim}")
    if config.claim == "email" and claims.get("email_verified") is False:
        raise BadToken("its address is not verified by the issuer")
    if "@" not in value and config.domain is not None:
        value = f"{value}@{config.domain}"
    try:
        return Address.parse(value.lower())
    except ValueError:
        raise BadToken(f"its claim {config.claim} is no address") from None
