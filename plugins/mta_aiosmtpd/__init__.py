"""Any handler class written for aiosmtpd, as a plugin: ``handle_MAIL``, ``handle_RCPT``, ``handle_DATA`` and the rest, unchanged.

With ``domains`` it receives their mail: ``handle_RCPT`` says who exists there, and ``handle_DATA`` is called from the queue, once for
each recipient, until it answers 250 or for good; no handler delays or loses what was accepted. Without ``domains`` it is shown all
mail before acceptance, and its 4xx and 5xx are the peer's; what it stores or forwards is in addition to mta's own delivery.
Left out: ``handle_AUTH``, ``auth_*`` and authenticators (see ``auth_verify``), ``handle_NOOP``, ``handle_VRFY``, ``handle_PROXY``,
and a new ``mail_from`` that ``handle_MAIL`` puts into the envelope.
"""
# SPDX-License-Identifier: Apache-2.0

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mta_aiosmtpd import faces
from mta_aiosmtpd.config import AiosmtpdConfig
from mta_aiosmtpd.home import Home, NoHandler
from mta_aiosmtpd.status import as_answer, as_verdict
from mta_hooks import (
    Address,
    ConfigError,
    Context,
    Deferred,
    Delivered,
    Domain,
    Failed,
    HookTarget,
    Message,
    NotFound,
    Recipient,
    Session,
    TemporaryFailure,
    Tls,
    Verdict,
    hookimpl,
    redirect,
    reject,
)
from mta_hooks.services import Registry, Server

EHLO_WITH_RESPONSES = 5


