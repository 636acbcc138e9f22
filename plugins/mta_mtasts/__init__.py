"""MTA-STS (RFC 8461): domains that say over HTTPS which mail servers they have, and that these speak TLS with good certificates.

What a domain published once holds until it expires, so that nobody between can take it away afterwards. DANE, where a domain has both,
comes first (RFC 8461 §2): the plugin dane stands before this one. Policies of our own domains are served over the https listener.
Left out: HTTP caching (§3.3 forbids it), and revocation lists.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.model.tls import TlsPolicy
from mta_hooks import Context, hookimpl
from mta_hooks.http import HttpAnswer, HttpRequest, HttpRoute
from mta_hooks.services import Registry
from mta_mtasts.cache import METADATA, Cache
from mta_mtasts.config import MtaStsConfig
from mta_mtasts.discover import Discovery

REFRESH = 3600.0
STALE = 86400.0
USED = 30 * 86400.0
AT_ONCE = 100


class MtaSts:
    """The plugin."""

    def __init__(self) -> None:
        self._discovery = Discovery()

    @hookimpl
    def register(self, registry: Registry) -> None:
        from mta_mtasts.commands import mtasts

        registry.config(MtaStsConfig)
        registry.schema(METADATA)
        registry.cli(mtasts)
        registry.job("refresh", REFRESH, self.refresh)
        registry.routes([HttpRoute("GET", "/.well-known/mta-sts.txt", self.serve, access="public")])

    @hookimpl(timeout=30.0)
    async def tls_policy(self, domain: str, mx: str, ctx: Context) -> TlsPolicy | None:
        if domain.startswith("["):
            return None
        kept, failed = await self._discovery.find(domain, ctx)
        if kept is None:  # RFC 8461 §3.3: a policy that cannot be had is none; the domain's owner hears of it
            return None if failed is None else TlsPolicy("may", failure=failed.failure, source="sts")
        policy = kept.policy
        if policy.mode == "none":
            return None
        testing, lines = policy.mode == "testing", policy.lines()
        if not policy.allows(mx):
            problem = f"the policy of {domain} (MTA-STS) does not name this host"
            return TlsPolicy("encrypt", (), "", (), testing, problem, "validation-failure", "sts", lines, policy.mx)
        return TlsPolicy("encrypt", testing=testing, source="sts", policy=lines, mx=policy.mx)

    async def refresh(self, ctx: Context) -> None:
        """Hourly: what is a day old and still used is fetched anew, what has expired goes."""
        cache, now = Cache(ctx.db), ctx.clock.now()
        await cache.expire(now)
        for domain in await cache.stale(fetched_before=now - STALE, used_after=now - USED, limit=AT_ONCE):
            await self._discovery.refresh(domain, ctx)

    def serve(self, request: HttpRequest, ctx: Context) -> HttpAnswer:
        """Which domain is meant, the name of the host says."""
        config: MtaStsConfig = ctx.config
        host = request.headers.get("host", "").partition(":")[0].lower().rstrip(".")
        own = config.policies.get(host.removeprefix("mta-sts.")) if host.startswith("mta-sts.") else None
        if own is None:
            return HttpAnswer.text("no policy for this name\n", 404)
        return HttpAnswer(200, "".join(f"{line}\r\n" for line in own.policy.lines()).encode(), "text/plain; charset=us-ascii")
