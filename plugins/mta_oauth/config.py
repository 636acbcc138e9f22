"""Config of the plugin.

plugins:
  oauth:
    issuer: https://id.example.org
    audience: [mail]
"""
# SPDX-License-Identifier: Apache-2.0

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


def _is_safe(url: str) -> str:
    """A token or a key that crosses a network in clear is anybody's."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and parts.hostname and _is_loopback(parts.hostname):
        return url
    raise ValueError("must be an https URL, or http on this machine")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


Url = Annotated[str, AfterValidator(_is_safe)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Introspection(Section):
    url: Annotated[Url, Field(description="Endpoint of RFC 7662.")]
    client_id: Annotated[str, Field(min_length=1, description="Our name at the issuer.")]
    client_secret: Annotated[str, Field(min_length=1, repr=False, description="Our secret there: ${ENV} or file:/path.")]


class OauthConfig(Section):
    issuer: Annotated[Url, Field(description='Who issues tokens, exactly as their "iss" says.')]
    audience: Annotated[
        tuple[str, ...],
        Field(min_length=1, description='Whom a token must be for: one of these in its "aud". Else any app\'s would do.'),
    ]
    scopes: Annotated[tuple[str, ...], Field(description="Scopes that a token must have, all of them.")] = ()
    claim: Annotated[str, Field(min_length=1, description="Claim that holds the account's address.")] = "email"
    domain: Annotated[str | None, Field(description="Domain of a claim without one; absent: such a token lets nobody in.")] = None
    jwks_url: Annotated[Url | None, Field(description="The issuer's keys; absent: as its openid-configuration says.")] = None
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1, description="Signatures that are believed.")] = (
        "RS256", "PS256", "ES256", "EdDSA",
    )  # fmt: skip
    leeway: Annotated[float, Field(ge=0, le=600, description="Seconds by which clocks may differ.")] = 60.0
    introspection: Annotated[
        Introspection | None, Field(description="Ask the issuer about each token instead of reading it: for opaque ones.")
    ] = None
    remember: Annotated[
        float, Field(ge=0, le=3600, description="Seconds that the issuer's answer about a token is remembered.")
    ] = 60.0
