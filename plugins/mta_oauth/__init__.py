"""Logins with tokens of an identity provider: OAUTHBEARER (RFC 7628) and XOAUTH2, for SMTP, IMAP and POP3.

Tokens are read with the issuer's published keys (RFC 7519, RFC 9068), or the issuer is asked about each (RFC 7662). Accounts are the
directory's; a token only says whose it is. Left out: getting tokens, several issuers, DPoP and tokens bound to certificates.
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import Context, Health, TemporaryFailure, hookimpl
from mta_hooks.services import Registry
from mta_oauth.bearer import OAuthBearer, XOAuth2
from mta_oauth.config import OauthConfig
from mta_oauth.tokens import Tokens


class Oauth:
    """The plugin. It holds the issuer's keys."""

    def __init__(self) -> None:
        self._tokens = Tokens()

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(OauthConfig)
        for mechanism in (OAuthBearer, XOAuth2):
            registry.sasl(type(mechanism.__name__, (mechanism,), {"tokens": self._tokens}))

    @hookimpl
    async def health_check(self, ctx: Context) -> Health:
        if ctx.config.introspection is not None:
            return Health()
        try:
            keys = await self._tokens.keys(ctx)
        except TemporaryFailure as exc:
            return Health("failed", str(exc))
        return Health() if keys else Health("failed", "the issuer publishes no key that can be used")
