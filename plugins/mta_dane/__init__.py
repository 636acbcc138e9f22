"""SMTP security by DANE (RFC 7672): mail servers whose certificates the domain's signed DNS vouches for.

Needs a validating resolver that is trusted (config ``dns.validating``). Where MX, addresses and TLSA records are signed, the connection
must be under TLS with a certificate that fits them; where they are bogus or cannot be had, the host is passed over and the mail
waits; where they are not signed, DANE says nothing and others are asked. It stands before MTA-STS (RFC 8461 §2). Left out: records
of services other than port 25, and of next hops that config or a hook names.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.model.tls import TlsPolicy
from mta_dane.policy import find_policy
from mta_hooks import Context, Health, TemporaryFailure, hookimpl
from mta_hooks.services import DnsError

_MISSING = "the resolvers are not said to validate DNSSEC"


@hookimpl
def startup(ctx: Context) -> None:
    if not ctx.dns.validating:
        ctx.log.warning(
            "dane.not_validating",
            reason=_MISSING,
            fix="name a validating resolver of this machine in dns.servers, and set dns.validating",
        )


@hookimpl
def health_check(ctx: Context) -> Health:
    return Health() if ctx.dns.validating else Health("degraded", f"{_MISSING}: no host is protected by DANE")


@hookimpl(before="mtasts", timeout=20.0)
async def tls_policy(domain: str, mx: str, ctx: Context) -> TlsPolicy | None:
    if domain.startswith("[") or mx.startswith("["):
        return None
    try:
        return await find_policy(ctx.dns, domain, mx)
    except DnsError as exc:
        raise TemporaryFailure(f"DNS does not say whether {mx} is protected by DANE: {exc}") from exc
