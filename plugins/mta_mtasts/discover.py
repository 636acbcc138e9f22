"""The policy of a domain: from the cache, or fetched when the domain says that there is a new one (RFC 8461 §3.3, §5.1)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections.abc import Mapping

from mta_hooks import Context
from mta_hooks.services import DnsError
from mta_mtasts.cache import Cache, Kept
from mta_mtasts.policy import MAX_SIZE, Policy, read_policy, read_record

FETCH = 20.0  # seconds; RFC 8461 §3.3 suggests a minute, but a lane of the queue waits for it
PATIENCE = 300.0  # seconds without another try after one that failed: RFC 8461 §3.3
FRESH = 86400.0  # a use is written down once a day
MAX_FAILURES = 10_000


class FetchFailed(Exception):
    """``failure``: a result type of RFC 8460 §4.3.2.2."""

    def __init__(self, failure: str, text: str) -> None:
        super().__init__(text)
        self.failure = failure


class Discovery:
    """Of one worker. ``failures`` says when and how the last fetch for a domain failed."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[float, FetchFailed]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def find(self, domain: str, ctx: Context) -> tuple[Kept | None, FetchFailed | None]:
        """The policy in force, or None; and why one that the domain announces could not be had."""
        cache, now = Cache(ctx.db), ctx.clock.now()
        kept = await cache.find(domain, now)
        if kept is not None and now - kept.used > FRESH:
            await cache.note_use(domain, now)
        try:
            id = read_record(await ctx.dns.txt(f"_mta-sts.{domain}"))
        except DnsError:
            id = None
        if id is None or (kept is not None and kept.id == id):
            return kept, None  # RFC 8461 §5.1: what is kept holds also when the record is gone
        lock = self._locks.setdefault(domain, asyncio.Lock())
        try:
            async with lock:  # many lanes ask at once, one fetches
                fresh = await cache.find(domain, now)
                if fresh is not None and fresh.id == id:
                    return fresh, None
                return await self._fetch(domain, id, fresh, ctx)
        finally:
            if not lock.locked():
                self._locks.pop(domain, None)

    async def _fetch(self, domain: str, id: str, kept: Kept | None, ctx: Context) -> tuple[Kept | None, FetchFailed | None]:
        last = self._failures.get(domain)
        if last is not None and ctx.clock.monotonic() - last[0] < PATIENCE:
            return kept, last[1]
        try:
            policy = await fetch(domain, ctx)
        except FetchFailed as exc:
            ctx.log.info("mtasts.not_fetched", domain=domain, reason=str(exc))
            if len(self._failures) >= MAX_FAILURES:
                self._failures.clear()
            self._failures[domain] = ctx.clock.monotonic(), exc
            return kept, exc
        self._failures.pop(domain, None)
        return await Cache(ctx.db).keep(domain, id, policy, ctx.clock.now()), None

    async def refresh(self, domain: str, ctx: Context) -> None:
        """Look again before what is kept expires (RFC 8461 §3.3); a failure changes nothing."""
        try:
            id = read_record(await ctx.dns.txt(f"_mta-sts.{domain}"))
            if id is not None:
                await Cache(ctx.db).keep(domain, id, await fetch(domain, ctx), ctx.clock.now())
        except (DnsError, FetchFailed) as exc:
            ctx.log.info("mtasts.not_fetched", domain=domain, reason=str(exc))


async def fetch(domain: str, ctx: Context) -> Policy:
    """Raises FetchFailed. The certificate must be good for mta-sts.DOMAIN, and redirects count as failures (RFC 8461 §3.3)."""
    url = f"https://mta-sts.{domain}/.well-known/mta-sts.txt"
    try:
        reply = await ctx.http.request("GET", url, timeout=FETCH)
    except ssl.SSLError as exc:
        raise FetchFailed("sts-webpki-invalid", f"{url}: {exc.reason or 'TLS failed'}") from exc
    except (OSError, ValueError) as exc:
        raise FetchFailed("sts-policy-fetch-error", f"{url}: {str(exc) or 'no answer in time'}") from exc
    if reply.status != 200:
        raise FetchFailed("sts-policy-fetch-error", f"{url}: status {reply.status}")
    if not _is_text(reply.headers) or len(reply.body) > MAX_SIZE:
        raise FetchFailed("sts-policy-invalid", f"{url}: not text/plain of at most {MAX_SIZE} octets")
    try:
        return read_policy(reply.body)
    except ValueError as exc:
        raise FetchFailed("sts-policy-invalid", f"{url}: {exc}") from exc


def _is_text(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "text/plain"
