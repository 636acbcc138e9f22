"""Greylisting (RFC 6647): strangers are asked to come back, which programs that only send spam seldom do.

Asked at RCPT, of clients over plain SMTP that nobody knows: not of authenticated users, private and exempt networks, senders that
SPF vouches for or whom one of ours has written to, and clients that have come back often enough. The others are known by network,
sender and recipient. Left out: lists of large providers, whose hosts all send by SPF.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mta.model.message import Recipient
from mta.model.network import is_private, parse_client
from mta_greylist.config import GreylistConfig
from mta_greylist.decide import Triplet, candidates, decide, network_of
from mta_greylist.memory import Memory
from mta_greylist.tables import METADATA
from mta_hooks import Address, Context, Session, Transaction, Verdict, defer, hookimpl
from mta_hooks.metrics import Metric
from mta_hooks.services import Registry

SPF_WAIT = 5.0
EVERY = 3600.0
COUNTED = 3600.0
"""Seconds in which further mail of one who is known is not written down: a commit less for each."""


class Greylist:
    """The plugin. It holds what this worker has counted."""

    roles = ("greylist",)

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @hookimpl
    def register(self, registry: Registry) -> None:
        from mta_greylist.commands import greylist

        registry.config(GreylistConfig)
        registry.schema(METADATA)
        registry.cli(greylist)
        registry.job("expire", EVERY, self.expire)
        registry.metrics(self.numbers)

    @hookimpl(after="spf", on_error="continue")
    async def smtp_rcpt(self, session: Session, transaction: Transaction, recipient: Address, ctx: Context) -> Verdict | None:
        """An error of ours lets the mail in."""
        config: GreylistConfig = ctx.config
        client = parse_client(session.client_ip)
        if (
            client is None
            or session.user
            or session.protocol != "smtp"
            or is_private(client)
            or config.is_exempt(client, recipient)
        ):
            return None
        memory = Memory(ctx.db)
        if await memory.is_allowed(candidates(client, transaction.sender)):
            self._count("known")
            return None
        if config.trust_spf and await _spf_passes(session):
            self._count("spf")
            return None
        now = ctx.clock.now()
        network = network_of(client, config.ipv4_prefix, config.ipv6_prefix)
        triplet = Triplet.of(network, transaction.sender, recipient)
        seen = await memory.seen(triplet)
        if seen is None and await memory.is_crowded(network, config.most_waiting):
            triplet = replace(triplet, sender="*", recipient="*")  # the one that stands for all further strangers
            seen = await memory.seen(triplet)
        decision = decide(seen, now, delay=config.delay, window=config.window)
        if decision.reason != "known" or (seen is not None and now - seen.last > COUNTED):
            await memory.note(triplet, decision, now)
        if decision.wait:
            self._counts["deferred"] += 1
            seconds = -int(-decision.wait // 1)
            return defer(f"greylisted: please try again in {seconds} seconds", code=450, reason=f"{triplet} {decision.reason}")
        if decision.reason == "came back" and config.allow_after and await memory.passed(network) >= config.allow_after:
            await memory.allow(network, "passes", now)
            ctx.log.info("greylist.allowed", entry=network)
        self._count(decision.reason.replace(" ", "_"))
        return None

    def _count(self, why: str) -> None:
        self._counts[f"passed {why}"] += 1

    @hookimpl(on_error="continue")
    async def message_check(self, session: Session, recipients: Sequence[Recipient], ctx: Context) -> None:
        """Whom one of ours writes to may answer at once."""
        config: GreylistConfig = ctx.config
        if session.user and config.know_correspondents:
            known = sorted({str(recipient.address).lower() for recipient in recipients})
            await Memory(ctx.db).remember(known, ctx.clock.now())

    async def expire(self, ctx: Context) -> None:
        config: GreylistConfig = ctx.config
        gone = await Memory(ctx.db).expire(ctx.clock.now(), window=config.window, keep=config.keep)
        if gone:
            ctx.log.info("greylist.expired", rows=gone)

    def numbers(self, ctx: Context) -> list[Metric]:
        passed = {key.partition(" ")[2]: count for key, count in self._counts.items() if key.startswith("passed ")}
        deferred = Metric("deferred_total", self._counts["deferred"], help="Recipients told to come back.")
        why = "Recipients let in, by what spoke for them."
        return [deferred, *(Metric("passed_total", count, help=why, labels={"by": by}) for by, count in sorted(passed.items()))]


async def _spf_passes(session: Session) -> bool:
    """The plugin spf begins its check with MAIL and leaves it in the notes of the session."""
    check = session.notes.get("spf")
    if check is None:
        return False
    try:
        async with asyncio.timeout(SPF_WAIT):
            outcome = await asyncio.shield(check.outcome)
    except Exception:  # noqa: BLE001  # no answer, whatever the reason, vouches for nobody
        return False
    return bool(outcome.result == "pass")
