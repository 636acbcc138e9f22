"""TLS reporting (RFC 8460): domains that ask for it are told once a day how TLS with their mail servers went.

What the queue says of each connection (``tls_result``) is counted in memory, written down each minute, reported when its day (UTC)
is over, and forgotten then. What was counted in the last minute before a crash is lost: it is statistics.
Left out: reports of several submitters in one, and keys of DKIM that are for reports only (§3, ``s=tlsrpt``).
"""
# SPDX-License-Identifier: Apache-2.0

import secrets

from mta.model.tls import TlsResult
from mta_hooks import Context, hookimpl
from mta_hooks.services import DnsError, Registry
from mta_tlsrpt.collect import DAY, METADATA, Counter, Results, is_over
from mta_tlsrpt.config import TlsRptConfig
from mta_tlsrpt.report import Reporter, build, compose, compress, read_record

FLUSH = 60.0
EVERY = 1800.0
GIVE_UP = 2  # days after which a report that nobody took is dropped


class TlsRpt:
    """The plugin; it holds what this worker has counted since it was last written down."""

    def __init__(self) -> None:
        self._counter = Counter()

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(TlsRptConfig)
        registry.schema(METADATA)
        registry.job("flush", FLUSH, self.flush, single=False)
        registry.job("report", EVERY, self.report)

    @hookimpl
    def tls_result(self, result: TlsResult, ctx: Context) -> None:
        self._counter.add(result, ctx.clock.now())

    @hookimpl
    async def shutdown(self, ctx: Context) -> None:
        await self.flush(ctx)

    async def flush(self, ctx: Context) -> None:
        """Of domains that ask for no reports nothing is kept."""
        taken = self._counter.take()
        wanted = set()
        for domain in {key.domain for key in taken}:
            try:
                if read_record(await ctx.dns.txt(f"_smtp._tls.{domain}")):
                    wanted.add(domain)
            except DnsError:
                wanted.add(domain)  # known when the report is due
        await Results(ctx.db).add({key: count for key, count in taken.items() if key.domain in wanted})

    async def report(self, ctx: Context) -> None:
        """What is over and not yet reported; spread over some hours, so that not everybody reports at midnight (RFC 8460 §4.1)."""
        results, now = Results(ctx.db), ctx.clock.now()
        for day, domain in await results.waiting(int(now // DAY)):
            if not is_over(day, domain, now):
                continue
            try:
                targets = read_record(await ctx.dns.txt(f"_smtp._tls.{domain}"))
                done = not targets or await self._send(day, domain, targets, ctx)
            except DnsError:
                done = False
            if done or now // DAY - day > GIVE_UP:
                await results.forget(day, domain)

    async def _send(self, day: int, domain: str, targets: list[str], ctx: Context) -> bool:
        """True when somebody took it."""
        config: TlsRptConfig = ctx.config
        reporter = Reporter.of(config, ctx.hostname)
        id = f"{day}.{secrets.token_hex(8)}@{ctx.hostname}"
        octets = compress(build(await Results(ctx.db).of(day, domain), reporter, day, domain, id))
        took = False
        for target in targets:
            if target.startswith("mailto:"):
                address = target.removeprefix("mailto:")
                try:
                    await ctx.send(
                        config.sender or None, [address], compose(octets, reporter, day, domain, id, address, ctx.clock.now())
                    )
                    took = True
                except Exception as exc:  # noqa: BLE001  # an address that cannot be one must not keep the others from theirs
                    ctx.log.warning("tlsrpt.not_sent", domain=domain, to=target, reason=str(exc))
                continue
            try:
                reply = await ctx.http.request("POST", target, headers={"Content-Type": "application/tlsrpt+gzip"}, data=octets)
            except (OSError, ValueError) as exc:
                ctx.log.warning("tlsrpt.not_sent", domain=domain, to=target, reason=str(exc) or "no answer in time")
                continue
            if 200 <= reply.status < 300:
                took = True
            else:
                ctx.log.warning("tlsrpt.not_sent", domain=domain, to=target, reason=f"status {reply.status}")
        if took:
            ctx.log.info("tlsrpt.sent", domain=domain, id=id)
        return took
