"""SRS: mail that is forwarded leaves with a sender of ours, so that SPF passes at the next server, and bounces find their way back.

On the way out (``delivery_modify``) a sender that is not ours is rewritten when a stranger's mail goes on to another server: by an alias, a
forward, a redirect. Not that of users and local programs, nor of mail for domains that we relay for. What is in the queue keeps the
true sender, who gets our own reports. A bounce to such an address is let in at RCPT and led back, when its signature is ours and not
too old. Left out: rewriting of the header.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import secrets as random
from typing import Any

import click

from mta_hooks import (
    Address,
    Context,
    Envelope,
    Message,
    Session,
    SetSender,
    TemporaryFailure,
    Transaction,
    Verdict,
    hookimpl,
    redirect,
    reject,
)
from mta_hooks.services import Registry, Server
from mta_srs.config import SrsConfig
from mta_srs.scheme import DAY, NotReversible, Scheme, TooLong, is_srs

_KEY = "secrets"
_FRESH = 60.0
"""Seconds after which a worker looks whether another secret was made."""


class Srs:
    """The plugin. It holds the secrets as last read."""

    roles = ("srs",)

    def __init__(self) -> None:
        self._scheme: Scheme | None = None
        self._read = 0.0

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(SrsConfig)
        registry.cli(srs)

    @hookimpl
    async def startup(self, server: Server, ctx: Context) -> None:
        """The first worker makes the secret: two would make two, and one of them be forgotten."""
        if server.worker == 0 and not ctx.config.secrets and not await _kept(ctx):
            await _keep(ctx, [random.token_hex(20)])

    @hookimpl
    async def delivery_modify(self, envelope: Envelope, message: Message, ctx: Context) -> SetSender | None:
        sender = envelope.sender
        if sender is None or envelope.user or envelope.origin not in ("smtp", "lmtp") or await _stays(sender, envelope, ctx):
            return None
        scheme = await self._secrets(ctx)
        try:
            return SetSender(scheme.forward(sender, ctx.clock.now()))
        except TooLong:
            token, address = scheme.keep(sender)
            await ctx.kv.set(f"sender {token}", str(sender).encode(), ttl=(ctx.config.max_age + 1) * DAY)
            return SetSender(address)

    @hookimpl(before=("access", "greylist"))
    async def smtp_rcpt(self, session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> Verdict | None:
        config: SrsConfig = ctx.config
        if recipient.domain != (config.domain or ctx.hostname) or not is_srs(recipient.local):
            return None
        if config.null_sender_only and transaction.sender is not None:
            return reject("this address takes bounces only", enhanced="5.7.1", reason="srs: not the null sender")
        try:
            original = await _reversed(await self._secrets(ctx), recipient, ctx)
        except NotReversible as exc:
            return reject("this return path is not valid, or no longer", code=550, enhanced="5.1.0", reason=f"srs: {exc}")
        return redirect(str(original), reason="srs")

    async def _secrets(self, ctx: Context) -> Scheme:
        """Raises TemporaryFailure before there is a secret."""
        now = ctx.clock.monotonic()
        if self._scheme is None or now - self._read > _FRESH:
            self._scheme, self._read = await scheme_of(ctx), now
        return self._scheme


async def scheme_of(ctx: Any) -> Scheme:
    config: SrsConfig = ctx.config
    found = list(config.secrets) or await _kept(ctx)
    if not found:
        raise TemporaryFailure("srs: there is no secret yet: start the server, or set secrets")
    octets = [text.encode() for text in found]
    return Scheme(
        config.domain or ctx.hostname, octets, max_age=config.max_age, length=config.hash_length, minimum=config.hash_minimum
    )


async def _stays(sender: Address, envelope: Envelope, ctx: Context) -> bool:
    """The sender is ours, or mail goes on inside: to a domain that we relay for, or to one that is to have it as it is."""
    domains = {sender.domain, *(one.domain for one in envelope.recipients)}
    if any(domain == kept or (kept.startswith(".") and domain.endswith(kept)) for kept in ctx.config.keep for domain in domains):
        return True
    return any([await ctx.domain(domain) is not None for domain in domains])


async def _reversed(scheme: Scheme, address: Address, ctx: Any) -> Address:
    """Raises NotReversible."""
    token = scheme.token_of(address.local)
    if token is None:
        return scheme.reverse(address, ctx.clock.now())
    kept = await ctx.kv.get(f"sender {token}")
    if kept is None:
        raise NotReversible("too old")
    return Address.parse(kept.decode())


async def _kept(ctx: Any) -> list[str]:
    octets = await ctx.kv.get(_KEY)
    return [] if octets is None else [str(one) for one in json.loads(octets)]


async def _keep(ctx: Any, found: list[str]) -> None:
    await ctx.kv.set(_KEY, json.dumps(found).encode())


@click.group()
def srs() -> None:
    """Senders of forwarded mail.

    Example: mta srs rotate
    """


@srs.command()
@click.pass_obj
async def rotate(ctx: Any) -> None:
    """Make another secret; the last two are still believed. Workers sign with it within a minute.

    Example: mta srs rotate
    """
    if ctx.config.secrets:
        raise click.UsageError("the secrets are in the config: put a new one in front there.")
    await _keep(ctx, [random.token_hex(20), *(await _kept(ctx))[:2]])
    click.echo("a new secret signs from now on")


@srs.command()
@click.argument("address")
@click.pass_obj
async def reverse(ctx: Any, address: str) -> None:
    """Say whom a rewritten address stands for.

    Example: mta srs reverse SRS0=1kVl=E4=example.net=bob@example.org
    """
    try:
        click.echo(str(await _reversed(await scheme_of(ctx), Address.parse(address), ctx)))
    except (NotReversible, ValueError) as exc:
        raise click.ClickException(f"{address}: {exc}") from None
