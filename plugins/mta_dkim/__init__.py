"""DKIM (RFC 6376, RFC 8301, RFC 8463): verifies what comes in, signs what our users send.

Grammar and header canonicalisation are dkimpy's. Its RSA is pure Python and not constant in time, its Ed25519 needs a library
more, and its selection of fields and removal of ``b=`` take quadratic time on hostile headers: those are ours, on
``cryptography``, and dkimpy is the oracle of the tests. DNS is asked first, in the event loop; then one thread hashes and checks.
Left out: ARC, reports, signing with ``l=``.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio

from mta_dkim.commands import dkim
from mta_dkim.config import DkimConfig
from mta_dkim.domain import author_domain
from mta_dkim.keyrecord import key_name
from mta_dkim.private import load_key
from mta_dkim.sign import sign
from mta_dkim.signature import MAX_SIGNATURES, find_signatures
from mta_dkim.verify import Answer, verify
from mta_hooks import AddHeader, AuthResult, ConfigError, Context, Message, hookimpl
from mta_hooks.services import DnsError, Registry

roles = ("dkim",)
SIGNED_ORIGINS = frozenset({"submission", "local", "dsn", "http"})


@hookimpl
def register(registry: Registry) -> None:
    registry.config(DkimConfig)
    registry.cli(dkim)


@hookimpl
async def startup(ctx: Context) -> None:
    """Load every key once, so that a wrong path is said now and not with the first message."""
    config: DkimConfig = ctx.config
    for domain in config.domains:
        _, path = config.signer(domain)
        try:
            await ctx.threads.run(load_key, path)
        except (OSError, ValueError) as exc:
            raise ConfigError(path, f"plugins.dkim.domains.{domain}", str(exc), "give a readable PEM private key") from exc


@hookimpl
async def message_authenticate(message: Message, ctx: Context) -> list[AuthResult] | None:
    """One result for each signature, at most MAX_SIGNATURES; "none" without one."""
    config: DkimConfig = ctx.config
    if not config.verify or message.origin in SIGNED_ORIGINS:
        return None
    if message.header("DKIM-Signature") is None:
        return [AuthResult("dkim", "none")]
    signatures = await ctx.threads.run(find_signatures, message)
    names = {name for s in signatures[:MAX_SIGNATURES] if not s.problem and (name := key_name(s))}
    asked = dict(zip(names, await asyncio.gather(*(_records(ctx, name) for name in names)), strict=True))
    return await ctx.threads.run(verify, message, signatures, asked, ctx.clock.now())


async def _records(ctx: Context, name: str) -> Answer:
    try:
        return await ctx.dns.txt(name)
    except DnsError as exc:
        return str(exc) or "no answer"


@hookimpl
async def message_sign(message: Message, ctx: Context) -> list[AddHeader] | None:
    """A signature of the author's domain, when that is one of ours. An unreadable key defers the message."""
    config: DkimConfig = ctx.config
    if not config.domains or message.origin not in SIGNED_ORIGINS:
        return None
    domain = author_domain(message.header_all("From"))
    if domain not in config.domains:
        return None
    selector, path = config.signer(domain)
    value = await ctx.threads.run(sign, message, domain, selector, path, ctx.clock.now())
    return [AddHeader("DKIM-Signature", value)]
