"""Rates of connections, messages, recipients and errors: of a client's network, and of a user wherever he logs in from.

Each worker counts in memory, and tells the others every few seconds what comes near a rate; so a limit holds for all workers together,
give or take what happens within those seconds. Whoever is above a rate is told to come back (4xx): mail is late, not lost.
Left out: rates by sender domain or by recipient.
"""
# SPDX-License-Identifier: Apache-2.0

from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from ipaddress import ip_network

from mta.model.errors import TemporaryFailure
from mta.model.network import is_private, parse_client
from mta_hooks import Address, Context, Session, Transaction, Verdict, defer, hookimpl
from mta_hooks.metrics import Metric
from mta_hooks.services import Registry, Server
from mta_ratelimit.config import Rate, RatelimitConfig, UserRates
from mta_ratelimit.counts import Counts
from mta_ratelimit.shared import METADATA, forget, hear, tell

EVERY = 5.0
_SMTP = frozenset({"smtp", "submission"})
_LATER = "too many {} from you, try again later"


class Ratelimit:
    """The plugin. It holds what this worker has counted."""

    roles = ("ratelimit",)

    def __init__(self) -> None:
        self._counts = Counts(0)
        self._refused: Counter[str] = Counter()
        self._network: Callable[[str], str] = lambda _text: ""
        self._worker = ""

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(RatelimitConfig)
        registry.schema(METADATA)
        registry.service("share", self.share)
        registry.job("forget", 600.0, self.forget)
        registry.metrics(self.numbers)

    @hookimpl
    def startup(self, server: Server, ctx: Context) -> None:
        self._counts = Counts(ctx.config.most)
        self._network = lru_cache(maxsize=4096)(partial(_network, ctx.config))
        self._worker = f"{ctx.hostname}/{server.worker}"

    @hookimpl(on_error="continue")
    def smtp_connect(self, session: Session, ctx: Context) -> Verdict | None:
        if session.protocol not in _SMTP or not (network := self._network(session.client_ip)):
            return None
        config: RatelimitConfig = ctx.config
        errors = config.client.errors
        if errors is not None and not self._counts.room(f"errors {network}", errors, ctx.clock.now()):
            return self._refuse("errors", network, ctx)
        return self._count("connections", network, config.client.connections, ctx)

    @hookimpl(on_error="continue")
    def smtp_disconnect(self, session: Session, reason: str, ctx: Context) -> None:
        if reason == "errors" and (rate := ctx.config.client.errors) is not None and (network := self._network(session.client_ip)):
            self._counts.add(f"errors {network}", rate, ctx.clock.now())

    @hookimpl(on_error="continue")
    def smtp_mail(self, session: Session, ctx: Context) -> Verdict | None:
        config: RatelimitConfig = ctx.config
        if session.user:
            return self._count("messages", _counted(session), _rates(config, session).messages, ctx)
        if config.client.messages is None or not (network := self._network(session.client_ip)):
            return None
        return self._count("messages", network, config.client.messages, ctx)

    @hookimpl(on_error="continue")
    def smtp_rcpt(self, session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> Verdict | None:
        config: RatelimitConfig = ctx.config
        if session.user:
            return self._count("recipients", _counted(session), _rates(config, session).recipients, ctx)
        if config.client.recipients is None or not (network := self._network(session.client_ip)):
            return None
        return self._count("recipients", network, config.client.recipients, ctx)

    def _count(self, what: str, who: str, rate: Rate | None, ctx: Context) -> Verdict | None:
        if rate is None or self._counts.may(f"{what} {who}", rate, ctx.clock.now()):
            return None
        return self._refuse(what, who, ctx)

    def _refuse(self, what: str, who: str, ctx: Context) -> Verdict:
        self._refused[what] += 1
        ctx.log.info("ratelimit.exceeded", what=what, who=who)
        return defer(
            _LATER.format(what), code=421 if what in ("connections", "errors") else 450, enhanced="4.7.1", reason=f"{what} {who}"
        )

    # ---- all workers together

    async def share(self, ctx: Context) -> None:
        while True:
            await ctx.clock.sleep(EVERY)
            await self.exchange(ctx)

    async def exchange(self, ctx: Context) -> None:
        """One round. When the database is away each worker limits what it sees itself."""
        try:
            await tell(ctx.db, self._worker, self._counts)
            await hear(ctx.db, self._worker, self._counts, ctx.clock.now())
        except TemporaryFailure as exc:
            ctx.log.warning("ratelimit.alone", reason=str(exc))

    async def forget(self, ctx: Context) -> None:
        await forget(ctx.db, ctx.clock.now())

    def numbers(self, _ctx: Context) -> list[Metric]:
        help = "Told to come back, by what was too much."
        return [
            Metric("known", len(self._counts), kind="gauge", help="Clients and users that are counted."),
            *(Metric("refused_total", count, help=help, labels={"what": what}) for what, count in sorted(self._refused.items())),
        ]


def _rates(config: RatelimitConfig, session: Session) -> UserRates:
    return config.local if session.protocol == "local" else config.users.get(session.user, config.user)


def _counted(session: Session) -> str:
    """An account of the system is another than a user of ours, whatever their names."""
    return f"local {session.user}" if session.protocol == "local" else session.user


def _network(config: RatelimitConfig, text: str) -> str:
    """Which network a client counts for; "": it has no limits."""
    client = parse_client(text)
    if client is None or (is_private(client) and not config.limit_private) or any(client in network for network in config.exempt):
        return ""
    return str(ip_network(f"{client}/{config.ipv4_prefix if client.version == 4 else config.ipv6_prefix}", strict=False))