class Aiosmtpd:
    """The plugin: one handler, living in its own thread."""

    def __init__(self) -> None:
        self._home: Home | None = None
        self._server: Any = None
        self._ehlo_arguments = 0

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(AiosmtpdConfig)

    @hookimpl
    async def startup(self, server: Server, ctx: Context) -> None:
        """Raises ConfigError when there is no such handler or it cannot be made."""
        config: AiosmtpdConfig = ctx.config
        self._home = home = Home(ctx.plugin)
        try:
            await home.make(config.handler, config.arguments, config.options, Path(server.data_dir, f"{ctx.plugin}.lock"))
        except NoHandler as exc:
            key = f"plugins.{ctx.plugin}"
            raise ConfigError(key, "handler", str(exc), "install its package, check arguments and options") from exc
        self._server = faces.server(ctx.hostname, home.handler, home.loop)
        if (ehlo := getattr(home.handler, "handle_EHLO", None)) is not None:
            self._ehlo_arguments = len(inspect.signature(ehlo).parameters)
        for name in sorted(vars(type(home.handler))):
            if name.startswith("auth_") or name in ("handle_AUTH", "handle_NOOP", "handle_VRFY", "handle_PROXY"):
                ctx.log.warning("aiosmtpd.not_called", handler=config.handler, method=name)

    @hookimpl
    async def shutdown(self, ctx: Context) -> None:
        if self._home is not None:
            await ctx.threads.run(self._home.close)

    # ---- the session

    @hookimpl
    async def smtp_tls(self, session: Session, tls: Tls) -> Verdict | None:
        if self._has("handle_STARTTLS"):
            seat = self._seat(session)
            seat.session.ssl = {"version": tls.version, "cipher": tls.cipher}
            if not await self._call("handle_STARTTLS", seat.session, seat.envelope):
                return reject("TLS refused", code=554)
        return None

    @hookimpl
    async def smtp_ehlo(self, session: Session, name: str, verb: str) -> Verdict | None:
        seat = self._seat(session)
        seat.session.host_name, seat.session.extended_smtp = name, verb != "HELO"
        hook = "handle_HELO" if verb == "HELO" else "handle_EHLO"
        if not self._has(hook) or (hook == "handle_EHLO" and self._ehlo_arguments == EHLO_WITH_RESPONSES):
            return None
        return as_verdict(await self._call(hook, seat.session, seat.envelope, name))

    @hookimpl
    async def smtp_capabilities(self, session: Session, capabilities: Sequence[str]) -> list[str] | None:
        if self._ehlo_arguments != EHLO_WITH_RESPONSES:
            return None
        seat = self._seat(session)
        lines = [self._server.hostname, *capabilities]
        responses = [f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]
        answer = await self._call("handle_EHLO", seat.session, seat.envelope, session.helo, responses)
        return [line[4:] for line in answer][1:]

    @hookimpl
    async def smtp_mail(self, session: Session, sender: Address | None, params: Mapping[str, str | None]) -> Verdict | None:
        seat = self._seat(session)
        seat.fresh()
        envelope, options = seat.envelope, faces.options(params)
        verdict = None
        if self._has("handle_MAIL"):
            verdict = as_verdict(await self._call("handle_MAIL", seat.session, envelope, faces.text(sender), list(options)))
        envelope.mail_from, envelope.mail_options, envelope.smtp_utf8 = faces.text(sender), options, "SMTPUTF8" in params
        return verdict

    @hookimpl
    async def smtp_rcpt(
        self, session: Session, recipient: Address, params: Mapping[str, str | None], ctx: Context
    ) -> Verdict | None:
        """Who is not refused is left to the directory: a handler that says 250 to everything makes no open relay."""
        seat = self._seat(session)
        address, envelope = str(recipient), seat.envelope
        if not self._has("handle_RCPT") or self._is_elsewhere(recipient, ctx):
            envelope.rcpt_tos.append(address)
            return None
        before = len(envelope.rcpt_tos)
        verdict = as_verdict(await self._call("handle_RCPT", seat.session, envelope, address, faces.options(params)))
        if verdict is not None:
            del envelope.rcpt_tos[before:]
            return verdict
        added = envelope.rcpt_tos[before:] or [address]
        envelope.rcpt_tos[before:] = added
        return None if added == [address] else redirect(*added, reason="handle_RCPT put others in its place")

    @hookimpl
    async def smtp_reset(self, session: Session, reason: str) -> None:
        seat = self._seat(session)
        if reason == "rset" and self._has("handle_RSET"):
            await self._call("handle_RSET", seat.session, seat.envelope)
        seat.fresh()

    @hookimpl
    async def smtp_disconnect(self, session: Session, reason: str) -> None:
        if reason == "quit" and self._has("handle_QUIT"):
            seat = self._seat(session)
            await self._call("handle_QUIT", seat.session, seat.envelope)

    # ---- the message: shown to the handler …

    @hookimpl
    async def message_check(
        self, session: Session, message: Message, recipients: Sequence[Recipient], ctx: Context
    ) -> Verdict | None:
        config: AiosmtpdConfig = ctx.config
        if config.domains or not self._has("handle_DATA"):
            return None
        seat = self._seat(session)
        envelope = faces.letter(message, (r.address for r in recipients), seat.envelope.mail_options)
        return as_verdict(await self._call("handle_DATA", seat.session, envelope))

    # ---- … or received by it

    @hookimpl
    def domain_lookup(self, domain: str, ctx: Context) -> Domain | None:
        return Domain(domain) if domain in ctx.config.domains else None

    @hookimpl
    def recipient_lookup(self, address: Address, ctx: Context) -> HookTarget | NotFound | None:
        return HookTarget(address) if address.domain in ctx.config.domains else None

    @hookimpl(timeout=60.0)
    async def deliver(self, recipient: Address, message: Message, ctx: Context) -> Delivered | Deferred | Failed | None:
        config: AiosmtpdConfig = ctx.config
        if recipient.domain not in config.domains:
            return None
        if not self._has("handle_DATA"):
            return Failed(f"{config.handler} has no handle_DATA")
        session = faces.blank(self._ready.loop)
        return as_answer(await self._call("handle_DATA", session, faces.letter(message, [recipient], [])))

    # ---- calling it

    @property
    def _ready(self) -> Home:
        if self._home is None or self._home.handler is None:
            raise TemporaryFailure("the handler is not there yet")
        return self._home

    def _has(self, method: str) -> bool:
        return hasattr(self._ready.handler, method)

    def _seat(self, session: Session) -> faces.Seat:
        return faces.Seat.of(session, self._ready.loop)

    def _is_elsewhere(self, recipient: Address, ctx: Context) -> bool:
        return bool(ctx.config.domains) and recipient.domain not in ctx.config.domains

    async def _call(self, method: str, *args: Any) -> Any:
        """``handle_EXCEPTION`` answers for what another method raises, as in aiosmtpd; without it the failure is the plugin's."""
        home = self._ready
        try:
            return await home.run(getattr(home.handler, method), self._server, *args)
        except Exception as exc:
            if not self._has("handle_EXCEPTION"):
                raise
            return await home.run(home.handler.handle_EXCEPTION, exc)
